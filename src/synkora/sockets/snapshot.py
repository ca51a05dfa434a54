"""A socket as it is at one moment: what one server tells another of it."""

from dataclasses import dataclass
from typing import Any

from synkora.protocol.socketio import decode_auth


@dataclass(frozen=True, slots=True)
class Handshake:
    """What came with a connection: `auth` is the payload of CONNECT, the rest is of the session's first request.

    `issued` is seconds since the epoch; `address` is the peer's; `payload` is `auth` in JSON. Of another server's
    sockets headers, query and `auth` are empty beyond 4 MB in one answer.
    """

    headers: dict[str, str]
    query: dict[str, str]
    address: str
    secure: bool
    issued: float
    payload: bytes = b""

    @property
    def auth(self) -> dict[str, Any]:
        """The payload of CONNECT, each time as a new object: objects take up to thirty times as much as their JSON."""
        return decode_auth(self.payload)


@dataclass(frozen=True, slots=True)
class SocketSnapshot:
    """A socket's id, its handshake, the rooms it is in (its own included), and a copy of the application's `data`."""

    id: str
    handshake: Handshake
    rooms: frozenset[str]
    data: dict[str, Any]
