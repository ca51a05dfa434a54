"""A namespace: where an application registers its handlers, and sends to many sockets."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from synkora.protocol.socketio import check_placeholders, decode_arguments
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.broadcast_operators import BroadcastOperators
from synkora.sockets.core import ConnectHandler, DisconnectHandler, NamespaceCore
from synkora.sockets.server_side import server_event
from synkora.sockets.socket import Socket

P = TypeVar("P")
F = TypeVar("F", bound=Callable[..., Any])


class Namespace(BroadcastOperators):
    """A part of a server that clients connect to by its name, with handlers of its own."""

    def __init__(self, core: NamespaceCore) -> None:
        self._core = core

    @property
    def name(self) -> str:
        """Its name, which begins with a slash."""
        return self._core.name

    @property
    def sockets(self) -> dict[str, Socket]:
        """The connected sockets by their ids: a copy, so that a loop may disconnect them."""
        return dict(self._core.sockets)

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

        self._core.register(event, route)
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

        self._core.register(event, route)

    def on_connect(self, handler: ConnectHandler) -> ConnectHandler:
        """Register what decides on a CONNECT: `handler(socket, auth)`, which may raise `ConnectRefused`.

        What it emits goes out after the reply to CONNECT, and not at all if it refuses.
        """
        self._core.on_connect = handler
        return handler

    def on_disconnect(self, handler: DisconnectHandler) -> DisconnectHandler:
        """Register what learns of each end: `handler(socket, reason)`, with Socket.IO's word for the reason."""
        self._core.on_disconnect = handler
        return handler

    def before_event(self, check: Callable[[Socket, str], None]) -> Callable[[Socket, str], None]:
        """Register what sees each event first, by its name: `check(socket, event)`, which may raise `EventRefused`.

        It sees events that nobody handles too, and none of an event's data has been read yet.
        """
        self._core.before_data = lambda socket, event, _, __: check(socket, event)
        return check

    def before_data(self, check: Callable[[Socket, str, bytes, tuple[bytes, ...]], None]) -> None:
        """Register such a check, in the place of `before_event`, that gets the undecoded data and attachments too."""
        self._core.before_data = check

    def before_ack(self, check: Callable[[Socket, int], None]) -> None:
        """Register what sees each ack's size before it is decoded: `check(socket, size)` may raise `EventRefused`."""
        self._core.before_ack = check

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
        self._core.server_side.on(event, handler)
        return handler

    def server_side_emit(self, event: str, *args: object) -> None:
        """Send an event to the other servers themselves. Raises `TypeError` for bytes and what JSON cannot hold."""
        self._core.adapter.server_side_emit(server_event(event, args))

    async def server_side_call(self, event: str, *args: object, timeout: float = 5) -> list[Any]:
        """Send an event to the other servers and wait up to `timeout` seconds for the answer of each of them.

        Raises `AckTimeout`, whose `answers` are those that came, and `TypeError` as `server_side_emit` does.
        """
        return await self._core.adapter.server_side_call(server_event(event, args), timeout=timeout)

    async def all_rooms(self) -> set[str]:
        """The rooms that somebody is in on any server, those named like a socket's id included.

        Raises `TimeoutError` where a server does not answer.
        """
        return await self._core.adapter.all_rooms()

    @property
    def everyone(self) -> Broadcast:
        """A broadcast to all in the namespace."""
        return Broadcast(self._core)
