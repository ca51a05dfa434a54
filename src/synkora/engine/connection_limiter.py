"""Limits on clients: in all, per address, and new ones per second and address."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import Final

from synkora.engine.addresses import rate_limit_key
from synkora.engine.counts import Counts, LocalCounts
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.incidents import Limit

_BURST: Final = 10  # seconds of the handshake rate; an office's clients all reconnect after a restart
_MAX_ADDRESSES: Final = 50_000
_RETRY_AFTER: Final = 10  # seconds, if the time until a place is free is unknown
_ALL: Final = ""  # the one name of the count of all clients
_ROUNDING: Final = 1e-6  # seconds; rounding of float sums must not shorten a burst by one


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Maximum sessions in all and per address, and handshakes per second and address; 0 means no limit."""

    clients: int = 0
    connections_per_address: int = 0
    handshakes_per_address: float = 0


class ConnectionLimiter:
    """Admits sessions within the limits. A /64 of IPv6 counts as one address.

    `connections` counts sessions per address, over all servers of a cluster; `clients` counts all sessions, over all
    processes that share the limit.
    """

    def __init__(
        self, settings: ConnectionLimits, connections: Counts | None = None, clients: Counts | None = None
    ) -> None:
        self._settings = settings
        self._clients = LocalCounts() if clients is None else clients
        self._connections = LocalCounts() if connections is None else connections  # empty counts are false
        self._due: OrderedDict[str, float] = OrderedDict()

    def check(self, address: str) -> None:
        """Count a handshake.

        Raises `HandshakeRefused`: 503 if the server is full, 429 if the address has reached a limit.
        """
        settings = self._settings
        key = rate_limit_key(address)
        if 0 < settings.clients <= self._clients.total(_ALL):
            raise HandshakeRefused(
                Refusal.FORBIDDEN, "Server is full", status=503, retry_after=_RETRY_AFTER, limit=Limit.CLIENTS
            )
        if 0 < settings.connections_per_address <= self._connections.total(key):
            raise _too_many("Too many connections from this address", _RETRY_AFTER, Limit.ADDRESS_CONNECTIONS)
        if settings.handshakes_per_address:
            self._check_rate(key, settings.handshakes_per_address)

    def _check_rate(self, key: str, per_second: float) -> None:
        now = monotonic()
        due = self._due.pop(key, 0.0)
        wait = due - now - _BURST - _ROUNDING
        self._due[key] = due if wait > 0 else max(due, now) + 1 / per_second
        if len(self._due) > _MAX_ADDRESSES:
            self._due.popitem(last=False)
        if wait > 0:
            raise _too_many("Too many new connections from this address", wait, Limit.ADDRESS_HANDSHAKES)

    def add(self, address: str) -> None:
        """Count a new session."""
        self._clients.add(_ALL)
        self._connections.add(rate_limit_key(address))

    def remove(self, address: str) -> None:
        """Count the end of a session."""
        self._clients.remove(_ALL)
        self._connections.remove(rate_limit_key(address))


def _too_many(message: str, wait: float, limit: Limit) -> HandshakeRefused:
    retry_after = max(1, math.ceil(wait))
    return HandshakeRefused(Refusal.FORBIDDEN, message, status=429, retry_after=retry_after, limit=limit)
