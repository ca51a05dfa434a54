"""A socket's state at one moment, as sent between servers."""

from dataclasses import dataclass
from typing import Any

from synkora.protocol.socketio import decode_auth


@dataclass(frozen=True, slots=True)
class Handshake:
    """The first request of a session: `headers` by lower-case names, `query`, `address`, and `secure` for HTTPS.

    `auth` is the payload of CONNECT, and `payload` the same in JSON. `issued` is when the client connected to the
    namespace, in seconds since 1970. `address` and `secure` are those of the client if a trusted proxy passed the
    request on. For sockets of another server, headers, query and `auth` are empty beyond 4 MB in one answer.
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
    """A socket's id, its handshake, its rooms (including its own), and a copy of the application's `data`."""

    id: str
    handshake: Handshake
    rooms: frozenset[str]
    data: dict[str, Any]
