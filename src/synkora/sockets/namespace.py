"""A namespace: its handlers, its sockets, and what happens when an event comes."""

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, Final, TypeVar, overload

import structlog

from synkora.engine.disconnect import Reason
from synkora.engine.faults import fault
from synkora.engine.message import Message
from synkora.engine.outbox import Flusher
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import encode
from synkora.protocol.socketio import (
    RESERVED_EVENTS,
    PacketType,
    check_event,
    check_placeholders,
    decode_arguments,
    encode_packet,
    event_name,
)
from synkora.sockets import packets
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.broadcast_operators import BroadcastOperators
from synkora.sockets.errors import ConnectRefused, EventRefused
from synkora.sockets.handlers import FAILURES, Spawn, outcome
from synkora.sockets.local_adapter import AdapterFactory, LocalAdapter
from synkora.sockets.server_side import ServerSide, server_event
from synkora.sockets.socket import Socket, SocketState

P = TypeVar("P")
F = TypeVar("F", bound=Callable[..., Any])
ConnectHandler = Callable[[Socket, dict[str, Any]], Awaitable[None] | None]
DisconnectHandler = Callable[[Socket, str], Awaitable[None] | None]
#: What an event goes to: the socket, the event's JSON array, and its attachments.
Route = Callable[[Socket, bytes, tuple[bytes, ...]], object]


log = structlog.get_logger(__name__)

_NO_DETAILS: Final[Mapping[str, object]] = {}
_INTERNAL: Final = "Internal server error"
_NAME_SHOWN: Final = 64  # characters of a client's own event name that go into an answer


