"""A parser for the project's documents."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a document."""

    language: str
    text: str


def blocks(document: Path, language: str | None = None) -> list[Block]:
    """The blocks of a document, optionally of one language."""
    found = [Block(match[2], match[3]) for match in _BLOCK.finditer(document.read_text(encoding="utf-8"))]
    return [block for block in found if language in (None, block.language)]


def prose(document: Path) -> str:
    """A document without its blocks."""
    return _BLOCK.sub("", document.read_text(encoding="utf-8"))


def links(document: Path) -> Iterator[str]:
    """The targets of the links and pictures in a document."""
    for match in _LINK.finditer(prose(document)):
        yield match[1]


def anchors(document: Path) -> set[str]:
    """The anchors of a document: its headings in lower case, words joined by hyphens."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(document))}


def table(document: Path, first_column: str) -> list[list[str]]:
    """The rows of the table whose first column has this head, as the texts of their cells."""
    lines = iter(document.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)  # the rule below the head
            return [_cells(row) for row in _while_table(lines)]
    raise AssertionError(f"{document.name} has no table that begins with {first_column!r}")


def _while_table(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]
