"""The mapping of events to handlers: several for an event, catch-alls, unknown events."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final

from synkora.protocol.json import encode
from synkora.protocol.socketio import RESERVED_EVENTS, decode_arguments
from synkora.sockets.errors import EventRefused
from synkora.sockets.socket import Socket

#: Handles an event, given the socket, the event's JSON array, and its attachments.
Route = Callable[[Socket, bytes, tuple[bytes, ...]], object]
#: `handler(socket, event, *args)`.
AnyHandler = Callable[..., object]

_INSTEAD: Final = {
    "connect": ": use on_connect",
    "connection": ": use on_connect",
    "disconnect": ": use on_disconnect",
    "disconnecting": ": use on_disconnecting",
}


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A handler of one event, and the route that calls it."""

    function: Callable[..., Any]
    route: Route


def check_name(event: object) -> str:
    """Return an event's name. Raises `TypeError` and `ValueError` for an invalid name."""
    if callable(event):
        raise TypeError('the event has no name: @namespace.on("name"), with the name of the event')
    if not isinstance(event, str):
        raise TypeError(f"the name of an event is a text, not {event!r}")
    if event == "*":
        raise ValueError("'*' is no event: on_any sees every event, and on_unknown handles those without a handler")
    if not event:
        raise ValueError("the name of an event is empty")
    if event in RESERVED_EVENTS or event in _INSTEAD:
        raise ValueError(f"{event!r} is a word of Socket.IO's own{_INSTEAD.get(event, '')}")
    return event


class Routes:
    """The routes of a namespace's events, rebuilt when a handler is registered or removed.

    `by_name` has the routes by event name, `written` by the usual first bytes of an event's JSON array: `["name"`.
    `other` is the route of all other events, or None.
    """

    __slots__ = ("_handlers", "_unknown", "_watchers", "by_name", "other", "written")

    def __init__(self) -> None:
        self.by_name: dict[str, Route] = {}
        self.written: dict[bytes, tuple[str, Route]] = {}
        self.other: Route | None = None
        self._handlers: dict[str, list[Handler]] = {}
        self._watchers: list[AnyHandler] = []
        self._unknown: AnyHandler | None = None

    def add(self, event: str, function: Callable[..., Any], route: Route, *, once: bool = False) -> None:
        """Add a route, called after the event's earlier routes."""
        check_name(event)
        handlers = self._handlers.setdefault(event, [])
        if once:

            def call_once(socket: Socket, data: bytes, attachments: tuple[bytes, ...]) -> object:
                self._drop(event, handler)
                return route(socket, data, attachments)

            handler = Handler(function, call_once)
        else:
            handler = Handler(function, route)
        handlers.append(handler)
        self._make(event)

    def remove(self, event: str, function: object = None) -> None:
        """Remove one handler of an event, or all. Raises `ValueError` if there is none."""
        found = [each for each in self._handlers.get(event, ()) if function is None or each.function == function]
        if not found:
            raise ValueError(f"{event!r} has no such handler")
        for handler in found:
            self._drop(event, handler)

    def watch(self, function: AnyHandler) -> None:
        """Call `function` with every event, before the event's handlers."""
        self._watchers.append(function)
        self._make_all()

    def unwatch(self, function: AnyHandler) -> None:
        """Undo `watch`. Raises `ValueError` if `function` is not registered."""
        if function not in self._watchers:
            raise ValueError("there is no such handler")
        self._watchers.remove(function)
        self._make_all()

    def handle_unknown(self, function: AnyHandler) -> None:
        """Let `function` handle the events without a handler. Raises `ValueError` for a second function."""
        if self._unknown is not None:
            raise ValueError("unknown events have a handler already")
        self._unknown = function
        self._make_all()

    def functions(self) -> dict[str, list[Callable[..., Any]]]:
        """Return the handlers of each event, in the order of their calls."""
        return {event: [handler.function for handler in handlers] for event, handlers in self._handlers.items()}

    def copy(self, other: "Routes") -> None:
        """Copy the current handlers of another namespace."""
        self._handlers = {event: list(handlers) for event, handlers in other._handlers.items()}
        self._watchers = list(other._watchers)
        self._unknown = other._unknown
        self._make_all()

    def _drop(self, event: str, handler: Handler) -> None:
        handlers = self._handlers.get(event, [])
        if handler in handlers:
            handlers.remove(handler)
            self._make(event)

    def _make_all(self) -> None:
        for event in list(self._handlers):
            self._make(event)
        steps = [] if self._unknown is None else [(_caller(self._unknown), True)]
        self.other = self._joined(steps) if self._unknown is not None or self._watchers else None

    def _make(self, event: str) -> None:
        handlers = self._handlers[event]
        key = encode([event])[:-1]
        if handlers:
            route = self._joined([(handler.route, True) for handler in handlers])
            self.by_name[event] = route
            self.written[key] = (event, route)
        else:
            del self._handlers[event]
            self.by_name.pop(event, None)
            self.written.pop(key, None)

    def _joined(self, steps: list[tuple[Route, bool]]) -> Route:
        """Return one route of several: the steps run one after another, and the first result is the ack."""
        if len(steps) == 1 and not self._watchers:
            return steps[0][0]
        whole = (*((_caller(watcher), False) for watcher in self._watchers), *steps)
        return lambda *args: run(whole, args)


def _caller(function: AnyHandler) -> Route:
    def call(socket: Socket, data: bytes, attachments: tuple[bytes, ...]) -> object:
        name, *args = decode_arguments(data, attachments)
        return function(socket, str(name), *args)

    return call


Steps = tuple[tuple[Callable[..., Any], bool], ...]


def run(steps: Steps, args: tuple[Any, ...], at: int = 0, answer: object = None) -> object:
    """Call functions one after another; return the first counted result that is not None.

    The result is an awaitable if one of them returns an awaitable.
    """
    while at < len(steps):
        step, counts = steps[at]
        at += 1
        result = step(*args)
        if result is not None and isawaitable(result):
            return _run_later(result, counts, steps, args, at, answer)
        if counts and answer is None:
            answer = result
    return answer


async def _run_later(
    pending: Awaitable[object], counts: bool, steps: Steps, args: tuple[Any, ...], at: int, answer: object
) -> object:
    result = await pending
    rest = run(steps, args, at, result if counts and answer is None else answer)
    return await rest if rest is not None and isawaitable(rest) else rest


def in_order(route: Route) -> Route:
    """Return the same route, called after the client's earlier events that are handled in order."""

    def call(socket: Socket, data: bytes, attachments: tuple[bytes, ...]) -> object:
        before = socket._last
        if before is None:
            result = route(socket, data, attachments)
            if result is None or not isawaitable(result):
                return result
        else:
            result = _after(before, route, socket, data, attachments)
        try:
            socket._core.check_running(socket, len(data) + sum(map(len, attachments)))
        except EventRefused:  # before the next event waits for this one
            if isinstance(result, Coroutine):
                result.close()
            raise
        done = socket._last = asyncio.get_running_loop().create_future()
        return _release(result, socket, done)

    return call


async def _after(
    before: asyncio.Future[None], route: Route, socket: Socket, data: bytes, attachments: tuple[bytes, ...]
) -> object:
    await before
    result = route(socket, data, attachments)
    return await result if result is not None and isawaitable(result) else result


async def _release(work: Awaitable[object], socket: Socket, done: asyncio.Future[None]) -> object:
    try:
        return await work
    finally:
        done.set_result(None)
        if socket._last is done:
            socket._last = None
