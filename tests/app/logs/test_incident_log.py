"""Incidents in the log: the first one immediately, a flood as one line."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from tests.support.logs import configured_logs
from tests.support.processes import Synkora

from synkora.app.logs.incident_log import IncidentLog, summary
from synkora.engine.incidents import IncidentKind, Incidents, Tally

SECRET = "a-secret-of-the-pattern-tests-81b7e2"


@pytest.fixture
def incidents() -> Incidents:
    return Incidents()


@pytest.fixture
def patterns(incidents: Incidents, monkeypatch: pytest.MonkeyPatch) -> Iterator[IncidentLog]:
    """Patterns with a short window, written as lines."""
    with configured_logs("warning"):
        monkeypatch.setattr("synkora.app.logs.incident_log.log", structlog.get_logger())  # one that has no output yet
        yield IncidentLog(incidents, window=0.1)


@pytest.mark.parametrize(
    ("tally", "words"),
    [
        (Tally(IncidentKind.SIGN_IN_REFUSED, 12, "", 0), "12 sign-ins refused"),
        (
            Tally(IncidentKind.ORIGIN_REFUSED, 3, "https://evil.example", 2),
            "3 origins refused (https://evil.example and 2 more)",
        ),
        (Tally(IncidentKind.LIMIT_HIT, 1, "join", 0), "1 limit hit (join)"),
        (Tally(IncidentKind.SLOW_CLIENT_CUT_OFF, 2, "", 0), "2 slow clients cut off"),
        (Tally(IncidentKind.PROTOCOL_ERROR, 5, "bad JSON", 0), "5 protocol errors (bad JSON)"),
    ],
)
def test_words(tally: Tally, words: str) -> None:
    """A tally reads like a part of a sentence."""
    assert summary(tally) == words


async def test_a_flood(incidents: Incidents, patterns: IncidentLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Any number of incidents: one line for the first of each kind, and one line with all counts at the end of the
    window.
    """
    for number in range(10_000):
        incidents.note(IncidentKind.SIGN_IN_REFUSED, "Authentication failed (auth.token: expired)")
        incidents.note(IncidentKind.ORIGIN_REFUSED, f"https://{number % 3}.example")
    incidents.note(IncidentKind.LIMIT_HIT, "join")
    await asyncio.sleep(0.3)
    assert capsys.readouterr().out.splitlines() == [
        "! Sign-in refused: Authentication failed (auth.token: expired)",
        "! Origin refused: https://0.example",
        "! Limit hit: join",
        "! In the last minute: 10000 sign-ins refused (Authentication failed (auth.token: expired)), "
        "10000 origins refused (https://0.example and 2 more)",
    ]


async def test_addresses(incidents: Incidents, patterns: IncidentLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Each address gets a line per kind immediately, and one at the end with its repeated incidents."""
    for _ in range(3):
        incidents.note(IncidentKind.SIGN_IN_REFUSED, "Authentication failed (expired)", "192.0.2.1")
        incidents.note(IncidentKind.FLOODING_CLIENT_CUT_OFF, address="192.0.2.1")
    incidents.note(IncidentKind.SIGN_IN_REFUSED, "Authentication failed (expired)", "2001:db8::2")
    patterns.tell()
    assert capsys.readouterr().out.splitlines() == [
        "! Sign-in refused: Authentication failed (expired), from 192.0.2.1",
        "! Flooding client cut off, from 192.0.2.1",
        "! Sign-in refused: Authentication failed (expired), from 2001:db8::2",
        "! In the last minute: 4 sign-ins refused (Authentication failed (expired)), 3 flooding clients cut off",
        "! In the last minute, from 192.0.2.1: 3 sign-ins refused, 3 flooding clients cut off",
    ]


async def test_quiet(incidents: Incidents, patterns: IncidentLog, capsys: pytest.CaptureFixture[str]) -> None:
    """A window without repeats has no line. The next incident is written immediately again."""
    for _ in range(2):
        incidents.note(IncidentKind.LIMIT_HIT, "join")
        await asyncio.sleep(0.3)
    assert capsys.readouterr().out.splitlines() == ["! Limit hit: join"] * 2


async def test_lines_before_the_end_are_written(
    incidents: Incidents, patterns: IncidentLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that stops writes the counts so far."""
    for _ in range(2):
        incidents.note(IncidentKind.LIMIT_HIT)
    patterns.tell()
    assert capsys.readouterr().out.splitlines() == ["! Limit hit", "! In the last minute: 2 limits hit"]
    await asyncio.sleep(0.2)
    assert capsys.readouterr().out == ""


async def test_labels_forge_no_lines(
    incidents: Incidents, patterns: IncidentLog, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        incidents.note(IncidentKind.ORIGIN_REFUSED, "https://a\n✓ Stopped\x1b[2J" + "x" * 1000)
    patterns.tell()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and len(line) < 250 for line in lines)


def test_a_server_tells(tmp_path: Path) -> None:
    """In a real server's log: foreign pages are a line immediately, and a count at the end."""
    with Synkora(tmp_path, "serve", NEXTAUTH_SECRET=SECRET, WS_HOST="127.0.0.1", WS_PORT="0") as program:
        port = re.sub(r"\D", "", program.line(lambda line: "running on port" in line))
        url = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling"
        for number in range(5):
            origin = f"https://{number}.evil.example"
            assert (
                httpx.get(url, headers={"Origin": origin, "Host": "ws.example.com"}, trust_env=False).status_code == 403
            )
        program.signal()
        assert program.wait() == 0
        assert [line for line in program.stdout if line.startswith("!")] == [
            "! Origin refused: https://0.evil.example, from 127.0.0.1",
            "! In the last minute: 5 origins refused (https://0.evil.example and 4 more)",
            "! In the last minute, from 127.0.0.1: 5 origins refused",
        ]
