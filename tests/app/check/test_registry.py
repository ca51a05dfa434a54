"""The registry agrees with its documentation."""

from tests.docs.documents import ROOT, table

from synkora.app.check.configuration import NAMES
from synkora.app.check.finding import FindingStatus
from synkora.app.check.registry import CHECKS
from synkora.app.check.rendering import SIGNS

PAGE = ROOT / "docs" / "checking.md"


def test_the_table_has_every_check() -> None:
    named = [f"`{name}`" for name in (*NAMES, *(name for group in CHECKS for name in group.names))]
    assert [row[0] for row in table(PAGE, "check")] == named


def test_the_table_of_statuses() -> None:
    rows = {(row[0], row[1]) for row in table(PAGE, "sign")}
    assert rows == {(f"`{SIGNS[status]}`", f"`{status}`") for status in FindingStatus}
