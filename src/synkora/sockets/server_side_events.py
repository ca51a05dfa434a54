"""Events between servers, which no client gets.

Source: socket.io/docs/v4/server-api, "namespace.serverSideEmit".
"""

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, Final

from synkora.engine.logs import Log, fault
from synkora.protocol.json import encode
from synkora.protocol.socketio import take_attachments
from synkora.sockets.handlers import FAILURES, Spawn, outcome

# Socket.IO on Node.js reserves these names.
_RESERVED: Final = frozenset(("connect", "connection", "new_namespace"))

Handler = Callable[..., object]
Answer = Callable[[object], None]

log = Log(__name__)


def server_event(name: str, args: Sequence[object]) -> bytes:
    """Return the JSON array of an event between servers.

    Raises `TypeError` for bytes and for values that JSON cannot represent, `ValueError` for a reserved name.
    """
    _check_name(name)
    if take_attachments(args)[1]:
        raise TypeError("servers send each other no bytes")
    return encode([name, *args])


class ServerSide:
    """A namespace's handlers for the events of other servers."""

    __slots__ = ("_handlers", "_spawn")

    def __init__(self, spawn: Spawn) -> None:
        self._handlers: dict[str, Handler] = {}
        self._spawn = spawn

    def on(self, event: str, handler: Handler) -> None:
        """Register a handler. Raises `ValueError` for a second handler and for a reserved name."""
        _check_name(event)
        if event in self._handlers:
            raise ValueError(f"{event!r} has a handler already")
        self._handlers[event] = handler

    def copy(self, other: "ServerSide") -> None:
        """Copy the current handlers of another namespace."""
        self._handlers = dict(other._handlers)

    def receive(self, event: Sequence[Any], answer: Answer | None) -> None:
        """Handle an event, its name and arguments; `answer` gets the handler's result.

        There is no answer to an event that has no handler, or whose handler fails.
        """
        name = event[0] if event else None
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if handler is None:
            return
        try:
            result = handler(*event[1:])
            if isawaitable(result):
                self._spawn(self._finish_later(event[0], result, answer))
            elif answer is not None:
                answer(result)
        except FAILURES as error:
            log.error("handler_failed", eventName=name, **fault(error))

    async def _finish_later(self, name: str, result: Awaitable[object], answer: Answer | None) -> None:
        try:
            value = await outcome(result)
            if answer is not None:
                answer(value)
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("handler_failed", eventName=name, **fault(error))


def _check_name(name: str) -> None:
    if name in _RESERVED:
        raise ValueError(f"{name!r} is a word of Socket.IO's own")
