"""The internals of a namespace: handlers and bounds on running ones, sockets, adapter, and the handling of events."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from typing import Any, Final, Literal, NamedTuple

from synkora.engine.close_reasons import Reason
from synkora.engine.logs import Log, fault
from synkora.engine.outbox import Flusher
from synkora.engine.turn_budget import TurnBudget
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.socketio import check_event, check_placeholders, decode_arguments, event_name
from synkora.recovery.ports import RecoveryStore
from synkora.sockets import packets
from synkora.sockets.adapter import Adapter
from synkora.sockets.errors import EventRefused, check_admitted, other_refusal
from synkora.sockets.handlers import FAILURES, Spawn, outcome
from synkora.sockets.local_adapter import AdapterFactory, LocalAdapter
from synkora.sockets.recovery import NamespaceRecovery
from synkora.sockets.routes import Route, Routes
from synkora.sockets.server_side_events import ServerSide
from synkora.sockets.socket import Socket
from synkora.sockets.socket_recovery import Return

DisconnectHandler = Callable[[Socket, str], Awaitable[None] | None]
Unknown = Literal["refuse", "ignore"]
Refusals = Literal["event", "ack"]

log = Log(__name__)

INTERNAL: Final = "Internal server error"
#: Maximum bytes of one socket's events in running handlers (or one larger event): the objects may take twenty times as
#: much.
MAX_RUNNING_SIZE: Final = 8_000_000
MOST_RUNNING: Final = 1000  # events of one socket in running handlers
_NO_DETAILS: Final[Mapping[str, object]] = {}
_NAME_SHOWN: Final = 64  # characters of a client's event name in an answer


#: Decides on a CONNECT, immediately or when awaited: returns to admit the socket, raises to refuse it.
ConnectCheck = Callable[[Socket, dict[str, Any]], object]


class NoAck:
    """Returned by a handler, it leaves an event without an ack: the client's wait ends by its own timeout."""

    def __repr__(self) -> str:
        return "NO_ACK"


NO_ACK: Final = NoAck()


class _NoAdapter:
    """The adapter of a namespace that is not part of a server yet: raises an error on use."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("the namespace is not part of a server yet: server.add(namespace)")


def _not_bound(coroutine: Coroutine[Any, Any, None], *, lasting: bool = False) -> object:
    coroutine.close()
    raise RuntimeError("the namespace is not part of a server yet: server.add(namespace)")


_NO_ADAPTER: Final[Any] = _NoAdapter()
_COPIED: Final = (
    *("before_ack", "before_data", "most_running", "on_connect", "on_disconnect", "on_disconnecting"),
    *("is_recoverable", "refusals", "unknown"),
)


class DeclaredEvent(NamedTuple):
    """An event that a namespace emits: the types of its arguments by name, and the ack's type, None without an ack."""

    arguments: dict[str, Any]
    answer: Any
    description: str


