"""Broadcasts to sockets selected by rooms, on all servers."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Never

from synkora.sockets import options, other_names, packets
from synkora.sockets.errors import naming_event
from synkora.sockets.remote import RemoteSocket
from synkora.sockets.rooms import check_rooms

if TYPE_CHECKING:
    from synkora.sockets.namespace_core import NamespaceCore


class Broadcast:
    """Selected sockets of a namespace, on all servers, and how events are sent to them.

    `to`, `in_`, `except_`, `local`, `volatile` and `compress` return another broadcast. The other methods act at once.

    Source: socket.io/docs/v4/rooms, and server-api, "Socket.IO server, utility methods".
    """

    __slots__ = ("_core", "_excepted", "_is_compressed", "_is_local", "_is_volatile", "_rooms")

    def __init__(self, core: "NamespaceCore", rooms: Collection[str] = (), except_rooms: Collection[str] = ()) -> None:
        self._core = core
        self._rooms = rooms
        self._excepted = except_rooms
        self._is_volatile = False
        self._is_local = False
        self._is_compressed = True

    def to(self, *rooms: str) -> "Broadcast":
        """Add the members of these rooms. A socket in several rooms gets an event once."""
        changed = self._copy()
        changed._rooms = (*self._rooms, *check_rooms(rooms))
        return changed

    def in_(self, *rooms: str) -> "Broadcast":
        """The same as `to`."""
        return self.to(*rooms)

    def except_(self, *rooms: str) -> "Broadcast":
        """Leave out the members of these rooms."""
        changed = self._copy()
        changed._excepted = (*self._excepted, *check_rooms(rooms))
        return changed

    @property
    def volatile(self) -> "Broadcast":
        """Let events be dropped for slow consumers."""
        changed = self._copy()
        changed._is_volatile = True
        return changed

    def compress(self, value: bool) -> "Broadcast":
        """Send events uncompressed if `value` is False: see `Socket.compress`."""
        changed = self._copy()
        changed._is_compressed = options.of_type("compress", value, bool, "True or False")
        return changed

    @property
    def local(self) -> "Broadcast":
        """Leave out the sockets of other servers."""
        changed = self._copy()
        changed._is_local = True
        return changed

    def _copy(self) -> "Broadcast":
        copy = Broadcast(self._core, self._rooms, self._excepted)
        copy._is_volatile = self._is_volatile
        copy._is_local = self._is_local
        copy._is_compressed = self._is_compressed
        return copy

    def emit(self, event: str, *args: object, attachments: tuple[bytes, ...] = (), **unknown: Never) -> None:
        """Send an event, encoded once for all recipients.

        `args` are as in `Socket.emit`, and may also be a `msgspec.Raw`: JSON text that is sent unchanged. `attachments`
        are the bytes that placeholders in a `Raw` refer to. Raises `TypeError` for anything else.
        """
        if unknown:
            raise other_names.unexpected("emit", unknown, other_names.SENDING, ())
        core = self._core
        if core.outgoing:
            core.emitted(event, args)
        if core.recovery is not None and not self._is_volatile and not self._is_local:
            draft = packets.draft(event, args, attachments, compress=self._is_compressed)
            core.recovery.publish(draft, tuple(self._rooms), tuple(self._excepted))
            return
        message = packets.event(
            core.name,
            event,
            args,
            volatile=self._is_volatile,
            compress=self._is_compressed,
            attachments=attachments,
        )
        if core.recovery is not None:
            message = core.recovery.with_position(message)
        core.adapter.broadcast(message, self._rooms, self._excepted, local=self._is_local)

    async def call(self, event: str, *args: object, timeout: float = 60, **unknown: Never) -> list[Any]:
        """Send an event and wait up to `timeout` seconds for the acks of all recipients.

        Returns a list with the first argument of each ack, or None for an ack without arguments, in the order of
        arrival. Raises `AckTimeout` if an ack is missing, also of a client that has disconnected; its `answers` are
        the received ones.
        """
        if unknown:
            raise other_names.unexpected("call", unknown, other_names.SENDING, ())
        if self._core.outgoing:
            self._core.emitted(event, args)
        message = packets.event(self._core.name, event, args, volatile=self._is_volatile, compress=self._is_compressed)
        with naming_event(event):
            return await self._core.adapter.call(
                message, self._rooms, self._excepted, timeout=timeout, local=self._is_local
            )

    async def fetch_sockets(self) -> list[RemoteSocket]:
        """The sockets, of all servers. Raises `TimeoutError` without any if one server does not answer in time."""
        snapshots = await self._core.adapter.fetch_sockets(self._rooms, self._excepted, local=self._is_local)
        return [RemoteSocket(self._core, snapshot) for snapshot in snapshots]

    def sockets_join(self, *rooms: str) -> None:
        """Add the sockets to rooms. Raises `TypeError` for a room that is not a text."""
        self._core.adapter.sockets_join(self._rooms, self._excepted, check_rooms(rooms), local=self._is_local)

    def sockets_leave(self, *rooms: str) -> None:
        """Remove the sockets from rooms. Raises `TypeError` for a room that is not a text."""
        self._core.adapter.sockets_leave(self._rooms, self._excepted, check_rooms(rooms), local=self._is_local)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect the sockets from the namespace; with `close`, end their whole connections."""
        self._core.adapter.disconnect_sockets(self._rooms, self._excepted, close=close, local=self._is_local)