class Namespace(BroadcastOperators):
    """A part of a server that clients connect to by its name, with handlers of its own."""

    def __init__(self, name: str, flusher: Flusher, spawn: Spawn, adapter: AdapterFactory | None = None) -> None:
        self.name = name
        self._sockets: dict[str, Socket] = {}
        self._server_side = ServerSide(spawn)
        local = LocalAdapter(flusher, self._sockets, self._server_side)
        self.adapter = local if adapter is None else adapter(name, local)
        self._spawn = spawn
        self._routes: dict[str, Route] = {}
        # The same by the bytes that an event's JSON array usually begins with: `["name"`.
        self._written: dict[bytes, tuple[str, Route]] = {}
        self.refused = 0  # events, with an answer that says why
        self._before_data: Callable[[Socket, str, bytes, tuple[bytes, ...]], None] | None = None
        self._before_ack: Callable[[Socket, int], None] | None = None
        self._on_connect: ConnectHandler | None = None
        self._on_disconnect: DisconnectHandler | None = None

    @property
    def sockets(self) -> dict[str, Socket]:
        """Those who are connected, by their ids, as they are now: a copy, so that a loop may disconnect them."""
        return dict(self._sockets)

    # Handlers

    @overload
    def on(self, event: str) -> Callable[[F], F]: ...

    @overload
    def on(self, event: str, handler: F) -> F: ...

    def on(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Register `handler(socket, *args)` for an event; without a handler, a decorator that does.

        It may be a coroutine function. What it returns acknowledges the event, where the client asks for that: a tuple
        is several arguments, None is none. What it raises is logged and answered with an `error` event.
        """
        if handler is None:
            return lambda function: self.on(event, function)
        call = handler

        def route(socket: Socket, data: bytes, attachments: tuple[bytes, ...]) -> object:
            return call(socket, *decode_arguments(data, attachments)[1:])

        self._register(event, route)
        return handler

    def route(
        self, event: str, decode: Callable[[bytes], P], handler: Callable[[Socket, P, tuple[bytes, ...]], object]
    ) -> None:
        """Register `handler(socket, payload, attachments)` for an event whose JSON array `decode` turns into `payload`.

        `decode` raises `EventRefused` or `InvalidPayload` for what it does not take. Placeholders have been checked.
        """

        def route(socket: Socket, data: bytes, attachments: tuple[bytes, ...]) -> object:
            if attachments:
                check_placeholders(data, attachments)
            return handler(socket, decode(data), attachments)

        self._register(event, route)

    def _register(self, event: str, route: Route) -> None:
        if event in RESERVED_EVENTS:
            raise ValueError(f"{event!r} is a word of Socket.IO's own")
        if event in self._routes:
            raise ValueError(f"{event!r} has a handler already")
        self._routes[event] = route
        self._written[encode([event])[:-1]] = (event, route)

    def on_connect(self, handler: ConnectHandler) -> ConnectHandler:
        """Register what decides on a CONNECT: `handler(socket, auth)`, which may raise `ConnectRefused`.

        What it emits goes out after the reply to CONNECT, and not at all if it refuses.
        """
        self._on_connect = handler
        return handler

    def on_disconnect(self, handler: DisconnectHandler) -> DisconnectHandler:
        """Register what learns of each end: `handler(socket, reason)`, with Socket.IO's word for the reason."""
        self._on_disconnect = handler
        return handler

    def before_event(self, check: Callable[[Socket, str], None]) -> Callable[[Socket, str], None]:
        """Register what sees each event first, by its name: `check(socket, event)`, which may raise `EventRefused`.

        It sees events that nobody handles too, and none of an event's data has been read yet.
        """
        self._before_data = lambda socket, event, _, __: check(socket, event)
        return check

    def before_data(self, check: Callable[[Socket, str, bytes, tuple[bytes, ...]], None]) -> None:
        """Register such a check, in the place of `before_event`, that gets the undecoded data and attachments too."""
        self._before_data = check

    def before_ack(self, check: Callable[[Socket, int], None]) -> None:
        """Register what sees each ack's size before it is decoded: `check(socket, size)` may raise `EventRefused`."""
        self._before_ack = check

    # Other servers

    @overload
    def on_server_side(self, event: str) -> Callable[[F], F]: ...

    @overload
    def on_server_side(self, event: str, handler: F) -> F: ...

    def on_server_side(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Register `handler(*args)` for an event that another server emits to servers; without one, a decorator.

        It may be a coroutine function. What it returns is the answer, where one is asked for; what it raises is logged,
        and then there is none.
        """
        if handler is None:
            return lambda function: self.on_server_side(event, function)
        self._server_side.on(event, handler)
        return handler

    def server_side_emit(self, event: str, *args: object) -> None:
        """Send an event to the other servers themselves. Raises `TypeError` for bytes and what JSON cannot hold."""
        self.adapter.server_side_emit(server_event(event, args))

    async def server_side_call(self, event: str, *args: object, timeout: float = 5) -> list[Any]:
        """Send an event to the other servers and wait up to `timeout` seconds for the answer of each of them.

        Raises `AckTimeout`, whose `answers` are those that came, and `TypeError` as `server_side_emit` does.
        """
        return await self.adapter.server_side_call(server_event(event, args), timeout=timeout)

    async def all_rooms(self) -> set[str]:
        """The rooms that somebody is in on any server, those named like a socket's id included.

        Raises `TimeoutError` where a server does not answer.
        """
        return await self.adapter.all_rooms()

    @property
    def everyone(self) -> Broadcast:
        """A broadcast to all in the namespace."""
        return Broadcast(self.name, self.adapter)

    # What a client's packets lead to

    def connect(self, socket: Socket, auth: dict[str, Any], settled: Callable[[Socket], None]) -> None:
        """Decide on a CONNECT, now or in a task, and call `settled` when that is done."""
        if self._on_connect is None:
            self._admit(socket)
            settled(socket)
            return
        try:
            result = self._on_connect(socket, auth)
        except FAILURES as error:
            self._refuse(socket, error)
        else:
            if result is not None and isawaitable(result):
                self._spawn(self._connect_later(socket, result, settled))
                return
            self._admit(socket)
        settled(socket)

    async def _connect_later(
        self, socket: Socket, decision: Awaitable[None], settled: Callable[[Socket], None]
    ) -> None:
        try:
            await outcome(decision)
        except Exception as error:
            self._refuse(socket, error)
        else:
            self._admit(socket)
        settled(socket)

    def _admit(self, socket: Socket) -> None:
        if socket.state is SocketState.CONNECTING:
            self._sockets[socket.id] = socket
            socket.open()

    def _refuse(self, socket: Socket, error: BaseException) -> None:
        if socket.state is SocketState.CONNECTING:
            socket.close()
            socket.session.send(self._refusal(socket, error))
            if isinstance(error, ConnectRefused) and error.close:
                socket.session.close(Reason.FORCED_SERVER_CLOSE)

    def _refusal(self, socket: Socket, error: BaseException) -> bytes:
        if isinstance(error, ConnectRefused):
            answer = {"message": str(error)} if error.data is None else {"message": str(error), "data": error.data}
            try:
                return encode_packet(PacketType.CONNECT_ERROR, self.name, answer)
            except Exception as unwritable:
                error = unwritable
        log.error("handler_failed", eventName="connect", socketId=socket.id, **fault(error))
        return encode_packet(PacketType.CONNECT_ERROR, self.name, {"message": _INTERNAL})

    def receive(self, socket: Socket, number: int | None, data: bytes, attachments: tuple[bytes, ...]) -> None:
        """Take an event, with its JSON array and the id of the ack that is asked for, if one is.

        Raises `ProtocolError` where it is none.
        """
        name, route = self._written.get(data[: data.find(b'"', 2) + 1], ("", None))
        try:
            if route is None:
                name, route = self._look_up(socket, data)
            if self._before_data is not None:
                self._before_data(socket, name, data, attachments)
            if route is None:
                if attachments:
                    check_placeholders(data, attachments)
                else:
                    check_event(data)
                raise EventRefused(f"Unknown event: {name[:_NAME_SHOWN]}")
            result = route(socket, data, attachments)
        except ProtocolError:
            raise
        except FAILURES as error:
            self._failed(socket, name, error)
            return
        if result is not None and isawaitable(result):
            self._spawn(self._finish_later(socket, name, number, result))
        elif number is not None:
            self._acknowledge(socket, name, number, result)

    def receive_ack(self, socket: Socket, number: int, data: bytes, attachments: tuple[bytes, ...]) -> bool:
        """Take an ack; return whether it was asked for and could be read. Raises `ProtocolError` where it is none."""
        try:
            if self._before_ack is not None:
                self._before_ack(socket, len(data) + sum(map(len, attachments)))
            if not socket.owes(number):
                return False  # before it is read: to build objects of it would cost far more than to count it
            return socket.receive_ack(number, decode_arguments(data, attachments))
        except EventRefused as refusal:
            self.refused += 1
            socket.emit("error", {"message": f"ack: {refusal}", **refusal.details})
        except InvalidPayload as error:
            socket.emit("error", {"message": f"ack: {error}"})
        return False

    def _look_up(self, socket: Socket, data: bytes) -> tuple[str, Route | None]:
        """An event's name, and its route if it has one. What `_before_data` does not see is counted here."""
        try:
            name = event_name(data)
        except InvalidPayload:
            socket.session.count_odd(len(data))
            raise
        route = self._routes.get(name)
        if route is None and self._before_data is None:
            socket.session.count_odd(len(data))
        return name, route

    async def _finish_later(self, socket: Socket, name: str, number: int | None, result: Awaitable[object]) -> None:
        try:
            value = await outcome(result)
        except Exception as error:
            self._failed(socket, name, error)
            return
        if number is not None:
            self._acknowledge(socket, name, number, value)

    def _acknowledge(self, socket: Socket, name: str, number: int, value: object) -> None:
        args = () if value is None else value if isinstance(value, tuple) else (value,)
        try:
            socket.put(packets.ack(self.name, number, args))
        except Exception as error:
            self._failed(socket, name, error)

    def _failed(self, socket: Socket, name: str, error: BaseException) -> None:
        try:
            if isinstance(error, EventRefused):
                self.refused += 1
                self._answer(socket, name, str(error), error.details)
                return
            if isinstance(error, InvalidPayload):
                self.refused += 1
                self._answer(socket, name, str(error))
                return
        except Exception as unwritable:  # details that JSON cannot hold
            error = unwritable
        log.error("handler_failed", eventName=name, socketId=socket.id, **fault(error))
        self._answer(socket, name, _INTERNAL)

    def _answer(self, socket: Socket, name: str, message: str, details: Mapping[str, object] = _NO_DETAILS) -> None:
        socket.emit("error", {"message": message, "event": name[:_NAME_SHOWN], **details})

    def disconnected(self, socket: Socket, reason: Reason) -> None:
        """Take leave of a socket."""
        was_connected = self._sockets.pop(socket.id, None) is not None
        socket.close()
        if was_connected and self._on_disconnect is not None:
            try:
                result = self._on_disconnect(socket, reason.value)
            except FAILURES as error:
                log.error("handler_failed", eventName="disconnect", socketId=socket.id, **fault(error))
            else:
                if result is not None and isawaitable(result):
                    self._spawn(self._disconnect_later(socket, result), lasting=True)

    async def _disconnect_later(self, socket: Socket, result: Awaitable[None]) -> None:
        try:
            await outcome(result)
        except Exception as error:
            log.error("handler_failed", eventName="disconnect", socketId=socket.id, **fault(error))

    def disconnect_packet(self) -> Message:
        """What tells a client that it is out of the namespace."""
        return Message(encode_packet(PacketType.DISCONNECT, self.name))
