"""This machine's clock, held against another's."""

import pytest

from synkora.app.check.clock import judge_clock
from synkora.app.check.finding import FindingStatus


@pytest.mark.parametrize(
    ("theirs", "status", "words"),
    [
        (1000.5, FindingStatus.WELL, "agree"),
        (1004.0, FindingStatus.WELL, "agree"),
        (996.0, FindingStatus.WELL, "agree"),
        (1012.0, FindingStatus.RISKY, "11 s ahead of"),
        (980.0, FindingStatus.RISKY, "20 s behind"),
        (1100.0, FindingStatus.WRONG, "99 s ahead of"),
        (900.0, FindingStatus.WRONG, "100 s behind"),
    ],
)
def test_clocks(theirs: float, status: FindingStatus, words: str) -> None:
    """Half a minute makes good tokens bad; a few seconds are worth a word; the time of the question counts for none."""
    finding = judge_clock("x-clock", "their", theirs, before=1000.0, after=1001.0)
    assert finding.status is status
    assert words in finding.message


def test_a_slow_answer() -> None:
    """A clock that may have been right when it was asked is right."""
    assert judge_clock("x-clock", "their", 1000.0, before=990.0, after=1100.0).status is FindingStatus.WELL
