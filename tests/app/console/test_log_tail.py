"""The last entries of the log, as operators read them."""

import gc
import weakref
from collections.abc import Iterator
from typing import get_args

import pytest
import structlog
from tests.support.logs import configured_logs

from synkora.app.console.log_tail import KEEPS, LEVELS, LogTail
from synkora.app.console.rpc_messages import Level
from synkora.app.settings.values import LogFormat


@pytest.fixture
def tail() -> Iterator[LogTail]:
    tail = LogTail()
    with configured_logs("info", tail=tail):
        yield tail


def lines(tail: LogTail, number: int = 0, level: Level = "debug") -> list[str]:
    return [entry.text for entry in tail.after(number, level, "i").entries]


def say(count: int = 1) -> None:
    for number in range(count):
        structlog.get_logger().info("project_left", userName=f"User {number}", projectId="p")


@pytest.mark.parametrize("form", get_args(LogFormat))
def test_lines_are_like_text_lines(form: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without colours, in any format of the log itself."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    tail = LogTail()
    with configured_logs("info", form, tail):
        say()
        assert lines(tail) == ["✓ User 0 left project p"]
        (entry,) = tail.after(0, "debug", "i").entries
        assert (entry.instance, entry.level, entry.event) == ("i", "info", "project_left")


def test_the_log_itself_is_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    with configured_logs("info", "json", LogTail()):
        say()
    assert '"event":"project_left","userName":"User 0","projectId":"p"}' in capsys.readouterr().out


def test_hidden_entries_are_not_stored(tail: LogTail) -> None:
    """The tail has the log's level. A repeated warning is stored once."""
    log = structlog.get_logger()
    log.debug("detail")
    log.warning("odd", problem="x")
    assert [line.split()[0] for line in lines(tail)] == ["warning:"]


def test_levels(tail: LogTail) -> None:
    """Each level includes the more severe ones."""
    log = structlog.get_logger()
    log.info("a")
    log.warning("b")
    log.error("c")
    log.exception("d", exc_info=ValueError("e"))
    events = {level: [entry.event for entry in tail.after(0, level, "i").entries] for level in LEVELS}
    assert events == {
        "debug": ["a", "b", "c", "d"],
        "info": ["a", "b", "c", "d"],
        "warning": ["b", "c", "d"],
        "error": ["c", "d"],
    }
    assert {entry.level for entry in tail.after(0, "error", "i").entries} == {"error"}


def test_only_newer_entries_are_returned(tail: LogTail) -> None:
    """Newer than the number of the previous page. The number grows even without entries of the level."""
    say(3)
    page = tail.after(0, "info", "i")
    assert len(page.entries) == 3
    assert tail.after(page.last, "info", "i").entries == []
    say(2)
    assert len(tail.after(page.last, "info", "i").entries) == 2
    assert tail.after(page.last, "error", "i").last == page.last + 2


def test_the_oldest_are_forgotten(tail: LogTail) -> None:
    say(KEEPS + 5)
    assert len(lines(tail)) == KEEPS
    assert lines(tail)[0] == "✓ User 5 left project p"


def test_nothing_can_forge_a_line(tail: LogTail) -> None:
    """Text that clients choose is escaped as in the log itself."""
    structlog.get_logger().info("project_left", userName="Eve\n✓ Admin joined\x1b[2J", projectId="p")
    (line,) = lines(tail)
    assert line == "✓ Eve\\n✓ Admin joined\\x1b[2J left project p"


class Held:
    """An object that the frames of an error refer to."""


def test_the_frames_of_an_error_are_released(tail: LogTail) -> None:
    """The tail keeps the traceback's text, but no objects of its frames."""

    def fail() -> weakref.ref[Held]:
        held = Held()
        try:
            raise ValueError("a fault")
        except ValueError:
            structlog.get_logger().exception("handler_failed", eventName="x")
        return weakref.ref(held)

    reference = fail()
    gc.collect()
    assert reference() is None
    # The garbage collector may find futures of earlier tests, which asyncio logs.
    (text,) = (line for line in lines(tail) if line.startswith("error: handler_failed"))
    assert text.startswith("error: handler_failed eventName=x")
    assert "ValueError: a fault" in text