class NamespaceCore:
    """The implementation of a `Namespace`, for this package and for `internals`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sockets: dict[str, Socket] = {}
        self.spawn: Spawn = _not_bound
        self.arrivals = TurnBudget()  # that of the server, once the namespace is a part of it
        self.server_side = ServerSide(self._spawn_later)
        self.adapter: Adapter = _NO_ADAPTER
        self.deciding = 0  # clients with an undecided CONNECT
        self.is_recoverable = True  # on a server with recovery
        self.recovery: NamespaceRecovery | None = None
        self.refused = 0  # number of refused events
        self.most_running = MOST_RUNNING
        self.unknown: Unknown = "refuse"
        self.refusals: Refusals = "event"
        self.routes = Routes()
        self._written = self.routes.written
        self.before_data: Callable[[Socket, str, bytes, tuple[bytes, ...]], None] | None = None
        self.before_ack: Callable[[Socket, int], None] | None = None
        self.middleware: list[ConnectCheck] = []
        self.on_connect: ConnectCheck | None = None
        self.on_disconnecting: Callable[[Socket, str], object] | None = None
        self.on_disconnect: DisconnectHandler | None = None
        self.emits: dict[str, DeclaredEvent] = {}
        self.outgoing: list[Callable[..., object]] = []  # watchers of each emit

    @property
    def is_bound(self) -> bool:
        """Whether the namespace is part of a server."""
        return self.adapter is not _NO_ADAPTER

    @property
    def is_empty(self) -> bool:
        """Whether the namespace has no connected or connecting sockets."""
        return not self.sockets and not self.deciding

    def bind(
        self,
        flusher: Flusher,
        arrivals: TurnBudget,
        spawn: Spawn,
        adapter: AdapterFactory | None,
        store: RecoveryStore | None,
        replay: int,
    ) -> None:
        """Add the namespace to a server; `store` is for recovery, with at most `replay` bytes for one client."""
        local = LocalAdapter(flusher, self.sockets, self.server_side)
        self.adapter = local if adapter is None else adapter(self.name, local)
        self.spawn, self.arrivals = spawn, arrivals
        if store is not None and self.is_recoverable:
            self.recovery = NamespaceRecovery(self, store, replay)

    def unbind(self) -> None:
        """Remove the empty namespace from its server, with everything kept for recovery."""
        self.adapter.close()
        if self.recovery is not None:
            self.recovery.forget()

    def child(self, name: str) -> "NamespaceCore":
        """Return a new namespace with the current handlers of this one."""
        child = NamespaceCore(name)
        child.routes.copy(self.routes)
        child.server_side.copy(self.server_side)
        child.middleware, child.outgoing = list(self.middleware), list(self.outgoing)
        for name in _COPIED:
            setattr(child, name, getattr(self, name))
        return child

    def decide(self, socket: Socket, auth: dict[str, Any]) -> Awaitable[object] | None:
        """Call the middleware and the handler of CONNECT.

        They raise, immediately or when awaited, to refuse the socket.
        """
        checks = self.middleware if self.on_connect is None else [*self.middleware, self._greet]
        return _decide(socket, auth, checks)

    def _greet(self, socket: Socket, auth: dict[str, Any]) -> object:
        """Call the handler of CONNECT, unless the client has left: `on_disconnect` follows what it admits."""
        if self.on_connect is None or not socket._is_connecting:
            return None
        socket._is_greeted = True
        return self.on_connect(socket, auth)

    def decide_return(
        self, socket: Socket, auth: dict[str, Any], recovery: NamespaceRecovery, brought: Return
    ) -> Awaitable[object]:
        """Call the middleware; then, when awaited, restore the socket's session, and call the handler of CONNECT.

        Raises what they raise.
        """
        return self._restore(socket, _decide(socket, auth, self.middleware), recovery, brought)

    async def _restore(
        self, socket: Socket, decision: Awaitable[object] | None, recovery: NamespaceRecovery, brought: Return
    ) -> None:
        if decision is not None:
            await decision
        if socket._is_connecting:
            await recovery.resume(socket, brought)
        if socket._is_connecting and self.on_connect is not None:
            if socket._recovery is not None:
                later = self._greet_returned(socket)  # this is its turn
            else:  # very many may come with an unknown pid
                greet = partial(self._greet_returned, socket)
                later = await self.arrivals.complete(greet, source=socket._session.source)
            if later is not None:
                await later
            socket._is_admitted = True
        if socket._is_connecting:
            await recovery.read(socket, is_last=True)  # again: the handler may have left rooms

    def _greet_returned(self, socket: Socket) -> Awaitable[object] | None:
        return _decide(socket, socket.auth, [self._greet])

    def check_running(self, socket: Socket, size: int = 0) -> None:
        """Check that the handlers of one more event of a client, with `size` bytes, may run.

        Raises `EventRefused`.
        """
        if socket._running >= self.most_running:
            raise EventRefused(f"Too many events at a time: {self.most_running} are being handled")
        if socket._running and socket._running_size + size > MAX_RUNNING_SIZE:
            raise EventRefused(f"Too much at a time: {MAX_RUNNING_SIZE} bytes of events may be handled")

    def _spawn_later(self, coroutine: Coroutine[Any, Any, None], *, lasting: bool = False) -> object:
        return self.spawn(coroutine, lasting=lasting)

    def emitted(self, event: str, args: tuple[object, ...]) -> None:
        """Call the watchers of outgoing events."""
        for watcher in self.outgoing:
            watcher(event, *args)

    def send_to(self, id: str, event: str, args: tuple[object, ...]) -> None:
        """Send an event to the socket with this id, wherever it is connected."""
        if self.outgoing:
            self.emitted(event, args)
        if self.recovery is None:
            self.adapter.broadcast(packets.event(self.name, event, args), (id,), ())
        else:
            self.recovery.publish(packets.draft(event, args), (id,))

    def receive(self, socket: Socket, number: int | None, data: bytes, attachments: tuple[bytes, ...]) -> None:
        """Handle an event: its JSON array, and the id of the requested ack, if any.

        Raises `ProtocolError` if the array is not an event.
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
                if self.unknown == "ignore":
                    return
                raise EventRefused(f"Unknown event: {name[:_NAME_SHOWN]}")
            result = route(socket, data, attachments)
        except ProtocolError:
            raise
        except FAILURES as error:
            self._failed(socket, name, number, error)
            return
        if result is not None and isawaitable(result):
            self._finish(socket, name, number, result, len(data) + sum(map(len, attachments)))
        elif number is not None:
            self._acknowledge(socket, name, number, result)

    def receive_ack(self, socket: Socket, number: int, data: bytes, attachments: tuple[bytes, ...]) -> bool:
        """Handle an ack; return whether it was pending and valid. Raises `ProtocolError` for a broken one."""
        try:
            if self.before_ack is not None:
                self.before_ack(socket, len(data) + sum(map(len, attachments)))
            if not socket._owes(number):
                return False  # before decoding: building its objects would cost far more than counting it
            return socket._receive_ack(number, decode_arguments(data, attachments))
        except EventRefused as refusal:
            self.refused += 1
            socket.emit("error", {"message": f"ack: {refusal}", "event": "ack", **refusal.details})
        except InvalidPayload as error:
            socket.emit("error", {"message": f"ack: {error}", "event": "ack"})
        return False

    def disconnecting(self, socket: Socket, reason: Reason) -> None:
        """Call the handler before a socket leaves its rooms."""
        if self.on_disconnecting is not None:
            try:
                self.on_disconnecting(socket, reason.value)
            except FAILURES as error:
                handler_failed("disconnecting", socket, error)

    def disconnected(self, socket: Socket, reason: Reason) -> None:
        """Call the handler after a socket has left."""
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
        """Return an event's name, and its route, if any. Events that `before_data` does not see are counted here."""
        try:
            name = event_name(data)
        except InvalidPayload:
            socket._session.count_overhead(len(data))
            raise
        route = self.routes.by_name.get(name, self.routes.other)
        if route is None and self.before_data is None:
            socket._session.count_overhead(len(data))
        return name, route

    def _finish(self, socket: Socket, name: str, number: int | None, result: Awaitable[object], size: int) -> None:
        try:
            self.check_running(socket, size)
        except EventRefused as refusal:
            close = getattr(result, "close", None)
            if close is not None:
                close()
            self._failed(socket, name, number, refusal)
        else:
            socket._running += 1
            socket._running_size += size
            self.spawn(self._finish_later(socket, name, number, result, size))

    async def _finish_later(
        self, socket: Socket, name: str, number: int | None, result: Awaitable[object], size: int
    ) -> None:
        try:
            value = await outcome(result)
        except Exception as error:
            self._failed(socket, name, number, error)
            return
        finally:
            socket._running -= 1
            socket._running_size -= size
        if number is not None:
            self._acknowledge(socket, name, number, value)

    def _acknowledge(self, socket: Socket, name: str, number: int, value: object) -> None:
        if value is NO_ACK:
            return
        args = () if value is None else value if isinstance(value, tuple) else (value,)
        try:
            socket._put(packets.ack(self.name, number, args))
        except Exception as error:
            self._failed(socket, name, number, error)

    def _failed(self, socket: Socket, name: str, number: int | None, error: BaseException) -> None:
        try:
            if isinstance(error, EventRefused):
                self.refused += 1
                self._answer(socket, name, number, str(error), error.details)
                return
            if isinstance(error, InvalidPayload):
                self.refused += 1
                self._answer(socket, name, number, str(error))
                return
        except Exception as unwritable:  # details that JSON cannot hold
            error = unwritable
        handler_failed(name, socket, error)
        self._answer(socket, name, number, INTERNAL)

    def _answer(
        self,
        socket: Socket,
        name: str,
        number: int | None,
        message: str,
        details: Mapping[str, object] = _NO_DETAILS,
    ) -> None:
        refusal = {"message": message, "event": name[:_NAME_SHOWN], **details}
        if number is not None and self.refusals == "ack":
            socket._put(packets.ack(self.name, number, ({"error": refusal},)))
        else:
            socket._put(packets.event(self.name, "error", (refusal,)))


def handler_failed(event: str, socket: Socket, error: BaseException) -> None:
    """Log the failure of an application's handler."""
    log.error("handler_failed", eventName=event, socketId=socket.id, **other_refusal(event, error), **fault(error))


def _decide(socket: Socket, auth: dict[str, Any], checks: Sequence[ConnectCheck]) -> Awaitable[object] | None:
    for position, check in enumerate(checks, 1):
        result = check(socket, auth)
        if result is not None and isawaitable(result):
            return _decide_later(socket, result, checks[position:])
        check_admitted(result)
    return None


async def _decide_later(socket: Socket, decision: Awaitable[object], checks: Sequence[ConnectCheck]) -> None:
    """Await a check of CONNECT, then call the next checks. The payload is decoded again, not kept as objects."""
    check_admitted(await decision)
    for check in checks:
        result = check(socket, socket.auth)
        check_admitted(await result if isawaitable(result) else result)
