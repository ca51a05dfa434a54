"""The names of the channels, as in Node.js' adapter."""

from collections.abc import Sequence
from dataclasses import dataclass

from synkora.redis_adapter.wire_codec import RoomName


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of one namespace: for broadcasts, for requests, and for responses.

    `prefix` is the `key` of Node.js' adapter. Source: @socket.io/redis-adapter 8.3, dist/index.js.
    """

    broadcasts: bytes
    requests: bytes
    responses: bytes

    @classmethod
    def of(cls, prefix: str, namespace: str) -> "Channels":
        """Return a namespace's channels. Raises `ValueError` if they could coincide with another namespace's."""
        if "#" in namespace:
            raise ValueError(f"{namespace!r}: the name of a namespace that several servers share has no #")
        return cls(*(f"{prefix}{kind}#{namespace}#".encode() for kind in ("", "-request", "-response")))

    def room(self, name: str) -> bytes:
        """Return the channel for broadcasts to only this room."""
        return self.broadcasts + name.encode() + b"#"

    def broadcasts_to(self, rooms: Sequence[RoomName]) -> bytes:
        """Return the channel for broadcasts to these rooms; without rooms, for broadcasts to all sockets."""
        return self.room(str(rooms[0])) if len(rooms) == 1 else self.broadcasts

    def responses_to(self, uid: str) -> bytes:
        """Return the channel for responses to one server."""
        return self.responses + uid.encode() + b"#"
