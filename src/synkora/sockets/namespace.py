"""A namespace: an application registers handlers in it, and broadcasts to its sockets."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from synkora.protocol.socketio import check_placeholders
from synkora.sockets import options, other_names
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.broadcast_operators import BroadcastOperators
from synkora.sockets.errors import naming_event
from synkora.sockets.namespace_core import MOST_RUNNING, NamespaceCore, Refusals, Unknown
from synkora.sockets.registration import Registration
from synkora.sockets.server_side_events import server_event
from synkora.sockets.socket import Socket

P = TypeVar("P")
F = TypeVar("F", bound=Callable[..., Any])
#: Maximum characters of a dynamic namespace's name: the time to match a pattern may grow with their square, or faster.
MAX_NAME: Final = 200
#: The names of dynamic namespaces: a pattern, or a function that returns whether a name is valid.
Pattern = re.Pattern[str] | Callable[[str], bool]


@other_names.naming(other_names.METHODS)
class Namespace(Registration, BroadcastOperators):
    """A part of a server with its own handlers, to which clients connect by name.

    `server.add(namespace)` adds it to a server; `server.of(name)` creates and adds it. An event without a handler is
    answered with `error`, or with `unknown="ignore"` not at all. A refused event is answered with an `error` event, or
    with `refusals="ack"` by its ack, if the client asks for one: `{"error": {"message", "event", ...details}}`. A
    client may have `max_handlers` events in asynchronous handlers at a time; further events are refused.
    `recovery=False` excludes the namespace from the server's recovery.

    A pattern, or a function of a name, in place of the name makes dynamic namespaces: a namespace is created when a
    client connects to a matching name, with the handlers registered until then. A name has at most 200 characters and
    no `#`. There are at most `max_children` dynamic namespaces: a further one replaces an empty one.
    """

    def __init__(
        self,
        name: str | Pattern = "/",
        *,
        unknown: Unknown = "refuse",
        refusals: Refusals = "event",
        max_handlers: int = MOST_RUNNING,
        max_children: int = 1000,
        recovery: bool = True,
    ) -> None:
        if isinstance(name, type) or not (isinstance(name, str | re.Pattern) or callable(name)):
            raise TypeError(f"the name of a namespace is a text, a pattern or a function of a name, not {name!r}")
        self._pattern = None if isinstance(name, str) else name
        text = name if isinstance(name, str) else name.pattern if isinstance(name, re.Pattern) else name.__qualname__
        if isinstance(name, str) and (not name.startswith("/") or "," in name):
            raise ValueError(f"{name!r} is no namespace: it starts with / and has no comma")
        _check("unknown", unknown, ("refuse", "ignore"))
        _check("refusals", refusals, ("event", "ack"))
        options.count("max_handlers", max_handlers)
        options.count("max_children", max_children)
        core = NamespaceCore(text)
        core.unknown, core.refusals, core.most_running = unknown, refusals, max_handlers
        core.is_recoverable = recovery
        self._children: dict[str, NamespaceCore] = {}
        self._max_children = max_children
        self._core = core

    @property
    def name(self) -> str:
        """The name, which begins with a slash; for dynamic namespaces the pattern."""
        return self._core.name

    @property
    def refusals(self) -> Refusals:
        """The answer to a refused event with an ack: an `event`, or the `ack`."""
        return self._core.refusals

    @property
    def sockets(self) -> dict[str, Socket]:
        """The connected sockets of this server by their ids, as a copy, so that a loop may disconnect them."""
        return dict(self._core.sockets)

    def _matches(self, name: str) -> bool:
        """Whether the dynamic namespace has this name."""
        if len(name) > MAX_NAME or "#" in name:  # other servers use # as the end of a name
            return False
        if isinstance(self._pattern, re.Pattern):
            return self._pattern.fullmatch(name) is not None
        return self._pattern is not None and self._pattern(name)

    def _child(self, name: str) -> "Namespace":
        child = Namespace(name)
        child._core = self._children[name] = self._core.child(name)
        return child

    def _give_up_child(self) -> str | None:
        """If there are too many dynamic namespaces, drop an empty one; return its name."""
        if len(self._children) < self._max_children:
            return None
        name = next((name for name, core in self._children.items() if core.is_empty), None)
        if name is not None:
            self._children.pop(name).unbind()
        return name

    # Checks before the handlers of events

    def route(
        self, event: str, decode: Callable[[bytes], P], handler: Callable[[Socket, P, tuple[bytes, ...]], object]
    ) -> None:
        """Register `handler(socket, payload, attachments)` for an event whose JSON array `decode` turns into `payload`.

        `decode` raises `EventRefused` or `InvalidPayload` for invalid data. Placeholders have been checked.
        """

        def route(socket: Socket, data: bytes, attachments: tuple[bytes, ...]) -> object:
            if attachments:
                check_placeholders(data, attachments)
            return handler(socket, decode(data), attachments)

        self._core.routes.add(event, handler, route)

    def before_event(self, check: Callable[[Socket, str], None]) -> Callable[[Socket, str], None]:
        """Register `check(socket, event)`, called with the name of each event first; it may raise `EventRefused`.

        The check sees unknown events too, before any data of the event is decoded.
        """
        self.before_data(lambda socket, event, _, __: check(socket, event))
        return check

    def before_data(self, check: Callable[[Socket, str, bytes, tuple[bytes, ...]], None]) -> None:
        """Register `check(socket, event, data, attachments)` in the place of `before_event`.

        `data` is the undecoded JSON array of the event. Raises `ValueError` for a second check.
        """
        if self._core.before_data is not None:
            raise ValueError("before_event or before_data has a check already")
        self._core.before_data = check

    def before_ack(self, check: Callable[[Socket, int], None]) -> None:
        """Register `check(socket, size)`, called with the bytes of each ack before the ack is decoded.

        The check may raise `EventRefused`. Raises `ValueError` for a second check.
        """
        if self._core.before_ack is not None:
            raise ValueError("before_ack has a check already")
        self._core.before_ack = check

    # Other servers

    @overload
    def on_server_side(self, event: str) -> Callable[[F], F]: ...

    @overload
    def on_server_side(self, event: str, handler: F) -> F: ...

    def on_server_side(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Register `handler(*args)` for an event that another server emits to servers. Without it, return a decorator.

        A handler is a `def` or an `async def`. Its result is the answer to `server_side_call`. An exception is logged,
        and there is no answer. Raises `ValueError` for a second handler of the event.
        """
        if handler is None:
            return lambda function: self.on_server_side(event, function)
        self._core.server_side.on(event, handler)
        return handler

    def server_side_emit(self, event: str, *args: object) -> None:
        """Send an event to the other servers. Raises `TypeError` for bytes and what JSON cannot hold."""
        self._core.adapter.server_side_emit(server_event(event, args))

    async def server_side_call(self, event: str, *args: object, timeout: float = 5) -> list[Any]:
        """Send an event to the other servers and wait up to `timeout` seconds for the answer of each of them.

        Returns the answers in the order of arrival. Raises `AckTimeout`, whose `answers` are the received ones, and
        `TypeError` as `server_side_emit` does.
        """
        with naming_event(event):
            return await self._core.adapter.server_side_call(server_event(event, args), timeout=timeout)

    async def all_rooms(self) -> set[str]:
        """Return the names of all rooms with sockets, on all servers, with those named like a socket's id.

        Raises `TimeoutError` if a server does not answer.
        """
        return await self._core.adapter.all_rooms()

    @property
    def everyone(self) -> Broadcast:
        """A broadcast to all sockets of the namespace."""
        return Broadcast(self._core)


def _check(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")
