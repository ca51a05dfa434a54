"""All checks together."""

import asyncio
from collections.abc import Iterable

import pytest
from tests.app.check.conftest import GOOD

from synkora.app.check import examination
from synkora.app.check.configuration import NAMES
from synkora.app.check.examination import examine
from synkora.app.check.finding import Finding, FindingStatus, well
from synkora.app.check.registry import CHECKS, Group
from synkora.app.settings import Settings


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTAUTH_SECRET", GOOD)


def statuses(findings: Iterable[Finding]) -> list[tuple[str, FindingStatus]]:
    return [(finding.check, finding.status) for finding in findings if finding.check not in NAMES]


async def test_every_check_has_a_finding() -> None:
    """Every check of the registry has at least one, in the registry's order."""
    findings = await examine(host="127.0.0.1", port=0)
    named = [*NAMES, *(name for group in CHECKS for name in group.names)]
    assert list(dict.fromkeys(finding.check for finding in findings)) == named
    assert len(set(named)) == len(named)


async def test_options_win() -> None:
    """The port of the command line is checked."""
    findings = await examine(host="127.0.0.1", port=0)
    (port,) = (finding for finding in findings if finding.check == "port")
    assert port.message == "any free one (127.0.0.1, port 0)"


async def test_settings_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """All other checks are skipped, and say so."""
    monkeypatch.setenv("WS_PORT", "abc")
    findings = await examine()
    assert (findings[0].check, findings[0].status) == ("settings", FindingStatus.WRONG)
    assert statuses(findings) == [(name, FindingStatus.SKIPPED) for group in CHECKS for name in group.names]


async def test_checks_run_together() -> None:
    """Each check waits for the other one. One after the other they would never end."""
    met = asyncio.Barrier(2)

    async def meet(_: Settings) -> list[Finding]:
        await met.wait()
        return [well("x", "met")]

    assert statuses(await examine(groups=[Group(meet, ("x",))] * 2)) == [("x", FindingStatus.WELL)] * 2


async def test_a_check_that_fails() -> None:
    """The failure is a finding without the exception's message, which may contain a secret. The other checks run."""

    def fail(_: Settings) -> list[Finding]:
        raise RuntimeError("hunter2")

    async def go(_: Settings) -> list[Finding]:
        return [well("z", "good")]

    findings = await examine(groups=[Group(fail, ("x", "x-more")), Group(go, ("z",))])
    assert statuses(findings) == [
        ("x", FindingStatus.WRONG),
        ("x-more", FindingStatus.SKIPPED),
        ("z", FindingStatus.WELL),
    ]
    assert "RuntimeError" in str(findings)
    assert "hunter2" not in str(findings)


async def test_a_check_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:

    async def wait(_: Settings) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(examination, "PATIENCE", 0.01)
    findings = await examine(groups=[Group(wait, ("x",))])
    assert statuses(findings) == [("x", FindingStatus.WRONG)]
    assert findings[-1].message == "no answer within 0.01 s"
