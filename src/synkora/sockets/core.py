"""A namespace inside: its handlers, its sockets, its adapter, and what happens when an event arrives."""

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, Final

from synkora.engine.disconnect import Reason
from synkora.engine.logs import Log, fault
from synkora.engine.outbox import Flusher
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import encode
from synkora.protocol.socketio import (
    RESERVED_EVENTS,
    check_event,
    check_placeholders,
    decode_arguments,
    event_name,
)
from synkora.sockets import packets
from synkora.sockets.adapter import Adapter
from synkora.sockets.errors import EventRefused
from synkora.sockets.handlers import FAILURES, Spawn, outcome
from synkora.sockets.local_adapter import AdapterFactory, LocalAdapter
from synkora.sockets.server_side import ServerSide
from synkora.sockets.socket import Socket

#: What an event goes to: the socket, the event's JSON array, and its attachments.
Route = Callable[[Socket, bytes, tuple[bytes, ...]], object]
ConnectHandler = Callable[[Socket, dict[str, Any]], Awaitable[None] | None]
DisconnectHandler = Callable[[Socket, str], Awaitable[None] | None]

log = Log(__name__)

INTERNAL: Final = "Internal server error"
_NO_DETAILS: Final[Mapping[str, object]] = {}
_NAME_SHOWN: Final = 64  # characters of a client's own event name that go into an answer


class NamespaceCore:
    """What stands behind a `Namespace`, for the modules of this package and for `internals`."""

    def __init__(self, name: str, flusher: Flusher, spawn: Spawn, adapter: AdapterFactory | None = None) -> None:
        self.name = name
        self.sockets: dict[str, Socket] = {}
        self.spawn = spawn
        self.server_side = ServerSide(spawn)
        local = LocalAdapter(flusher, self.sockets, self.server_side)
        self.adapter: Adapter = local if adapter is None else adapter(name, local)
        self.refused = 0  # events, with an answer that says why
        self.before_data: Callable[[Socket, str, bytes, tuple[bytes, ...]], None] | None = None
        self.before_ack: Callable[[Socket, int], None] | None = None
        self.on_connect: ConnectHandler | None = None
        self.on_disconnect: DisconnectHandler | None = None
        self._routes: dict[str, Route] = {}
        # The same by the bytes that an event's JSON array usually begins with: `["name"`.
        self._written: dict[bytes, tuple[str, Route]] = {}

    def register(self, event: str, route: Route) -> None:
        """Send an event to `route`. Raises `ValueError` for a name that is Socket.IO's own, or has a handler."""
        if event in RESERVED_EVENTS:
            raise ValueError(f"{event!r} is a word of Socket.IO's own")
        if event in self._routes:
            raise ValueError(f"{event!r} has a handler already")
        self._routes[event] = route
        self._written[encode([event])[:-1]] = (event, route)

    def decide(self, socket: Socket, auth: dict[str, Any]) -> Awaitable[None] | None:
        """Ask the handlers of CONNECT. They raise, at once or when awaited, to refuse the socket."""
        result = None if self.on_connect is None else self.on_connect(socket, auth)
        return result if result is not None and isawaitable(result) else None

    def receive(self, socket: Socket, number: int | None, data: bytes, attachments: tuple[bytes, ...]) -> None:
        """Handle an event: its JSON array, and the id of the ack that the client asks for, if any.

        Raises `ProtocolError` where the array is not an event.
        """
        name, route = self._written.get(data[: data.find(b'"', 2) + 1], ("", None))
        try:
            if route is None:
                name, route = self._look_up(socket, data)
            if self.before_data is not None:
                self.before_data(socket, name, data, attachments)
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
            self.spawn(self._finish_later(socket, name, number, result))
        elif number is not None:
            self._acknowledge(socket, name, number, result)

    def receive_ack(self, socket: Socket, number: int, data: bytes, attachments: tuple[bytes, ...]) -> bool:
        """Take an ack; return whether it was asked for and could be read. Raises `ProtocolError` for a broken one."""
        try:
            if self.before_ack is not None:
                self.before_ack(socket, len(data) + sum(map(len, attachments)))
            if not socket._owes(number):
                return False  # before it is read: to build objects of it would cost far more than to count it
            return socket._receive_ack(number, decode_arguments(data, attachments))
        except EventRefused as refusal:
            self.refused += 1
            socket.emit("error", {"message": f"ack: {refusal}", **refusal.details})
        except InvalidPayload as error:
            socket.emit("error", {"message": f"ack: {error}"})
        return False

    def disconnected(self, socket: Socket, reason: Reason) -> None:
        """Tell the handler that a socket has left."""
        if self.on_disconnect is None:
            return
        try:
            result = self.on_disconnect(socket, reason.value)
        except FAILURES as error:
            handler_failed("disconnect", socket, error)
        else:
            if result is not None and isawaitable(result):
                self.spawn(self._disconnect_later(socket, result), lasting=True)

    async def _disconnect_later(self, socket: Socket, result: Awaitable[None]) -> None:
        try:
            await outcome(result)
        except Exception as error:
            handler_failed("disconnect", socket, error)

    def _look_up(self, socket: Socket, data: bytes) -> tuple[str, Route | None]:
        """An event's name, and its route if it has one. What `before_data` does not see is counted here."""
        try:
            name = event_name(data)
        except InvalidPayload:
            socket._session.count_odd(len(data))
            raise
        route = self._routes.get(name)
        if route is None and self.before_data is None:
            socket._session.count_odd(len(data))
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
            socket._put(packets.ack(self.name, number, args))
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
        handler_failed(name, socket, error)
        self._answer(socket, name, INTERNAL)

    def _answer(self, socket: Socket, name: str, message: str, details: Mapping[str, object] = _NO_DETAILS) -> None:
        socket.emit("error", {"message": message, "event": name[:_NAME_SHOWN], **details})


def handler_failed(event: str, socket: Socket, error: BaseException) -> None:
    """Log the failure of an application's handler."""
    log.error("handler_failed", eventName=event, socketId=socket.id, **fault(error))
