"""Whom something is for."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from synkora.sockets import packets
from synkora.sockets.remote import RemoteSocket
from synkora.sockets.rooms import check_rooms

if TYPE_CHECKING:
    from synkora.sockets.core import NamespaceCore


class Broadcast:
    """A choice of sockets, on all servers: some methods return a narrower or wider one, the others do something to it.

    Source: socket.io/docs/v4/rooms, and server-api, "Socket.IO server, utility methods".
    """

    __slots__ = ("_core", "_excepted", "_is_local", "_is_volatile", "_rooms")

    def __init__(
        self,
        core: "NamespaceCore",
        rooms: Collection[str] = (),
        except_rooms: Collection[str] = (),
        is_volatile: bool = False,
        is_local: bool = False,
    ) -> None:
        self._core = core
        self._rooms = rooms
        self._excepted = except_rooms
        self._is_volatile = is_volatile
        self._is_local = is_local

    def to(self, *rooms: str) -> "Broadcast":
        """To the members of these rooms as well; a socket in several of them gets it once."""
        return self._with((*self._rooms, *check_rooms(rooms)), self._excepted, self._is_volatile, self._is_local)

    def in_(self, *rooms: str) -> "Broadcast":
        """The same as `to`, for what is no emit: `in_("a").fetch_sockets()`."""
        return self.to(*rooms)

    def except_(self, *rooms: str) -> "Broadcast":
        """But not to the members of these rooms."""
        return self._with(self._rooms, (*self._excepted, *check_rooms(rooms)), self._is_volatile, self._is_local)

    @property
    def volatile(self) -> "Broadcast":
        """May be dropped for clients that do not keep up."""
        return self._with(self._rooms, self._excepted, True, self._is_local)

    @property
    def local(self) -> "Broadcast":
        """Only to sockets of this server."""
        return self._with(self._rooms, self._excepted, self._is_volatile, True)

    def _with(
        self, rooms: Collection[str], except_rooms: Collection[str], is_volatile: bool, is_local: bool
    ) -> "Broadcast":
        return Broadcast(self._core, rooms, except_rooms, is_volatile, is_local)

    def emit(self, event: str, *args: object, attachments: tuple[bytes, ...] = ()) -> None:
        """Send an event, encoded once for all recipients.

        `args` are what JSON can hold, bytes, msgspec Structs and `Raw`; `attachments` are what placeholders within a
        `Raw` refer to. Raises `TypeError` for anything else.
        """
        if self._core.outgoing:
            self._core.emitted(event, args)
        message = packets.event(self._core.name, event, args, volatile=self._is_volatile, attachments=attachments)
        self._core.adapter.broadcast(message, self._rooms, self._excepted, local=self._is_local)

    async def call(self, event: str, *args: object, timeout: float = 60) -> list[Any]:
        """Send an event and wait up to `timeout` seconds for the acks of all who got it.

        Returns the first argument of each ack, None where it has none, in the order of arrival. Raises
        `AckTimeout`, whose `answers` are those that came: a client that leaves without an ack does not answer.
        """
        if self._core.outgoing:
            self._core.emitted(event, args)
        message = packets.event(self._core.name, event, args, volatile=self._is_volatile)
        return await self._core.adapter.call(
            message, self._rooms, self._excepted, timeout=timeout, local=self._is_local
        )

    async def fetch_sockets(self) -> list[RemoteSocket]:
        """The sockets themselves. Raises `TimeoutError` where another server does not answer."""
        snapshots = await self._core.adapter.fetch_sockets(self._rooms, self._excepted, local=self._is_local)
        return [RemoteSocket(self._core, snapshot) for snapshot in snapshots]

    def sockets_join(self, *rooms: str) -> None:
        """Put them into rooms."""
        self._core.adapter.sockets_join(self._rooms, self._excepted, check_rooms(rooms), local=self._is_local)

    def sockets_leave(self, *rooms: str) -> None:
        """Take them out of rooms."""
        self._core.adapter.sockets_leave(self._rooms, self._excepted, check_rooms(rooms), local=self._is_local)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Take them out of the namespace; with `close`, end their whole connections."""
        self._core.adapter.disconnect_sockets(self._rooms, self._excepted, close=close, local=self._is_local)
