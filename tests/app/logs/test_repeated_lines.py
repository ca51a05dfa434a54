"""Repeated warnings and errors are counted instead of written."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import structlog
from tests.support.logs import configured_logs
from tests.support.processes import PATIENCE

from synkora.app.logs.repeated_lines import MOST_KINDS, MOST_ROUTINE, RepeatedLines


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch) -> Iterator[RepeatedLines]:
    """The counter of a test's log, with a window that ends when the test says so."""
    with configured_logs("info") as repeats:
        monkeypatch.setattr("synkora.app.logs.repeated_lines.log", structlog.get_logger())  # one that has no output yet
        yield repeats


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("    ")]


async def test_a_flood_is_one_line_and_a_number(repeats: RepeatedLines, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of each kind is written immediately, the number of repeats at the end of the window."""
    log: Any = structlog.get_logger()
    for number in range(1000):
        log.error("handler_failed", eventName="task:create", socketId=str(number), exc_info=ValueError("x"))
        log.error("handler_failed", eventName="task:move", exc_info=ValueError("x"))
        log.warning("redis_down", problem="no answer")
        log.info("stopped")
    written = lines(capsys)
    assert written.count("✓ Stopped") == 1000
    assert [line for line in written if line != "✓ Stopped"] == [
        "error: handler_failed eventName=task:create socketId=0",
        "error: handler_failed eventName=task:move",
        "! Redis is unavailable: no answer",
    ]
    repeats.tell()
    assert lines(capsys) == [
        "! In the last minute, more of the same: 999 handler_failed (task:create, ValueError), "
        "999 handler_failed (task:move, ValueError), 999 redis_down (no answer)"
    ]
    assert repeats.levels == {"error": 2000, "warning": 1000}


async def test_clients_that_come_and_go_write_a_limited_number_of_lines_a_second(
    repeats: RepeatedLines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One signed-in user may join and leave very often. Warnings are written meanwhile."""
    log: Any = structlog.get_logger()
    for now in (100.0, 101.5):
        monkeypatch.setattr("synkora.app.logs.repeated_lines.monotonic", partial(float, now))
        for number in range(500):
            log.info("project_joined", userName="Mal", userId="mal", projectId=str(number), socketId="s")
            log.info("project_left", userName="Mal", userId="mal", projectId=str(number), socketId="s")
    log.warning("redis_down", problem="no answer")
    written = lines(capsys)
    assert len(written) == 2 * MOST_ROUTINE + 1
    assert written[-1] == "! Redis is unavailable: no answer"
    repeats.tell()
    left_out = 500 - MOST_ROUTINE // 2
    assert lines(capsys) == [
        f"! In the last minute, more of the same: {2 * left_out} project_joined, {2 * left_out} project_left"
    ]


def for_each_user(*templates: str) -> list[str]:
    return [template.format(name=name) for name in ("alice", "bob") for template in templates]


async def test_each_block_is_logged(repeats: RepeatedLines, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator's actions are no flood: each has an entry with the operator's name."""
    log: Any = structlog.get_logger()
    for name in ("alice", "bob"):
        who = {"kind": "user", "name": name, "address": "192.0.2.1"}
        log.warning("console_blocked", **who, seconds=60)
        log.warning("console_disconnected_all", **who)
        log.warning("console_unblocked", **who)
    assert lines(capsys) == for_each_user(
        "✗ Blocked from the console, by 192.0.2.1: the user {name}, for 60 s",
        "✗ Disconnected from the console, by 192.0.2.1: all of the user {name}",
        "✓ No longer blocked, by 192.0.2.1: the user {name}",
    )
    repeats.tell()
    assert lines(capsys) == []


async def test_each_action_of_the_backend_is_logged(repeats: RepeatedLines, capsys: pytest.CaptureFixture[str]) -> None:
    log: Any = structlog.get_logger()
    for name in ("alice", "bob"):
        log.warning("api_blocked", kind="user", name=name, address="192.0.2.1", seconds=60)
        log.warning("api_unblocked", kind="user", name=name, address="192.0.2.1")
        log.warning("api_disconnected", name=name, address="192.0.2.1")
        log.warning("api_removed", userId=name, projectId="demo", address="192.0.2.1")
        log.warning("api_noticed", projectId=name, address="192.0.2.1")
    assert lines(capsys) == for_each_user(
        "✗ Blocked by the API, by 192.0.2.1: the user {name}, for 60 s",
        "✓ No longer blocked, by the API, by 192.0.2.1: the user {name}",
        "✗ Disconnected by the API, by 192.0.2.1: {name}",
        "✗ Removed from project demo by the API, by 192.0.2.1: {name}",
        "→ Notice by the API to project {name}, by 192.0.2.1",
    )
    repeats.tell()
    assert lines(capsys) == []


async def test_a_new_window_starts_with_fresh_counts(
    repeats: RepeatedLines, capsys: pytest.CaptureFixture[str]
) -> None:
    log: Any = structlog.get_logger()
    for _ in range(2):
        log.warning("odd")
        repeats.tell()
    assert lines(capsys) == ["warning: odd"] * 2


async def test_the_window_ends_by_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    repeats = RepeatedLines(window=0.05)
    told = asyncio.Event()
    monkeypatch.setattr(RepeatedLines, "tell", lambda _: told.set())
    assert repeats(None, "warning", {"event": "odd"}) == {"event": "odd"}
    async with asyncio.timeout(PATIENCE):
        await told.wait()


async def test_kinds_are_bounded(repeats: RepeatedLines, capsys: pytest.CaptureFixture[str]) -> None:
    log: Any = structlog.get_logger()
    for number in range(MOST_KINDS * 3):
        log.warning("odd", problem=f"number {number}")
    assert len(lines(capsys)) == MOST_KINDS + 1


async def test_incidents_are_not_held_back(repeats: RepeatedLines, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is the first of its kind. Cautions are written once."""
    log: Any = structlog.get_logger()
    for text in ("a", "b"):
        log.warning("caution", text=text)
        log.warning("incident", what="Origin refused", reason=None)
    assert lines(capsys) == ["! a", "! Origin refused", "! b", "! Origin refused"]


def test_without_a_loop_all_is_written(repeats: RepeatedLines, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an event loop, repeats could not be reported."""
    log: Any = structlog.get_logger()
    for _ in range(3):
        log.warning("odd")
    assert lines(capsys) == ["warning: odd"] * 3
