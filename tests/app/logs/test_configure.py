"""The server's log: its text lines, and protection against forged lines."""

import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from tests.support.logs import configured_logs, log_error

from synkora.app.logs.configure import configure_logs
from synkora.serving.request_ids import RequestContext


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """A logger of the server. `capsys` has its lines."""
    with configured_logs("info"):
        yield structlog.get_logger()


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
        ("redis_up", {"address": "redis.test:6379"}, "✓ Redis is connected: redis.test:6379"),
        (
            "redis_down",
            {"address": "redis.test:6379", "problem": "nothing listens at the address of Redis"},
            "! Redis is unavailable: nothing listens at the address of Redis",
        ),
        ("redis_troubled", {"problem": "its memory is full"}, "! Redis problem: its memory is full"),
        (
            "presence_refused",
            {"problem": "its memory is full"},
            "! Presence across instances is delayed: its memory is full",
        ),
        ("instance_gone", {"instance": "aB3xyz"}, "! Instance lost without a shutdown: aB3xyz"),
        ("stopping", {"clients": 3}, "✓ Stopping, clients to tell: 3"),
        ("stopped", {}, "✓ Stopped"),
        ("incident", {"what": "Slow client cut off", "reason": None}, "! Slow client cut off"),
        (
            "incident",
            {"what": "Origin refused", "reason": "https://evil.example"},
            "! Origin refused: https://evil.example",
        ),
        (
            "repeated",
            {"counts": "9 handler_failed (task:create, KeyError)"},
            "! In the last minute, more of the same: 9 handler_failed (task:create, KeyError)",
        ),
    ],
)
def test_lines(log: Any, capsys: pytest.CaptureFixture[str], event: str, fields: dict[str, Any], line: str) -> None:
    """Each event for operators has its own text."""
    log.info(event, **fields)
    assert capsys.readouterr() == (line + "\n", "")


def test_other_events(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An event without a text is written with its level and its fields."""
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
    """Line ends, terminal controls and changes of writing direction are escaped. Long values are cut."""
    log.info("project_joined", userName=name, projectId="p")
    log.info("other", userName=name)
    assert capsys.readouterr().out == f"✓ {shown} joined project p\ninfo: other userName={shown}\n"


def test_a_missing_field_is_a_question_mark(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log.info("client_disconnected", userName="Alice")
    assert capsys.readouterr().out == "✗ Client disconnected: ? (Alice) - ?\n"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_levels(capsys: pytest.CaptureFixture[str], log: Any, level: str) -> None:
    """Entries below the level are not written."""
    configure_logs(level)
    logger = structlog.get_logger()
    levels = ["debug", "info", "warning", "error"]
    for method in levels:
        getattr(logger, method)("happened")
    expected = [f"{method}: happened" for method in levels[levels.index(level) :]]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("way", ["exc_info", "exception"])
def test_errors_have_their_traceback(log: Any, capsys: pytest.CaptureFixture[str], way: str) -> None:
    """It is written below the event and indented, so that no part of it looks like a log line."""
    log_error(log, way, "bad\n✓ Alice joined project x\x1b[2K", eventName="task:create")
    first, *trace = capsys.readouterr().out.split("\n")
    assert first == "error: handler_failed eventName=task:create"
    assert trace[0] == "    Traceback (most recent call last):"
    assert trace[-3:] == ["    ValueError: bad", "    ✓ Alice joined project x\\x1b[2K", ""]
    assert all(line.startswith("    ") for line in trace[:-1])


def test_a_full_disk_costs_only_the_lines() -> None:
    script = (
        "import structlog; from synkora.app.logs.configure import configure_logs; configure_logs('info');"
        "structlog.get_logger().info('stopped'); structlog.get_logger().error('other'); open(2, 'w').write('went on')"
    )
    with open("/dev/full", "w") as full:  # any write fails: no space
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert done.stderr.startswith(b"went on")


def test_uvicorn_reports_only_errors(log: Any) -> None:
    """A client's invalid HTTP is answered, not logged."""
    assert not logging.getLogger("uvicorn.error").isEnabledFor(logging.WARNING)
    assert logging.getLogger("uvicorn.error").isEnabledFor(logging.ERROR)


def test_a_task_of_a_request_logs_the_requests_id(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An event without a text has the id of its request. Text lines do not change."""
    with RequestContext([(b"x-request-id", b"mine")]):
        log.error("odd")
        log.info("stopped")
    assert capsys.readouterr().out == "error: odd requestId=mine\n✓ Stopped\n"


SHOW = (
    "import structlog; from synkora.app.logs.configure import configure_logs; configure_logs('info');"
    "log = structlog.get_logger(); log.info('stopped');"
    "log.info('relayed', what='Task moved', projectId='p', userName='\\x1b[31mEve');"
    "log.info('client_disconnected', socketId='s', userName='Eve', reason='ping timeout');"
    "log.warning('caution', text='Beware'); log.error('handler_failed', eventName='x')"
)
PLAIN = [
    "✓ Stopped",
    "→ Task moved in p by \\x1b[31mEve",
    "✗ Client disconnected: s (Eve) - ping timeout",
    "! Beware",
    "error: handler_failed eventName=x",
]


def shown_on_a_terminal(script: str = SHOW, **variables: str) -> list[str]:
    """The terminal output of a process that logs some lines."""
    ours, theirs = pty.openpty()
    try:
        given = {"PATH": os.environ["PATH"], "TERM": "xterm", **variables}
        subprocess.run([sys.executable, "-c", script], stdout=theirs, env=given, check=True, timeout=30)
        return os.read(ours, 65536).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)


def test_lines_are_coloured_on_a_terminal() -> None:
    """The sign at the start of the line is coloured, and nothing else."""
    lines = shown_on_a_terminal()
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in lines] == PLAIN
    assert [re.findall(r"\x1b\[(\d+)m(\S+?)\x1b", line) for line in lines] == [
        [("32", "✓")],
        [("36", "→")],
        [("33", "✗")],
        [("31", "!")],
        [("31", "error:")],
    ]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_can_be_done_without(variables: dict[str, str]) -> None:
    assert shown_on_a_terminal(**variables) == PLAIN


def test_lines_of_a_worker_begin_with_its_number() -> None:
    """With colours and without. The rest of a line is the same."""
    script = SHOW.replace("'info')", "'info', worker=3)", 1)
    numbered = [f"[3] {line}" for line in PLAIN]
    assert shown_on_a_terminal(script, NO_COLOR="1") == numbered
    coloured = shown_on_a_terminal(script)
    assert coloured[0] == "[3] \x1b[32m✓\x1b[0m Stopped"
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in coloured] == numbered


def test_there_is_no_colour_in_a_file() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, encoding="utf-8", timeout=30)
    assert done.stdout.splitlines() == PLAIN
