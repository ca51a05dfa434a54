"""Findings."""

import pytest

from synkora.app.check.finding import Finding, FindingStatus, risky, skipped, well, worst, wrong

FINDINGS = [well("a", "x"), skipped("b", "x"), risky("c", "x", "y"), wrong("d", "x", "y")]


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        (FINDINGS, FindingStatus.WRONG),
        (FINDINGS[:3], FindingStatus.RISKY),
        (FINDINGS[:2], FindingStatus.WELL),
        (FINDINGS[1:2], FindingStatus.WELL),
        ([], FindingStatus.WELL),
    ],
)
def test_the_worst(findings: list[Finding], status: FindingStatus) -> None:
    """One wrong finding outweighs any number of risky ones. Skipped ones do not count."""
    assert worst(findings) is status
    assert worst(findings[::-1]) is status
