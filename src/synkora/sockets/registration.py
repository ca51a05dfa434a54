"""Registration of handlers: `on`, `once`, `off`, `use`, `on_connect` and the others."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Never, Protocol, TypeVar, cast, overload

from synkora.sockets import options, other_names
from synkora.sockets.namespace_core import DeclaredEvent, NamespaceCore
from synkora.sockets.routes import check_name, in_order
from synkora.sockets.signatures import caller, check_type, connect_caller, takes_any, takes_any_outgoing, takes_exactly
from synkora.sockets.socket import Socket


class AnyHandler(Protocol):
    """A handler of `on_any` and `on_unknown`."""

    def __call__(self, socket: Socket, event: str, /, *args: Any) -> object: ...


class OutgoingHandler(Protocol):
    """A handler of `on_any_outgoing`."""

    def __call__(self, event: str, /, *args: Any) -> object: ...


M = TypeVar("M", bound=Callable[..., Any])
F = TypeVar("F", bound=Callable[Concatenate[Socket, ...], Any])
C = TypeVar("C", bound=Callable[[Socket], object] | Callable[[Socket, Any], object])
A = TypeVar("A", bound=AnyHandler)
G = TypeVar("G", bound=OutgoingHandler)
DisconnectHandler = Callable[[Socket, str], Awaitable[None] | None]


def _without_parentheses(register: M) -> M:
    """Explain the use of a decorator that is called without a handler: `@server.use()`."""

    @functools.wraps(register)
    def checked(self: object, *args: Any, **keywords: Any) -> Any:
        if not args and not keywords:
            name = register.__name__
            raise TypeError(f"{name} takes a handler: as a decorator, {name} has no parentheses, @server.{name}")
        return register(self, *args, **keywords)

    return cast("M", checked)


class Registration:
    """Decorators and methods that register handlers in a namespace; of a server, in its main namespace."""

    _core: NamespaceCore

    @overload
    def on(self, event: str, *, ordered: bool = False) -> Callable[[F], F]: ...

    @overload
    def on(self, event: str, handler: F, *, ordered: bool = False) -> F: ...

    def on(
        self, event: str, handler: F | None = None, *, ordered: bool = False, **unknown: Never
    ) -> F | Callable[[F], F]:
        """Register `handler(socket, *args)` for an event. Without a handler, return a decorator.

        A handler is a `def` or an `async def`. Its annotations are the types of the arguments: builtins, dataclasses,
        TypedDicts, msgspec Structs, pydantic models, and what `typing` makes of them. An event with arguments of other
        types, or with another number of arguments, is refused. The result is the ack, if the client asks for one: a
        tuple is several arguments, None is none. `EventRefused` refuses the event. Any other exception is logged, and
        the client gets `Internal server error`.

        Several handlers of an event are called in the order of their registration, each after the end of the one
        before. The first result that is not None is the ack. An exception skips the remaining handlers.

        With `ordered`, the handler is called after the end of the handlers of the client's earlier events, as far as
        those are `ordered` too.

        Raises `TypeError` for a handler that cannot be called so, and `ValueError` for an event of Socket.IO's own.
        """
        check_name(event)
        if unknown:
            raise other_names.unexpected("on", unknown, other_names.REGISTERING, ("ordered",))
        if handler is None:
            return lambda function: self.on(event, function, ordered=ordered)
        self._add(event, handler, ordered=ordered)
        return handler

    @overload
    def once(self, event: str) -> Callable[[F], F]: ...

    @overload
    def once(self, event: str, handler: F) -> F: ...

    def once(self, event: str, handler: F | None = None, **unknown: Never) -> F | Callable[[F], F]:
        """Register a handler as `on` does, for one call: the next such event of any client."""
        check_name(event)
        if unknown:
            raise other_names.unexpected("once", unknown, other_names.REGISTERING, ())
        if handler is None:
            return lambda function: self.once(event, function)
        self._add(event, handler, once=True)
        return handler

    def _add(self, event: str, handler: Callable[..., Any], *, ordered: bool = False, once: bool = False) -> None:
        route = caller(event, handler)
        self._core.routes.add(event, handler, in_order(route) if ordered else route, once=once)

    def off(self, event: str, handler: Callable[..., Any] | None = None) -> None:
        """Remove one handler of an event, or all of them. Raises `ValueError` if there is none."""
        self._core.routes.remove(event, handler)

    @_without_parentheses
    def on_any(self, handler: A) -> A:
        """Register `handler(socket, event, *args)`, called with every event before the event's own handlers.

        Its result is ignored. `EventRefused` refuses the event. Raises `TypeError` for a handler without `*args`.
        """
        takes_any("the handler of on_any", handler)
        self._core.routes.watch(handler)
        return handler

    def off_any(self, handler: Callable[..., Any]) -> None:
        """Remove a handler of `on_any`. Raises `ValueError` for any other function."""
        self._core.routes.unwatch(handler)

    @_without_parentheses
    def on_unknown(self, handler: A) -> A:
        """Register `handler(socket, event, *args)` for events without a handler. Its result is the ack.

        Raises `ValueError` for a second handler.
        """
        takes_any("the handler of on_unknown", handler)
        self._core.routes.handle_unknown(handler)
        return handler

    @_without_parentheses
    def on_any_outgoing(self, handler: G) -> G:
        """Register `handler(event, *args)`, called for each emit of this server to sockets of the namespace.

        Raises `TypeError` for a handler that cannot be called so.
        """
        takes_any_outgoing("the handler of on_any_outgoing", handler)
        self._core.outgoing.append(handler)
        return handler

    def declare(self, event: str, *types: Any, answer: Any = None, description: str = "", **named: Any) -> None:
        """Declare an event that the server emits, with the types of its arguments, for `python -m synkora.schema`.

        Arguments may have names, in the order of the arguments: `declare("said", name=str, text=str)`. `answer` is the
        type of the first argument of the client's ack, for an event that `call` sends. Raises `TypeError` for a value
        that is not a type.
        """
        check_name(event)
        if event in self._core.emits:
            raise ValueError(f"{event!r} is declared already")
        options.of_type(f"declare({event!r}): description", description, str, "a text, and no name of an argument")
        arguments = {**{f"argument{index}": each for index, each in enumerate(types, 1)}, **named}
        for name, shape in {**arguments, "answer": answer}.items():
            check_type(shape, f"declare({event!r})", name)
        self._core.emits[event] = DeclaredEvent(arguments, answer, description)

    @_without_parentheses
    def use(self, middleware: C) -> C:
        """Register `middleware(socket, auth)`, called for each CONNECT before the handler of `on_connect`.

        Several are called in the order of their registration. `ConnectRefused`, or the result False, refuses the
        client.
        """
        self._core.middleware.append(connect_caller("middleware", middleware))
        return middleware

    @_without_parentheses
    def on_connect(self, handler: C) -> C:
        """Register `handler(socket, auth)`, called for each CONNECT; it may raise `ConnectRefused`, or return False.

        Its emits are sent after the reply to CONNECT, and not at all after a refusal. The annotation of `auth` is
        checked as annotations of events are. Raises `ValueError` for a second handler: `use` adds more.
        """
        if self._core.on_connect is not None:
            raise ValueError("on_connect has a handler already: register further checks with use")
        self._core.on_connect = connect_caller("the handler of on_connect", handler)
        return handler

    @_without_parentheses
    def on_disconnecting(self, handler: Callable[[Socket, str], None]) -> Callable[[Socket, str], None]:
        """Register `handler(socket, reason)`, a `def`, called before a socket leaves its rooms.

        Raises `TypeError` for an `async def`, and `ValueError` for a second handler.
        """
        if inspect.iscoroutinefunction(handler):
            raise TypeError("on_disconnecting takes a def: a coroutine would run when the socket has left its rooms")
        takes_exactly("the handler of on_disconnecting", handler, "socket", "reason")
        if self._core.on_disconnecting is not None:
            raise ValueError("on_disconnecting has a handler already")
        self._core.on_disconnecting = handler
        return handler

    @_without_parentheses
    def on_disconnect(self, handler: DisconnectHandler) -> DisconnectHandler:
        """Register `handler(socket, reason)`, called after a socket has left its rooms; not for a refused CONNECT.

        A client that is lost while `on_connect` runs has left when `on_connect` has ended.
        `reason` is a text of Socket.IO, such as `transport close`. Raises `ValueError` for a second handler.
        """
        takes_exactly("the handler of on_disconnect", handler, "socket", "reason")
        if self._core.on_disconnect is not None:
            raise ValueError("on_disconnect has a handler already")
        self._core.on_disconnect = handler
        return handler
