"""The log as JSON: one object per line."""

import asyncio
import functools
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import uvloop
from tests.support.logs import configured_logs, log_error
from tests.support.users import TIME

from synkora.serving.request_ids import RequestContext


@pytest.fixture
def log() -> Iterator[Any]:
    with configured_logs("debug", "json"):
        yield structlog.get_logger()


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    text = capsys.readouterr().out
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def test_an_entry_is_an_object(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, event, and the fields with their names and types."""
    log.info("client_disconnected", socketId="abc", userName="Alice", reason="ping timeout", duration=1.5, more=None)
    (entry,) = entries(capsys)
    assert list(entry)[:3] == ["timestamp", "level", "event"]
    assert TIME.fullmatch(entry.pop("timestamp"))
    assert entry == {
        "level": "info",
        "event": "client_disconnected",
        "socketId": "abc",
        "userName": "Alice",
        "reason": "ping timeout",
        "duration": 1.5,
        "more": None,
    }


@pytest.mark.parametrize("name", ["Eve\n{}", "\x1b[2K\r\x00\x07", "\x9b1m\u2028\u202e", "\ud800", 'Ève 🚀 "\\'])
def test_values_are_complete_and_cannot_forge_a_line(log: Any, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """JSON decoding returns every character. The line itself is ASCII."""
    log.info("project_joined", userName=name)
    text = capsys.readouterr().out
    assert text[:-1].isprintable()
    assert text.isascii()
    assert json.loads(text)["userName"] == name


def test_too_long_values_are_cut(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Clients cannot fill the log with a name."""
    log.info("project_joined", userName="x" * 100_000)
    assert len(capsys.readouterr().out) < 2000


@pytest.mark.parametrize("way", ["exc_info", "exception"])
def test_a_traceback_is_a_field(log: Any, capsys: pytest.CaptureFixture[str], way: str) -> None:
    log_error(log, way, "bad")
    (entry,) = entries(capsys)
    assert entry["level"] == "error"
    assert entry["exception"].startswith("Traceback (most recent call last):\n")
    assert entry["exception"].endswith("ValueError: bad")


def test_the_request_is_named(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with RequestContext([(b"x-request-id", b"mine")]):
        log.info("stopped")
    log.info("stopped")
    first, second = entries(capsys)
    assert first["requestId"] == "mine"
    assert "requestId" not in second


def test_libraries_are_heard(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of uvicorn or asyncio is an entry. Less severe messages are dropped."""
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).warning("unheard")
        logging.getLogger(name).error("bad %s", "thing", exc_info=ValueError("x"))
    first, second = entries(capsys)
    assert (first["event"], first["logger"], first["message"]) == ("library_error", "uvicorn.error", "bad thing")
    assert first["exception"] == "ValueError: x"
    assert second["logger"] == "asyncio"


def test_what_fails_in_the_event_loop_is_named_without_values(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An event, or the key of a session, may be the argument of a callback, or the result of a task."""

    async def fail() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "Task was destroyed", "task": ["the-users-words"]})
        loop.call_soon(functools.partial(_fail, "the-users-words"))
        await asyncio.sleep(0)

    uvloop.run(fail())
    output = capsys.readouterr().out
    assert "the-users-words" not in output
    first, second = map(json.loads, output.splitlines())
    assert (first["event"], first["message"]) == ("library_error", "Task was destroyed")
    assert "in _fail" in second["exception"]


def _fail(_: str) -> None:
    raise ValueError
