"""Brings what the documents link to, and is not in their folder, into the site (a hook of MkDocs).

A file of the repository is in the site at its own path, and one of `docs/` at its path below that.
Source: mkdocs.org, "Configuration", hooks; "Plugins", events.
"""

import re
from os.path import relpath
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = DOCS.parent
#: The site's first page.
README: Final = ROOT / "README.md"
#: What the navigation names and is not in `docs/`.
OUTSIDE: Final = (README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md")

_PICTURE: Final = re.compile(r'\b(src|srcset)="([^":]+)"')
_LINK: Final = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the files of the repository that pages link to."""
    waiting = [_source(page.src_uri) for page in files.documentation_pages()] + [*OUTSIDE]
    while waiting:
        source = waiting.pop()
        name = _in_site(source)
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(source)))
        if source.suffix == ".md":
            targets = {_target(source, link) for _, link, _ in _LINK.findall(source.read_text(encoding="utf-8"))}
            waiting += [
                target for target in targets if target.is_file() and files.get_file_from_path(_in_site(target)) is None
            ]
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Have links lead to where the files are in the site; of those to folders only their words are left."""
    source = _source(page.file.src_uri)
    here = Path(page.file.src_uri).parent

    def moved(match: re.Match[str]) -> str:
        words, link, anchor = match.groups(default="")
        target = _target(source, link)
        if target.is_dir():
            return words.strip("[]")
        return f"{words}({relpath(_in_site(target), here)}{anchor})" if target.is_file() else match[0]

    def shown(match: re.Match[str]) -> str:
        return f'{match[1]}="{relpath(_in_site(_target(source, match[2])), page.url or ".")}"'

    return _PICTURE.sub(shown, _LINK.sub(moved, markdown))


def _source(name: str) -> Path:
    """Where in the repository the site's file of a name is."""
    if name == "index.md":
        return README
    return DOCS / name if (DOCS / name).is_file() else ROOT / name


def _target(source: Path, link: str) -> Path:
    return (source.parent / link).resolve()


def _in_site(source: Path) -> str:
    if source == README:
        return "index.md"
    return source.relative_to(DOCS if source.is_relative_to(DOCS) else ROOT).as_posix()
