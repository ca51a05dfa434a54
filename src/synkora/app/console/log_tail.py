"""The latest log entries, for the console."""

import time
from collections import deque
from typing import Any, Final, NamedTuple

import structlog

from synkora.app.console.rpc_messages import Entry, Level, LogPage
from synkora.app.logs.text import render_text

KEEPS: Final = 500  # entries
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")
_ERRORS: Final = ("exception", "critical")  # structlog's names for errors


class _Kept(NamedTuple):
    number: int
    at: float
    level: Level
    fields: dict[str, Any]
    text: str | None  # set for errors; otherwise rendered on demand


class LogTail:
    """Keeps log entries, and renders their lines on demand.

    The line of an error is rendered at once: the entry would keep the error's frames alive.
    """

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque(maxlen=KEEPS)
        self._last = 0

    def __call__(self, _: Any, method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Take an entry of the log (a processor of structlog's)."""
        self._last += 1
        level: Level = "error" if method in _ERRORS else method  # type: ignore[assignment]  # there are no others
        kept = dict(fields)
        text = render_text(None, method, dict(fields)) if kept.pop("exc_info", None) else None
        self._kept.append(_Kept(self._last, time.time(), level, kept, text))
        return fields

    def after(self, number: int, level: Level, instance: str) -> LogPage:
        """Return the entries after a number, of this level or a more severe one, as entries of `instance`."""
        shown = LEVELS[LEVELS.index(level) :]
        entries = [_entry(kept, instance) for kept in self._kept if kept.number > number and kept.level in shown]
        return LogPage(self._last, entries)


def _entry(kept: _Kept, instance: str) -> Entry:
    text = render_text(None, kept.level, dict(kept.fields)) if kept.text is None else kept.text
    return Entry(kept.at, instance, kept.level, str(kept.fields["event"]), text)
