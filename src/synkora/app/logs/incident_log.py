"""Logs incidents without flooding the log: the first of a kind at once, then the number after a minute."""

import asyncio
from typing import Final

import structlog

from synkora.engine.incidents import IncidentKind, Incidents, Tally

WINDOW: Final = 60  # seconds
_ENDS: Final = (" refused", " failed", " hit", " cut off")  # of the kinds' names

log = structlog.get_logger(__name__)


class IncidentLog:
    """Logs incidents.

    The first incident of a kind gets its own line at once, for operators. So does the first of a kind from each
    address, for programs that block addresses. The first incident starts a window of `window` seconds. At its end, one
    line counts the kinds that occurred more than once, and one line per address counts its repeated incidents. Without
    incidents there is no line and no timer.
    """

    def __init__(self, incidents: Incidents, window: float = WINDOW) -> None:
        self._incidents = incidents
        self._window = window
        self._timer: asyncio.TimerHandle | None = None
        incidents.on_first = self._begin

    def tell(self) -> None:
        """End the window, and log its counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        repeated = [tally for tally in self._incidents.take() if tally.times > 1]
        if repeated:
            log.warning("incidents", counts=", ".join(map(summary, repeated)))
        for address, counts in _by_address(repeated).items():
            log.warning("incidents_from", address=address, counts=", ".join(counts))

    def _begin(self, kind: IncidentKind, label: str, address: str) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window, self.tell)
        source = {"address": address} if address else {}
        log.warning("incident", what=kind[:1].upper() + kind[1:], reason=label or None, **source)


def _by_address(tallies: list[Tally]) -> dict[str, list[str]]:
    """Return the repeated incidents per address, as text."""
    found: dict[str, list[str]] = {}
    for tally in tallies:
        for address, times in tally.addresses.items():
            if times > 1:
                found.setdefault(address, []).append(f"{times} {_plural(tally.kind)}")
    return found


def summary(tally: Tally) -> str:
    """A tally as text: `3 origins refused (https://evil.example and 2 more)`."""
    what = tally.kind if tally.times == 1 else _plural(tally.kind)
    label = tally.label + (f" and {tally.other_labels} more" if tally.other_labels else "")
    return f"{tally.times} {what}" + (f" ({label})" if label else "")


def _plural(kind: IncidentKind) -> str:
    """Return `origins refused` for "origin refused", and `protocol errors` for "protocol error"."""
    end = next((end for end in _ENDS if kind.endswith(end)), "")
    return f"{kind.removesuffix(end)}s{end}"
