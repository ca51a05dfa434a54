"""What a check finds."""

import pytest

from synkora.app.check.finding import Finding, Status, risky, skipped, well, worst, wrong

FINDINGS = [well("a", "x"), skipped("b", "x"), risky("c", "x", "y"), wrong("d", "x", "y")]


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        (FINDINGS, Status.WRONG),
        (FINDINGS[:3], Status.RISKY),
        (FINDINGS[:2], Status.WELL),
        (FINDINGS[1:2], Status.WELL),
        ([], Status.WELL),
    ],
)
def test_the_worst(findings: list[Finding], status: Status) -> None:
    """One that is wrong counts more than any that are risky, and what was skipped not at all."""
    assert worst(findings) is status
    assert worst(findings[::-1]) is status
