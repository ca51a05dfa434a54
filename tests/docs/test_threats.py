"""The documents' threats and the tests that they name."""

import re
from pathlib import Path

import pytest
from tests.hostile.kinds import KINDS

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_TABLE = re.compile(r"^\| threat \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
_KIND = re.compile(r"test_hostile_clients_harm_only_themselves` \(([^)]*)\)")
DOCUMENTS = sorted((ROOT / "docs").glob("security*.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = _NAMED.findall(document.read_text())
    missing = [f"{path}::{name}" for path, name in named if not _has(ROOT / path, name)]
    assert not missing


def test_threats_name_their_tests() -> None:
    """The table is not empty, and each threat names the test of its defence."""
    text = "".join(document.read_text() for document in DOCUMENTS)
    rows = [row for table in _TABLE.findall(text) for row in table.splitlines()]
    assert len(rows) >= 20
    assert not [row for row in rows if not _NAMED.search(row)]


def test_every_kind_of_hostility_that_is_named_exists() -> None:
    named = [kind for group in _KIND.findall("".join(d.read_text() for d in DOCUMENTS)) for kind in group.split(", ")]
    assert named
    assert not {kind.strip("`") for kind in named} - set(KINDS)


def _has(path: Path, name: str) -> bool:
    return path.is_file() and f"def {name}(" in path.read_text()
