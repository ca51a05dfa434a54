"""What namespaces and servers offer to do with all who are in them."""

from abc import ABC, abstractmethod
from typing import Any, Never

from synkora.sockets import other_names
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.remote import RemoteSocket


class BroadcastOperators(ABC):
    """All sockets of a namespace: `Broadcast`'s methods, before anybody has been chosen."""

    @property
    @abstractmethod
    def everyone(self) -> Broadcast:
        """A broadcast to all of them."""

    def to(self, *rooms: str) -> Broadcast:
        """A broadcast to the members of these rooms."""
        return self.everyone.to(*rooms)

    def in_(self, *rooms: str) -> Broadcast:
        """The same as `to`, for what is no emit: `in_("a").fetch_sockets()`."""
        return self.everyone.to(*rooms)

    def except_(self, *rooms: str) -> Broadcast:
        """A broadcast to all but the members of these rooms."""
        return self.everyone.except_(*rooms)

    @property
    def volatile(self) -> Broadcast:
        """A broadcast that may be dropped for clients that do not keep up."""
        return self.everyone.volatile

    def compress(self, value: bool) -> Broadcast:
        """A broadcast that is sent uncompressed if `value` is False: see `Socket.compress`."""
        return self.everyone.compress(value)

    @property
    def local(self) -> Broadcast:
        """A broadcast to the sockets of this server alone."""
        return self.everyone.local

    def emit(self, event: str, *args: object, **unknown: Never) -> None:
        """Send an event to everyone."""
        if unknown:
            raise other_names.unexpected("emit", unknown, other_names.SENDING, ())
        self.everyone.emit(event, *args)

    async def call(self, event: str, *args: object, timeout: float = 60, **unknown: Never) -> list[Any]:
        """Send an event to everyone and wait for all acks, as `Broadcast.call` does."""
        if unknown:
            raise other_names.unexpected("call", unknown, other_names.SENDING, ())
        return await self.everyone.call(event, *args, timeout=timeout)

    async def fetch_sockets(self) -> list[RemoteSocket]:
        """All sockets, of all servers. Raises `TimeoutError` without any if one server does not answer in time."""
        return await self.everyone.fetch_sockets()

    def sockets_join(self, *rooms: str) -> None:
        """Put everyone into rooms."""
        self.everyone.sockets_join(*rooms)

    def sockets_leave(self, *rooms: str) -> None:
        """Take everyone out of rooms."""
        self.everyone.sockets_leave(*rooms)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Take everyone out of the namespace; with `close`, end their whole connections."""
        self.everyone.disconnect_sockets(close)
