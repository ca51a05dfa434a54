"""The server's log: the lines that people read, and what cannot be done to them."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from synkora.app.logs import configure_logs


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """A logger of the server's, whose lines `capsys` has."""
    level = logging.getLogger("uvicorn").level
    configure_logs("info")
    yield structlog.get_logger()
    structlog.reset_defaults()
    logging.getLogger("uvicorn").setLevel(level)


@pytest.mark.parametrize(
    ("event", "fields", "line"),
    [
        (
            "client_connected",
            {"socketId": "abc123", "userName": "Alice", "userId": "u1"},
            "✓ Client connected: abc123 (User: Alice)",
        ),
        ("project_joined", {"userName": "Alice", "projectId": "proj_456"}, "✓ Alice joined project proj_456"),
        ("project_left", {"userName": "Alice", "projectId": "proj_456"}, "✓ Alice left project proj_456"),
        (
            "relayed",
            {"what": "Task created", "projectId": "proj_456", "userName": "Alice"},
            "→ Task created in proj_456 by Alice",
        ),
        (
            "client_disconnected",
            {"socketId": "abc123", "userName": "Alice", "reason": "transport close"},
            "✗ Client disconnected: abc123 (Alice) - transport close",
        ),
        (
            "project_access",
            {"setting": "open", "text": "everyone signed in may join every project"},
            "✓ PROJECT_ACCESS=open: everyone signed in may join every project",
        ),
        ("one_of_several", {"instance": "aB3xyz"}, "✓ One of several instances: aB3xyz"),
        ("redis_up", {"address": "redis.test:6379"}, "✓ Redis is there: redis.test:6379"),
        (
            "redis_down",
            {"address": "redis.test:6379", "problem": "nothing listens where REDIS_URL says"},
            "! Redis is away: nothing listens where REDIS_URL says",
        ),
        ("redis_troubled", {"problem": "its memory is full"}, "! Redis in trouble: its memory is full"),
        (
            "presence_refused",
            {"problem": "its memory is full"},
            "! Presence over all instances is held up: its memory is full",
        ),
        ("instance_gone", {"instance": "aB3xyz"}, "! Instance gone without a word: aB3xyz"),
        ("stopping", {"clients": 3}, "✓ Stopping, clients to tell: 3"),
        ("stopped", {}, "✓ Stopped"),
    ],
)
def test_lines(log: Any, capsys: pytest.CaptureFixture[str], event: str, fields: dict[str, Any], line: str) -> None:
    """Each event that people follow has a line of its own."""
    log.info(event, **fields)
    assert capsys.readouterr() == (line + "\n", "")


def test_other_events(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An event without a line of its own is written with its level and its fields."""
    log.warning("strange", eventName="task:create", count=3)
    assert capsys.readouterr().out == "warning: strange eventName=task:create count=3\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Eve\n✓ Alice joined project x", "Eve\\n✓ Alice joined project x"),
        ("Eve\r\x1b[2K", "Eve\\r\\x1b[2K"),
        ("\x9b1mEve\x07", "\\x9b1mEve\\x07"),
        ("Eve\u2028\u2029\x85", "Eve\\u2028\\u2029\\x85"),
        ("Eve \u202eecilA\u2066", "Eve \\u202eecilA\\u2066"),
        ("Eve\ud800", "Eve\\ud800"),
        ("Ève 🚀 {reason} %s", "Ève 🚀 {reason} %s"),
        ("x" * 201, "x" * 200 + "…"),
    ],
)
def test_values_cannot_forge_lines(log: Any, capsys: pytest.CaptureFixture[str], name: str, shown: str) -> None:
    """Line ends, terminal controls and changes of writing direction are shown as escapes; what is too long is cut."""
    log.info("project_joined", userName=name, projectId="p")
    log.info("other", userName=name)
    assert capsys.readouterr().out == f"✓ {shown} joined project p\ninfo: other userName={shown}\n"


def test_a_missing_field_is_a_question_mark(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that lacks a field is written nonetheless."""
    log.info("client_disconnected", userName="Alice")
    assert capsys.readouterr().out == "✗ Client disconnected: ? (Alice) - ?\n"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_levels(capsys: pytest.CaptureFixture[str], log: Any, level: str) -> None:
    """What is less serious than the level is not written."""
    configure_logs(level)
    logger = structlog.get_logger()
    levels = ["debug", "info", "warning", "error"]
    for method in levels:
        getattr(logger, method)("happened")
    expected = [f"{method}: happened" for method in levels[levels.index(level) :]]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("way", ["exc_info", "exception"])
def test_errors_have_their_traceback(log: Any, capsys: pytest.CaptureFixture[str], way: str) -> None:
    """It is written under the event, set in, so that nothing in it looks like a line of the log."""
    try:
        raise ValueError("bad\n✓ Alice joined project x\x1b[2K")
    except ValueError as error:
        if way == "exc_info":
            log.error("handler_failed", eventName="task:create", exc_info=error)
        else:
            log.exception("handler_failed", eventName="task:create")
    first, *trace = capsys.readouterr().out.split("\n")
    assert first == "error: handler_failed eventName=task:create"
    assert trace[0] == "    Traceback (most recent call last):"
    assert trace[-3:] == ["    ValueError: bad", "    ✓ Alice joined project x\\x1b[2K", ""]
    assert all(line.startswith("    ") for line in trace[:-1])


def test_a_full_disk_costs_only_the_lines() -> None:
    """Where a line cannot be written the server goes on."""
    script = (
        "import structlog; from synkora.app.logs import configure_logs; configure_logs('info');"
        "structlog.get_logger().info('stopped'); structlog.get_logger().error('other'); open(2, 'w').write('went on')"
    )
    with open("/dev/full", "w") as full:  # any write to it fails for want of space
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert done.stderr.startswith(b"went on")


def test_uvicorn_reports_only_errors(log: Any) -> None:
    """A client's bad HTTP is answered, not logged."""
    assert not logging.getLogger("uvicorn.error").isEnabledFor(logging.WARNING)
    assert logging.getLogger("uvicorn.error").isEnabledFor(logging.ERROR)
