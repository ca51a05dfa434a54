"""Counts warnings and errors by level, and reports once a minute the repeated ones and those of too many clients."""

import asyncio
from collections import Counter
from time import monotonic
from typing import Any, Final

import structlog

WINDOW: Final = 60  # seconds
MOST_KINDS: Final = 100
MOST_ROUTINE: Final = 200  # entries a second: more would fill a disk, and a supervisor would drop other lines
#: What clients cause by coming and going.
_ROUTINE: Final = frozenset(("client_connected", "client_disconnected", "project_joined", "project_left"))
_SERIOUS: Final = {"warning": "warning", "error": "error", "exception": "error", "critical": "error"}
#: Entries that are never counted as repeats: summaries, and actions of operators and of the app's backend.
_COUNTED: Final = frozenset(
    (
        *("incident", "incidents", "incidents_from", "caution", "repeated", "admin_ui_disconnected"),
        *("console_blocked", "console_disconnected", "console_disconnected_all"),
        *("console_noticed", "console_unblocked"),
        *("api_blocked", "api_disconnected", "api_noticed", "api_removed", "api_unblocked"),
    )
)
_TELLING: Final = ("eventName", "problem", "logger")  # entries of an event that differ in these fields are not repeats

log = structlog.get_logger(__name__)


class RepeatedLines:
    """Passes the first of each warning or error, and reports the number of repeats after `window` seconds.

    Of the entries on clients that come and go, `MOST_ROUTINE` pass in each second. `levels` counts all warnings and
    errors, as `warning` or `error`. Without a running event loop, all entries pass.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self.levels: Counter[str] = Counter()
        self._window = window
        self._seen: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()  # routine entries
        self._second = 0  # the present one, by the monotonic clock
        self._routine = 0  # entries in it
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, _: Any, method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Count an entry (a structlog processor). Raises `DropEvent` for a repeat."""
        level = _SERIOUS.get(method)
        if fields["event"] in _ROUTINE and self._is_too_much(fields["event"]):
            raise structlog.DropEvent
        if level is None or fields["event"] == "repeated":
            return fields
        self.levels[level] += 1
        if fields["event"] not in _COUNTED and self._is_repeated(_kind(fields)):
            raise structlog.DropEvent
        return fields

    def _is_repeated(self, kind: str) -> bool:
        if kind not in self._seen and len(self._seen) >= MOST_KINDS:
            kind = "others"
        if not self._is_timed():
            return False
        self._seen[kind] += 1
        return self._seen[kind] > 1

    def _is_too_much(self, event: str) -> bool:
        second = int(monotonic())
        if second != self._second:
            self._second, self._routine = second, 0
        self._routine += 1
        if self._routine <= MOST_ROUTINE or not self._is_timed():
            return False
        self._left_out[event] += 1
        return True

    def _is_timed(self) -> bool:
        """Begin the window, if none runs. Returns whether one runs."""
        if self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(self._window, self.tell)
            except RuntimeError:
                return False
        return True

    def tell(self) -> None:
        """End the window, and log the repeats."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seen, self._seen = self._seen, Counter()
        left_out, self._left_out = self._left_out, Counter()
        more = [f"{times - 1} {kind}" for kind, times in seen.most_common() if times > 1]
        more += [f"{times} {kind}" for kind, times in left_out.most_common()]
        if more:
            log.warning("repeated", counts=", ".join(more))


def _kind(fields: structlog.typing.EventDict) -> str:
    """Return the text that identifies equal entries: `handler_failed (task:create)`."""
    details = [str(fields[name])[:100] for name in _TELLING if name in fields]
    error = fields.get("exc_info")
    if "errorType" in fields:
        details.append(str(fields["errorType"]))
    if isinstance(error, BaseException):
        details.append(type(error).__name__)
    return f"{fields['event']} ({', '.join(details)})" if details else str(fields["event"])
