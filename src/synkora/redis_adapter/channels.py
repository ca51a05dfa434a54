"""The names of the channels that servers share, as Node.js' adapter makes them."""

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
        """Raises `ValueError` for a namespace whose channels could be those of another one's rooms."""
        if "#" in namespace:
            raise ValueError(f"{namespace!r}: the name of a namespace that several servers share has no #")
        return cls(*(f"{prefix}{kind}#{namespace}#".encode() for kind in ("", "-request", "-response")))

    def room(self, name: str) -> bytes:
        """Where broadcasts to this room alone are published."""
        return self.broadcasts + name.encode() + b"#"

    def broadcasts_to(self, rooms: Sequence[RoomName]) -> bytes:
        """Where broadcasts to these rooms are published, or to everyone where there are none."""
        return self.room(str(rooms[0])) if len(rooms) == 1 else self.broadcasts

    def responses_to(self, uid: str) -> bytes:
        """Where one server alone gets responses."""
        return self.responses + uid.encode() + b"#"
