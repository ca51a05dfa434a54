"""Writes docs/modules.md from the first words of the modules: `python docs/site/modules.py`."""

import ast
import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "modules.md"
SOURCE: Final = Path(__file__).parents[2] / "src" / "synkora"
WEB: Final = Path(__file__).parents[2] / "web"
#: What each folder of web pages holds.
PAGES: Final = {
    "console": "The console's page, in the operators' browsers.",
    "playground": "The playground's page: a project that is tried in the browser.",
    "shared": "What both pages share.",
}
HEAD: Final = """# Modules

Each module with what it holds, by folder. [Architecture](architecture.md) says how the folders depend on each other,
and the [glossary](glossary.md) where each concept is decided.
"""


def modules() -> str:
    """The page: a table for each folder with modules."""
    folders = sorted({file.parent for file in SOURCE.rglob("*.py")})
    return HEAD + "".join(map(_package, folders)) + "".join(_section(WEB / name, PAGES[name]) for name in PAGES)


def _package(folder: Path) -> str:
    return _section(folder, _about(folder / "__init__.py"))


def _section(folder: Path, about: str) -> str:
    root = WEB.parent if folder.parent == WEB else SOURCE.parent
    files = [file for file in sorted(folder.iterdir()) if file.suffix in (".lua", ".ts", ".tsx") or _has_code(file)]
    rows = [f"| `{file.name}` | {_about(file)} |" for file in files]
    name = folder.relative_to(root).as_posix()
    return "\n".join((f"\n## {name}/\n", about, "", "| module | what it holds |", "|---|---|", *rows)) + "\n"


def _has_code(file: Path) -> bool:
    """Whether a file is a module, and not a folder's list of names."""
    if file.suffix != ".py" or file.name != "__init__.py":
        return file.suffix == ".py"
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(each, definitions) for each in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def _about(file: Path) -> str:
    """Return the first paragraph of a module's docstring, or the first comment of another file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix in (".ts", ".tsx"):
        first = re.match(r"/\*\* (.*?) \*/", text, re.DOTALL)
        return " ".join(re.sub(r"\n \*", " ", first[1]).split()) if first else "Starts the page."
    if file.suffix == ".lua":
        comment = re.match(r"(?:--[^\n]*\n)+", text)
        text = " ".join(re.findall(r"--+ ?([^\n]*)", comment[0])) if comment else ""
        return text.partition(". ")[0].rstrip(".") + "."
    paragraph = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(modules(), encoding="utf-8")
