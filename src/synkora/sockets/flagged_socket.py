"""A socket with flags for its next event."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Never

from synkora.sockets import options, other_names
from synkora.sockets.broadcast import Broadcast

if TYPE_CHECKING:
    from synkora.sockets.socket import Socket


@dataclass(frozen=True, slots=True)
class FlaggedSocket:
    """A socket with the flags of `Socket.volatile` and `Socket.compress`, for one emit, call or broadcast."""

    _socket: "Socket"
    _is_volatile: bool = False
    _is_compressed: bool = True

    @property
    def volatile(self) -> "FlaggedSocket":
        """The same, and may be dropped for a slow consumer."""
        return replace(self, _is_volatile=True)

    def compress(self, value: bool) -> "FlaggedSocket":
        """The same, compressed or not: see `Socket.compress`."""
        return replace(self, _is_compressed=options.of_type("compress", value, bool, "True or False"))

    def emit(self, event: str, *args: object, **unknown: Never) -> None:
        """Send an event to this client, as `Socket.emit` does."""
        if unknown:
            raise other_names.unexpected("emit", unknown, other_names.SENDING, ())
        self._socket._emit(event, args, volatile=self._is_volatile, compress=self._is_compressed)

    async def call(self, event: str, *args: object, timeout: float = 60, **unknown: Never) -> Any:
        """Send an event to this client and wait for its ack, as `Socket.call` does."""
        if unknown:
            raise other_names.unexpected("call", unknown, other_names.SENDING, ())
        return await self._socket._call(event, args, timeout, volatile=self._is_volatile, compress=self._is_compressed)

    def to(self, *rooms: str) -> Broadcast:
        """A broadcast to the others in these rooms."""
        return self._flagged(self._socket.to(*rooms))

    def in_(self, *rooms: str) -> Broadcast:
        """The same as `to`."""
        return self.to(*rooms)

    def except_(self, *rooms: str) -> Broadcast:
        """A broadcast to all others except the members of these rooms."""
        return self._flagged(self._socket.except_(*rooms))

    @property
    def broadcast(self) -> Broadcast:
        """A broadcast to all others in the namespace."""
        return self._flagged(self._socket.broadcast)

    def _flagged(self, broadcast: Broadcast) -> Broadcast:
        return (broadcast.volatile if self._is_volatile else broadcast).compress(self._is_compressed)
