"""Tells of incidents without flooding the log: the first of a kind at once, how many there were after a minute."""

import asyncio
from typing import Final

import structlog

from synkora.engine.incidents import Incidents, Tally

WINDOW: Final = 60  # seconds
_PARTICIPLES: Final = frozenset(("cut", "failed", "hit", "refused"))

log = structlog.get_logger(__name__)


class Patterns:
    """Watches incidents for the log.

    The first of a kind is a line of its own, so that operators learn of it at once. So is the first of a kind from each
    address, for programs that block addresses. The first begins a window of `window` seconds, at whose
    end one line has the number of all that came more than once, and one line for each address what came from there more
    than once. Without incidents there is no line, and no timer.
    """

    def __init__(self, incidents: Incidents, window: float = WINDOW) -> None:
        self._incidents = incidents
        self._window = window
        self._timer: asyncio.TimerHandle | None = None
        incidents.on_first = self._begin

    def tell(self) -> None:
        """End the window, and tell what was in it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        repeated = [tally for tally in self._incidents.take() if tally.times > 1]
        if repeated:
            log.warning("incidents", counts=", ".join(map(summary, repeated)))
        for address, counts in _by_address(repeated).items():
            log.warning("incidents_from", address=address, counts=", ".join(counts))

    def _begin(self, kind: str, label: str, address: str) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window, self.tell)
        source = {"address": address} if address else {}
        log.warning("incident", what=kind[:1].upper() + kind[1:], reason=label or None, **source)


def _by_address(tallies: list[Tally]) -> dict[str, list[str]]:
    """What came more than once from an address, in words."""
    found: dict[str, list[str]] = {}
    for tally in tallies:
        for address, times in tally.addresses.items():
            if times > 1:
                found.setdefault(address, []).append(f"{times} {_plural(tally.kind)}")
    return found


def summary(tally: Tally) -> str:
    """A tally in words: `3 origins refused (https://evil.example and 2 more)`."""
    what = tally.kind if tally.times == 1 else _plural(tally.kind)
    label = tally.label + (f" and {tally.other_labels} more" if tally.other_labels else "")
    return f"{tally.times} {what}" + (f" ({label})" if label else "")


def _plural(kind: str) -> str:
    """Several of a kind: `slow client cut off` becomes `slow clients cut off`."""
    words = kind.split(" ")
    noun = next((at for at, word in enumerate(words) if word in _PARTICIPLES), len(words)) - 1
    words[noun] += "s"
    return " ".join(words)
