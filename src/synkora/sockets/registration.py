"""Registering handlers."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from synkora.sockets import other_names
from synkora.sockets.namespace_core import DeclaredEvent, NamespaceCore
from synkora.sockets.routes import check_name, in_order
from synkora.sockets.signatures import caller, check_type, connect_caller, takes_any, takes_exactly
from synkora.sockets.socket import Socket

F = TypeVar("F", bound=Callable[..., Any])
DisconnectHandler = Callable[[Socket, str], Awaitable[None] | None]


class Registration:
    """Decorators and methods that register handlers in a namespace; of a server, in its main namespace."""

    _core: NamespaceCore

    if not TYPE_CHECKING:  # a type checker knows which names there are

        def __getattr__(self, name: str) -> Any:
            """Say what a method of python-socketio or Socket.IO is called here."""
            return other_names.missing(self, name, other_names.METHODS)

    @overload
    def on(self, event: str, *, ordered: bool = False) -> Callable[[F], F]: ...

    @overload
    def on(self, event: str, handler: F, *, ordered: bool = False) -> F: ...

    def on(self, event: str, handler: F | None = None, *, ordered: bool = False) -> F | Callable[[F], F]:
        """Register `handler(socket, *args)` for an event; without a handler, a decorator that does.

        It may be a coroutine function. Its annotations say what the arguments are: a builtin, a dataclass, a TypedDict,
        a msgspec Struct, a pydantic model, or what `typing` makes of them. An event with other arguments, or another
        number of them, is refused. What the handler returns acknowledges the event, where the client asks for that: a
        tuple is several arguments, None is none. `EventRefused` refuses the event; any other exception is logged.

        Several handlers of an event are called in the order of their registration, each when the one before has ended.
        The first result that is not None is the ack, and an exception ends the row.

        With `ordered`, the handler is called when the client's earlier events with `ordered` handlers have been
        handled.
        """
        check_name(event)
        if handler is None:
            return lambda function: self.on(event, function, ordered=ordered)
        self._add(event, handler, ordered=ordered)
        return handler

    @overload
    def once(self, event: str) -> Callable[[F], F]: ...

    @overload
    def once(self, event: str, handler: F) -> F: ...

    def once(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Register a handler as `on` does, for the next such event of any client alone."""
        check_name(event)
        if handler is None:
            return lambda function: self.once(event, function)
        self._add(event, handler, once=True)
        return handler

    def _add(self, event: str, handler: Callable[..., Any], *, ordered: bool = False, once: bool = False) -> None:
        route = caller(event, handler)
        self._core.routes.add(event, handler, in_order(route) if ordered else route, once=once)

    def off(self, event: str, handler: Callable[..., Any] | None = None) -> None:
        """Remove a handler of an event, or all of them. Raises `ValueError` where there is none."""
        self._core.routes.remove(event, handler)

    def on_any(self, handler: F) -> F:
        """Register `handler(socket, event, *args)`, which sees every event before the event's own handlers.

        What it returns counts for nothing. `EventRefused` refuses the event.
        """
        takes_any("the handler of on_any", handler)
        self._core.routes.watch(handler)
        return handler

    def off_any(self, handler: Callable[..., Any]) -> None:
        """Remove a handler of `on_any`. Raises `ValueError` for another function."""
        self._core.routes.unwatch(handler)

    def on_unknown(self, handler: F) -> F:
        """Register `handler(socket, event, *args)` for the events that have no handler; its result is the ack."""
        takes_any("the handler of on_unknown", handler)
        self._core.routes.handle_unknown(handler)
        return handler

    def on_any_outgoing(self, handler: F) -> F:
        """Register `handler(event, *args)`, which sees what this server emits to sockets of the namespace."""
        self._core.outgoing.append(handler)
        return handler

    def declare(self, event: str, *types: Any, answer: Any = None, description: str = "", **named: Any) -> None:
        """Say that an event is emitted, with arguments of these types, for `python -m synkora.schema` to write down.

        Arguments may have names, in the order of the arguments: `declare("said", name=str, text=str)`. `answer` is the
        type of the first argument of the client's ack, for an event that `call` sends. Raises `TypeError` for what is
        not a type.
        """
        arguments = {**{f"argument{index}": each for index, each in enumerate(types, 1)}, **named}
        for name, shape in {**arguments, "answer": answer}.items():
            check_type(shape, f"declare({event!r})", name)
        self._core.emits[check_name(event)] = DeclaredEvent(arguments, answer, description)

    def use(self, middleware: F) -> F:
        """Register `middleware(socket, auth)`, called for each CONNECT before the handler of `on_connect`.

        There may be several, called in the order of their registration. `ConnectRefused` refuses the client.
        """
        self._core.middleware.append(connect_caller("middleware", middleware))
        return middleware

    def on_connect(self, handler: F) -> F:
        """Register what decides on a CONNECT: `handler(socket, auth)`, which may raise `ConnectRefused`.

        What it emits goes out after the reply to CONNECT, and not at all if it refuses. An annotation of `auth` is
        checked as those of events are. Raises `ValueError` where there is a handler already: `use` adds more.
        """
        if self._core.on_connect is not None:
            raise ValueError("on_connect has a handler already: what else is to decide is registered with use")
        self._core.on_connect = connect_caller("the handler of on_connect", handler)
        return handler

    def on_disconnecting(self, handler: Callable[[Socket, str], None]) -> Callable[[Socket, str], None]:
        """Register `handler(socket, reason)`, a `def`, called before a socket leaves its rooms."""
        if inspect.iscoroutinefunction(handler):
            raise TypeError("on_disconnecting takes a def: a coroutine would run when the socket has left its rooms")
        takes_exactly("the handler of on_disconnecting", handler, "socket", "reason")
        if self._core.on_disconnecting is not None:
            raise ValueError("on_disconnecting has a handler already")
        self._core.on_disconnecting = handler
        return handler

    def on_disconnect(self, handler: DisconnectHandler) -> DisconnectHandler:
        """Register what learns of each end: `handler(socket, reason)`, with Socket.IO's word for the reason."""
        takes_exactly("the handler of on_disconnect", handler, "socket", "reason")
        if self._core.on_disconnect is not None:
            raise ValueError("on_disconnect has a handler already")
        self._core.on_disconnect = handler
        return handler
