"""Local addresses, and clock differences."""

import pytest

from synkora.app.check.finding import FindingStatus
from synkora.app.check.network import is_local, is_loopback, judge_clock


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://app.localhost", "http://127.0.0.9", "http://[::1]:1"]
)
def test_local_ones(origin: str) -> None:
    """Names and addresses of this machine, on any port."""
    assert is_local(origin)


@pytest.mark.parametrize(
    "origin", ["*", "https://localhost.example.com", "http://10.0.0.1:3000", "https://*.example.com"]
)
def test_others(origin: str) -> None:
    assert not is_local(origin)


def test_no_host_is_every_interface() -> None:
    """An empty WS_HOST can be reached from everywhere."""
    assert not is_loopback("")


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
    """Half a minute makes valid tokens invalid, and a few seconds are risky. The duration of the request does not
    count.
    """
    finding = judge_clock("x-clock", "their", theirs, before=1000.0, after=1001.0)
    assert finding.status is status
    assert words in finding.message


def test_a_slow_answer() -> None:
    """A difference that the duration of the request can explain is none."""
    assert judge_clock("x-clock", "their", 1000.0, before=990.0, after=1100.0).status is FindingStatus.WELL
