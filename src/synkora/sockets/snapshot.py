"""A socket as it is at one moment: what one server tells another of it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Handshake:
    """What came with a connection: `auth` is the payload of CONNECT, the rest is of the session's first request.

    `issued` is seconds since the epoch; `address` is the peer's.
    """

    headers: dict[str, str]
    query: dict[str, str]
    address: str
    auth: dict[str, Any]
    secure: bool
    issued: float


@dataclass(frozen=True, slots=True)
class SocketSnapshot:
    """A socket's id, its handshake, the rooms it is in (its own included), and a copy of the application's `data`."""

    id: str
    handshake: Handshake
    rooms: frozenset[str]
    data: dict[str, Any]
