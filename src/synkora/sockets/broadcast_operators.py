"""Methods of namespaces and servers for all sockets."""

from abc import ABC, abstractmethod
from typing import Any, Never

from synkora.sockets import other_names
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.remote import RemoteSocket


class BroadcastOperators(ABC):
    """The methods of a `Broadcast` to all sockets of a namespace."""

    @property
    @abstractmethod
    def everyone(self) -> Broadcast:
        """A broadcast to all sockets."""

    def to(self, *rooms: str) -> Broadcast:
        """A broadcast to the members of any of these rooms; without rooms, to all sockets."""
        return self.everyone.to(*rooms)

    def in_(self, *rooms: str) -> Broadcast:
        """The same as `to`."""
        return self.everyone.to(*rooms)

    def except_(self, *rooms: str) -> Broadcast:
        """A broadcast to all sockets except the members of these rooms."""
        return self.everyone.except_(*rooms)

    @property
    def volatile(self) -> Broadcast:
        """A broadcast that may be dropped for slow consumers."""
        return self.everyone.volatile

    def compress(self, value: bool) -> Broadcast:
        """A broadcast that is sent uncompressed if `value` is False: see `Socket.compress`."""
        return self.everyone.compress(value)

    @property
    def local(self) -> Broadcast:
        """A broadcast to sockets of this server only, not of others."""
        return self.everyone.local

    def emit(self, event: str, *args: object, **unknown: Never) -> None:
        """Send an event to all sockets, as `Broadcast.emit` does."""
        if unknown:
            raise other_names.unexpected("emit", unknown, other_names.SENDING, ())
        self.everyone.emit(event, *args)

    async def call(self, event: str, *args: object, timeout: float = 60, **unknown: Never) -> list[Any]:
        """Send an event to all sockets and wait for their acks, as `Broadcast.call` does."""
        if unknown:
            raise other_names.unexpected("call", unknown, other_names.SENDING, ())
        return await self.everyone.call(event, *args, timeout=timeout)

    async def fetch_sockets(self) -> list[RemoteSocket]:
        """All sockets, of all servers. Raises `TimeoutError` without any if one server does not answer in time."""
        return await self.everyone.fetch_sockets()

    def sockets_join(self, *rooms: str) -> None:
        """Add all sockets to rooms."""
        self.everyone.sockets_join(*rooms)

    def sockets_leave(self, *rooms: str) -> None:
        """Remove all sockets from rooms."""
        self.everyone.sockets_leave(*rooms)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect all sockets from the namespace; with `close`, end their whole connections."""
        self.everyone.disconnect_sockets(close)
