"""The documents as a site."""

import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.docs.documents import ROOT

SOURCE = ROOT / "docs/site"


class Addresses(HTMLParser):
    """The addresses that a page loads by itself, and the targets of its links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: set[str] = set()
        self.linked: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("script", "img", "source", "iframe"):
            self.fetched |= {str(given[name]) for name in ("src", "srcset") if given.get(name)}
        elif tag == "link" and given.get("rel") != "canonical":
            self.fetched.add(str(given["href"]))
        elif tag == "a" and given.get("href"):
            self.linked.add(str(given["href"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors: of broken links, and of pages missing in the menu."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", SOURCE / "mkdocs.yml", "-d", folder],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_files_outside_of_the_documents_are_in_it(site: Path) -> None:
    """A link to a file to copy leads to that file, and the changelog is a page."""
    assert (site / "deploy/nginx/synkora.conf").read_bytes() == (ROOT / "deploy/nginx/synkora.conf").read_bytes()
    assert (site / "CHANGELOG/index.html").is_file()
    linked = Addresses((site / "scaling/index.html").read_text(encoding="utf-8")).linked
    assert "../deploy/nginx/synkora.conf" in linked


def test_every_link_and_picture_of_every_page_is_there(site: Path) -> None:
    dead = set()
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        addresses = Addresses(page.read_text(encoding="utf-8"))
        for link in addresses.linked | addresses.fetched:
            target = link.partition("#")[0]
            if not target or re.match(r"[a-z]+:", target):
                continue
            file = (page.parent / target).resolve()
            if not (file / "index.html").is_file() and not file.is_file():
                dead.add((page.relative_to(site).as_posix(), link))
    assert dead == set()


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    """The site also works within a company's own network."""
    pages = [Addresses(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")]
    assert len(pages) > 20
    assert {address for page in pages for address in page.fetched if re.match(r"(https?:)?//", address)} == set()


def test_configuration_is_made_of_the_settings() -> None:
    """The page of the variables is its script's output."""
    script = runpy.run_path(str(SOURCE / "configuration.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["configuration"](), (
        "run: .venv/bin/python docs/site/configuration.py"
    )
