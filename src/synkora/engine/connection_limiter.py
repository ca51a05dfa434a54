"""How many clients there may be: in all, from one address, and how fast from one address."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import Final

from synkora.engine.addresses import rate_limit_key
from synkora.engine.counts import Counts, LocalCounts
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.incidents import Limit

_BURST: Final = 10  # seconds' worth of handshakes at once: an office whose clients all come back after a restart
_MOST_ADDRESSES: Final = 50_000
_RETRY_AFTER: Final = 10  # seconds, where it is not known when there will be room
_ROUNDING: Final = 1e-6  # seconds: sums of floats must not make a burst one too small


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The most sessions in all and of one address, and handshakes a second of one address; 0 is no limit."""

    clients: int = 0
    connections_per_address: int = 0
    handshakes_per_address: float = 0


class ConnectionLimiter:
    """Lets sessions in, up to its settings. The /64 of an IPv6 address counts as one.

    `connections` counts those of each address, which may have some on other servers too.
    """

    def __init__(self, settings: ConnectionLimits, connections: Counts | None = None) -> None:
        self._settings = settings
        self._clients = 0
        self._connections = LocalCounts() if connections is None else connections  # one without any is false
        self._due: OrderedDict[str, float] = OrderedDict()

    def check(self, address: str) -> None:
        """Count a handshake.

        Raises `HandshakeRefused`: 503 where the server is full, 429 where the address has enough.
        """
        settings = self._settings
        site = rate_limit_key(address)
        if 0 < settings.clients <= self._clients:
            raise HandshakeRefused(
                Refusal.FORBIDDEN, "Server is full", status=503, retry_after=_RETRY_AFTER, limit=Limit.CLIENTS
            )
        if 0 < settings.connections_per_address <= self._connections.total(site):
            raise _too_many("Too many connections from this address", _RETRY_AFTER, Limit.ADDRESS_CONNECTIONS)
        if settings.handshakes_per_address:
            self._take_turn(site, settings.handshakes_per_address)

    def _take_turn(self, site: str, per_second: float) -> None:
        now = monotonic()
        due = self._due.pop(site, 0.0)
        wait = due - now - _BURST - _ROUNDING
        self._due[site] = due if wait > 0 else max(due, now) + 1 / per_second
        if len(self._due) > _MOST_ADDRESSES:
            self._due.popitem(last=False)
        if wait > 0:
            raise _too_many("Too many new connections from this address", wait, Limit.ADDRESS_HANDSHAKES)

    def enter(self, address: str) -> None:
        """Count a session that has begun."""
        self._clients += 1
        self._connections.add(rate_limit_key(address))

    def leave(self, address: str) -> None:
        """Take note that a session has ended."""
        self._clients -= 1
        self._connections.remove(rate_limit_key(address))


def _too_many(message: str, wait: float, limit: Limit) -> HandshakeRefused:
    retry_after = max(1, math.ceil(wait))
    return HandshakeRefused(Refusal.FORBIDDEN, message, status=429, retry_after=retry_after, limit=limit)
