"""Whom an emit is for."""

from collections.abc import Collection

from synkora.sockets import packets
from synkora.sockets.adapter import Adapter


class Broadcast:
    """An emit in the making: each of its methods returns a new one, and `emit` sends it.

    Source: socket.io/docs/v4/rooms.
    """

    __slots__ = ("_adapter", "_excepted", "_is_volatile", "_namespace", "_rooms")

    def __init__(
        self,
        namespace: str,
        adapter: Adapter,
        rooms: Collection[str] = (),
        excepted: Collection[str] = (),
        is_volatile: bool = False,
    ) -> None:
        self._namespace = namespace
        self._adapter = adapter
        self._rooms = rooms
        self._excepted = excepted
        self._is_volatile = is_volatile

    def to(self, *rooms: str) -> "Broadcast":
        """To the members of these rooms as well; a socket in several of them gets it once."""
        return Broadcast(self._namespace, self._adapter, (*self._rooms, *rooms), self._excepted, self._is_volatile)

    def except_(self, *rooms: str) -> "Broadcast":
        """But not to the members of these rooms."""
        return Broadcast(self._namespace, self._adapter, self._rooms, (*self._excepted, *rooms), self._is_volatile)

    @property
    def volatile(self) -> "Broadcast":
        """May be dropped for clients that do not keep up."""
        return Broadcast(self._namespace, self._adapter, self._rooms, self._excepted, True)

    def emit(self, event: str, *args: object, attachments: tuple[bytes, ...] = ()) -> None:
        """Send an event: encoded once, whoever gets it.

        `args` are what JSON can hold, bytes, msgspec Structs and `Raw`; `attachments` are what placeholders within a
        `Raw` refer to. Raises `TypeError` for anything else.
        """
        message = packets.event(self._namespace, event, args, volatile=self._is_volatile, attachments=attachments)
        self._adapter.broadcast(message, self._rooms, self._excepted)
