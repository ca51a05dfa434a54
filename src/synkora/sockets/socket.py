"""A socket, one client in one namespace: rooms, `emit`, `call`, `disconnect`."""

import asyncio
import time
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Never

from synkora.engine.close_reasons import Reason
from synkora.engine.message import Message
from synkora.engine.session import Session
from synkora.protocol.socketio import PacketType, decode_auth, encode_packet
from synkora.sockets import other_names, packets
from synkora.sockets.acks import Acks
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.errors import AckTimeout, naming_event
from synkora.sockets.flagged_socket import FlaggedSocket
from synkora.sockets.rooms import check_rooms, check_unicode
from synkora.sockets.snapshot import Handshake, SocketSnapshot
from synkora.sockets.socket_recovery import SocketRecovery

if TYPE_CHECKING:
    from synkora.sockets.namespace_core import NamespaceCore


class SocketState(Enum):
    """The state of a socket's connection."""

    CONNECTING = auto()
    CONNECTED = auto()
    DISCONNECTED = auto()


@other_names.naming(other_names.SOCKET)
class Socket:
    """A client in a namespace. Handlers get it, and send with it.

    `id` is public: other clients may see it. `issued` is the time of its CONNECT, in seconds since the epoch. `data`
    is the application's own. Middleware may set `identity`, a name of the user: with recovery, only a client with the
    same identity returns to its socket. A socket that returns has its former id from `on_connect` on.
    """

    __slots__ = (
        "_acks",
        "_auth",
        "_core",
        "_data",
        "_disconnect",
        "_identity",
        "_is_admitted",
        "_is_greeted",
        "_last",
        "_lost_for",
        "_pending",
        "_recovery",
        "_rooms",
        "_running",
        "_running_size",
        "_session",
        "_state",
        "id",
        "issued",
    )

    def __init__(
        self,
        id: str,
        core: "NamespaceCore",
        session: Session,
        auth: bytes,
        disconnect: Callable[["Socket", bool], None],
    ) -> None:
        self.id = id
        self._core = core
        self._session = session
        self._auth = auth  # as JSON: objects could take thirty times as much memory until the end of the connection
        self._state = SocketState.CONNECTING
        self._disconnect = disconnect
        self.issued = time.time()
        self._rooms: set[str] | None = None
        self._running = 0  # number of running handlers
        self._running_size = 0  # bytes of their events
        self._last: asyncio.Future[None] | None = None  # completes with the last handler that is called in order
        self._pending: list[Message | packets.Draft] | None = None
        self._acks: Acks | None = None
        self._data: dict[str, Any] | None = None
        self._recovery: SocketRecovery | None = None
        self._identity = ""
        self._is_greeted = False  # the handler of CONNECT has been called
        self._is_admitted = False  # the handler of CONNECT has ended, and the last read of a return may go on
        self._lost_for: Reason | None = None  # why the socket was ended before that

    def __repr__(self) -> str:
        return f"<Socket {self.id} in {self.namespace}>"

    @property
    def namespace(self) -> str:
        """The name of the socket's namespace."""
        return self._core.name

    @property
    def auth(self) -> dict[str, Any]:
        """The payload of CONNECT, each time as a new object; without `pid` and `offset`, since `pid` is secret."""
        return decode_auth(self._auth)

    @property
    def data(self) -> dict[str, Any]:
        """The application's own values, for the life of the socket. Other servers see a copy if the values are JSON."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def handshake(self) -> Handshake:
        """The first request of the session, and the payload of CONNECT."""
        request = self._session.request
        return Handshake(
            headers=dict(request.headers),
            query=dict(request.query),
            address=request.address,
            secure=request.secure,
            issued=self.issued,
            payload=self._auth,
        )

    def _snapshot(self) -> SocketSnapshot:
        """Return a snapshot."""
        return SocketSnapshot(self.id, self.handshake, self.rooms, dict(self._data or {}))

    @property
    def identity(self) -> str:
        """The name of the user. It has no half of a surrogate pair: `ValueError`."""
        return self._identity

    @identity.setter
    def identity(self, identity: str) -> None:
        if isinstance(identity, str):
            check_unicode("a user", identity)
        self._identity = identity

    @property
    def connected(self) -> bool:
        """Whether the socket is connected: from the reply to CONNECT until its end."""
        return self._state is SocketState.CONNECTED

    @property
    def recovered(self) -> bool:
        """Whether the client has returned to this socket and gets all events that it missed."""
        return self._recovery is not None and self._recovery.is_recovered

    @property
    def _is_connecting(self) -> bool:
        """Whether the CONNECT of the socket is still undecided."""
        return self._state is SocketState.CONNECTING

    @property
    def transport(self) -> str:
        """The current transport, `polling` or `websocket`."""
        return self._session.transport.name

    # Rooms

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms, with the socket's own room, which is named like its id. Empty after the end."""
        return (
            frozenset((self.id, *(self._rooms or ()))) if self._state is not SocketState.DISCONNECTED else frozenset()
        )

    def join(self, *rooms: str) -> None:
        """Join rooms.

        Raises `TypeError` for a room that is not a text, and `ValueError` for one with half of a surrogate pair.
        """
        check_rooms(rooms)
        if self._state is SocketState.DISCONNECTED:
            return
        if self._rooms is None:
            self._rooms = set()
        self._rooms.update(rooms)
        if self._state is SocketState.CONNECTED:
            self._enter(rooms)
            if self._core.recovery is not None:
                self._core.recovery.joined(self, rooms)

    def _enter(self, rooms: Iterable[str]) -> None:
        for room in rooms:
            self._core.adapter.rooms.join(self.id, room)

    def leave(self, *rooms: str) -> None:
        """Leave rooms. Raises the same errors as `join`."""
        check_rooms(rooms)
        for room in rooms:
            if self._rooms is not None:
                self._rooms.discard(room)
            self._core.adapter.rooms.leave(self.id, room)
        if self._core.recovery is not None and self._state is SocketState.CONNECTED:
            self._core.recovery.left(self, rooms)

    # Sending

    def emit(self, event: str, *args: object, **unknown: Never) -> None:
        """Send an event to this client. A disconnected client gets nothing.

        Arguments are JSON values, Structs, dataclasses, pydantic models and bytes. Raises `TypeError` for anything
        else, and `ValueError` for an event of Socket.IO's own.
        """
        if unknown:
            raise other_names.unexpected("emit", unknown, other_names.SENDING, ())
        self._emit(event, args)

    def _emit(
        self,
        event: str,
        args: tuple[object, ...],
        *,
        volatile: bool = False,
        compress: bool = True,
        keep: bool = True,
    ) -> None:
        core = self._core
        if core.outgoing:
            core.emitted(event, args)
        recovery = core.recovery
        if recovery is None:
            self._put(packets.event(core.name, event, args, volatile=volatile, compress=compress))
        elif volatile or not keep:
            message = packets.event(core.name, event, args, volatile=volatile, compress=compress)
            self._put(recovery.with_position(message))
        else:
            draft = packets.draft(event, args, compress=compress)
            if self._state is SocketState.CONNECTED:
                recovery.publish(draft, (self.id,))
            else:
                self._put(draft)

    def _put(self, message: Message | packets.Draft) -> None:
        """Send a message that is encoded already, or an event that is kept when CONNECT has been answered."""
        if self._state is SocketState.CONNECTED and isinstance(message, Message):
            self._session.outbox.put(message)
        elif self._state is SocketState.CONNECTING:
            if self._pending is None:
                self._pending = []
            self._pending.append(message)

    async def call(self, event: str, *args: object, timeout: float = 60, **unknown: Never) -> Any:
        """Send an event and wait up to `timeout` seconds for the client's ack.

        Returns the first argument of the ack, or None. Raises `AckTimeout`, also if the client disconnects, and
        `TooManyCalls` if 1,000 acks of the client are missing. Raises `TypeError` and `ValueError` as `emit` does.
        """
        if unknown:
            raise other_names.unexpected("call", unknown, other_names.SENDING, ())
        return await self._call(event, args, timeout)

    async def _call(
        self, event: str, args: tuple[object, ...], timeout: float, *, volatile: bool = False, compress: bool = True
    ) -> Any:
        if self._state is SocketState.DISCONNECTED:
            raise AckTimeout(f"{event!r}: the client left")
        if self._acks is None:
            self._acks = Acks()
        number = self._core.adapter.acks.next_id()
        message = packets.event(self._core.name, event, args, volatile=volatile, compress=compress)
        message = packets.asking_for_ack(message, number)
        self._acks.open(number)
        if self._core.outgoing:
            self._core.emitted(event, args)
        self._put(message)
        with naming_event(event):
            answer = await self._acks.wait(number, timeout)
        return answer[0] if answer else None

    def to(self, *rooms: str) -> Broadcast:
        """A broadcast to the others in any of these rooms; without rooms, to all others in the namespace."""
        return Broadcast(self._core, check_rooms(rooms), (self.id,))

    def in_(self, *rooms: str) -> Broadcast:
        """The same as `to`."""
        return self.to(*rooms)

    def except_(self, *rooms: str) -> Broadcast:
        """A broadcast to all others in the namespace, except the members of these rooms."""
        return Broadcast(self._core, (), (self.id, *check_rooms(rooms)))

    @property
    def broadcast(self) -> Broadcast:
        """A broadcast to all others in the namespace."""
        return Broadcast(self._core, (), (self.id,))

    @property
    def volatile(self) -> FlaggedSocket:
        """An emit to this client, or a broadcast, that may be dropped for a slow consumer.

        The result has the methods of a socket that send, and `compress`.
        """
        return FlaggedSocket(self).volatile

    def compress(self, value: bool) -> FlaggedSocket:
        """An emit to this client, or a broadcast, that is sent uncompressed if `value` is False.

        The result has the methods of a socket that send, and `volatile`.
        Without a call, and with True, events of `compression_threshold` bytes and more are compressed, if the server
        has `compression` and the client takes it. A False saves CPU time for data that is compressed already, for
        example images. Behind another ASGI server than uvicorn with `websocket_protocol`, that server decides over
        WebSocket. Raises `TypeError` for a value that is not a bool.

        Source: socket.io/docs/v4/server-api, "socket.compress(value)".
        """
        return FlaggedSocket(self).compress(value)

    # The end

    def disconnect(self, close: bool = False) -> None:
        """Disconnect the socket from the namespace; with `close`, end the whole connection."""
        self._disconnect(self, close)

    # Called by other modules of this package

    def _open(self) -> None:
        """Answer CONNECT, and send the messages that waited for the answer."""
        self._state = SocketState.CONNECTED
        self._core.adapter.rooms.add(self.id, self._session.outbox)
        self._enter(self._rooms or ())
        outbox = self._session.outbox
        recovery = self._core.recovery
        if recovery is None:
            outbox.put(Message(encode_packet(PacketType.CONNECT, self.namespace, {"sid": self.id})))
        else:
            recovery.open(self)
        pending, self._pending = self._pending, None
        for message in pending or ():
            if isinstance(message, Message):
                outbox.put(message)
            elif recovery is not None:
                recovery.publish(message, (self.id,))

    def _close(self) -> None:
        """Leave all rooms, and cancel all pending acks."""
        if self._state is SocketState.CONNECTING:
            self._auth = b""  # a pending decision may still refer to the socket, but has no effect
        self._state = SocketState.DISCONNECTED
        self._pending = None
        self._core.adapter.rooms.remove(self.id, self._rooms or ())
        self._rooms = None
        if self._acks is not None:
            self._acks.cancel()

    def _owes(self, number: int) -> bool:
        """Whether this ack of the client is pending."""
        if self._acks is not None and self._acks.is_open(number):
            return True
        return self._core.adapter.acks.is_open(number, self.id)

    def _receive_ack(self, number: int, args: list[Any]) -> bool:
        """Handle the client's ack, of an emit or a broadcast; return whether it was pending."""
        if self._acks is not None and self._acks.resolve(number, args):
            return True
        return self._core.adapter.acks.resolve(number, self.id, args)
