"""Forwards HTTP requests and WebSocket handshakes to the instance that owns their session."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, Protocol

from synkora.engine.logs import Log
from synkora.engine.tasks import Tasks
from synkora.engine.transports.websocket_heads import Peer
from synkora.protocol.headers import tokens
from synkora.serving.forward_signature import HEADER, sign
from synkora.serving.hand_over import WorkerSockets
from synkora.serving.owner_connections import OwnerConnection, OwnerConnections, OwnerLost, dial, dial_worker
from synkora.serving.owners import Owner, Owners

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The answer to a forwarded request that an instance does not accept (RFC 9110 section 15.5.20).
MISDIRECTED: Final = 421
#: Of one connection only (RFC 9110 section 7.6.1), or written again for the next connection.
HOP_BY_HOP: Final = frozenset(
    (b"connection", b"expect", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_OF_THIS_SERVER: Final = frozenset((b"date", b"server", b"x-request-id"))
#: The method by which an instance asks an owner to end a pending poll or a WebSocket. Clients' requests with it are not
#: forwarded.
END: Final = b"DELETE"

log = Log(__name__)


class Client(Protocol):
    """The connection that a request has come over."""

    @property
    def has_left(self) -> bool:
        """Whether the connection has ended."""
        ...

    def on_leave(self, leave: Callable[[], None] | None) -> None:
        """Call `leave` when the connection ends, until this is called again."""
        ...

    def hang_up(self) -> None:
        """End the connection."""
        ...


class Pending(NamedTuple):
    """A pending request to the owner `tag`. `end` cuts it off. The owner can end it by its `target`, unless a post."""

    tag: str
    end: Callable[[], None]
    target: bytes | None
    is_websocket: bool


#: How a request reaches the owner of its session. A connection that another worker gets costs nothing more.
WAYS: Final = ("handed over", "polling", "websocket")


class ForwardCounts:
    """Counts of forwarded requests. `now` are the pending ones, of which `websockets` are WebSockets."""

    def __init__(self) -> None:
        self.now = 0
        self.websockets = 0
        self.total: Counter[str] = Counter()  # by way
        self.lost: Counter[str] = Counter()  # by way: the owner was not reached, ended the connection, or refused
        self.bytes = 0  # both directions: of WebSockets as on the line, of polls and posts the bodies


class Forwarder:
    """Forwards requests to the `owners` of sessions, at most `most` at a time, 0 meaning any number.

    Each forwarded request has buffers of at most `MAX_BUFFER` bytes and one read in each direction. `idle` is the time
    in seconds for which a connection to an owner is kept for the next request.
    """

    def __init__(self, owners: Owners, workers: WorkerSockets | None, *, most: int, idle: float) -> None:
        self.counts = ForwardCounts()
        self.tasks = Tasks()
        self._owners = owners
        self._workers = workers
        self._most = most
        self._connections = OwnerConnections(idle)
        self._pending: dict[str, set[Pending]] = {}  # by tag
        self._connecting = 0  # polls and posts without a connection yet; they are not pending
        self._is_closed = False
        owners.on_gone.append(self._end)

    @property
    def is_full(self) -> bool:
        """Whether no further request can be forwarded."""
        return self._is_closed or bool(self._most and self.counts.now + self._connecting >= self._most)

    async def connect(self, owner: Owner, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Open a connection to an owner. Raises `OwnerLost`."""
        if self._workers is not None and self._workers.has(owner.tag):
            try:
                mine, theirs = socket.socketpair()
            except OSError as error:  # no file descriptor is left
                raise OwnerLost(str(error)) from None
            mine.setblocking(False)
            with theirs:
                if self._workers.pass_on(owner.tag, theirs.fileno(), b""):
                    return await dial_worker(mine, protocol)
            mine.close()
        if not owner.url:
            raise OwnerLost("the worker has ended")
        return await dial(owner, protocol)

    @contextlib.contextmanager
    def pending(
        self, tag: str, end: Callable[[], None], target: bytes | None = None, *, is_websocket: bool = False
    ) -> Iterator[None]:
        """Count a request within the block; `end` is called if its owner ends, or this instance.

        A stopping instance asks the owner to end a request with a `target`: see `forward_drain`.
        """
        request = Pending(tag, end, target, is_websocket)
        self.counts.now += 1
        self.counts.websockets += is_websocket
        pending = self._pending.setdefault(tag, set())
        pending.add(request)
        try:
            yield
        finally:
            self.counts.now -= 1
            self.counts.websockets -= is_websocket
            pending.discard(request)
            if not pending and self._pending.get(tag) is pending:
                del self._pending[tag]

    def waiting(self) -> list[Pending]:
        """Return the pending polls and WebSockets."""
        return [request for pending in self._pending.values() for request in pending if request.target is not None]

    async def ask_to_end(self, request: Pending) -> None:
        """Ask the owner of a poll or a WebSocket to end it, if it is still pending. Raises `OwnerLost`."""
        owner = self._owners.find(request.tag)
        if owner is None or request.target is None or request not in self._pending.get(request.tag, ()):
            return
        signature = (HEADER, sign(owner.key, END, request.target, Peer("", over_tls=False)))
        connection = self._connections.take(owner.tag)
        if connection is None:
            connection = OwnerConnection()
            await self.connect(owner, connection)
        try:
            connection.begin(request_head(END, request.target, [(b"host", b"owner"), signature]))
            await connection.head
            async for _ in connection.body():
                pass
        finally:
            self._connections.give_back(owner.tag, connection)

    def note_lost(self, way: str, error: OwnerLost) -> None:
        """Count and log an owner that cannot be reached."""
        self.counts.lost[way] += 1
        log.warning("owner_lost", problem=str(error))

    def note_refused(self, way: str) -> None:
        """Count and log an owner that does not accept this instance's requests."""
        self.counts.lost[way] += 1
        log.warning("owner_refuses", problem="it does not accept the signature of a forwarded request")

    def close(self) -> None:
        """End all pending requests; further ones are not forwarded."""
        self._is_closed = True
        self._owners.on_gone.remove(self._end)
        for tag in list(self._pending):
            self._end(tag)
        self._connections.close()
        self.tasks.cancel()

    def _end(self, tag: str) -> None:
        self._connections.forget(tag)
        for request in list(self._pending.get(tag, ())):
            request.end()

    # Requests without an upgrade

    def request_app(self, owner: Owner, signature: tuple[bytes, bytes], local: App, client: Client) -> App:
        """Return an ASGI application that forwards one request of `client`.

        `local` answers if the owner cannot be reached, or does not accept the request.
        """

        async def forward(scope: Scope, receive: Receive, send: Send) -> None:
            self.counts.total["polling"] += 1
            body = _Body(receive, scope)
            head = _head(scope, signature, body.framing)
            target = _target(scope) if scope["method"] == "GET" else None
            try:
                is_answered = await self._send_request(owner, target, head, body, send, client)
            except OwnerLost as error:
                if client.has_left:
                    await body.until_left()  # before the end, uvicorn would take it for a failure
                    return
                is_answered = False
                self.note_lost("polling", error)
            if not is_answered:
                await local(scope, receive, send)

        return forward

    async def _send_request(
        self, owner: Owner, target: bytes | None, head: bytes, body: "_Body", send: Send, client: Client
    ) -> bool:
        """Do `_exchange` over a kept connection or a new one. Raises `OwnerLost`."""
        kept = self._connections.take(owner.tag)
        if kept is not None:
            try:
                return await self._use(kept, owner, target, head, body, send, client)
            except OwnerLost:  # the owner has closed it at this moment
                if not body.is_unread or client.has_left:
                    raise
        connection = OwnerConnection()
        self._connecting += 1
        try:
            await self.connect(owner, connection)
        finally:
            self._connecting -= 1
        return await self._use(connection, owner, target, head, body, send, client)

    async def _use(
        self,
        connection: OwnerConnection,
        owner: Owner,
        target: bytes | None,
        head: bytes,
        body: "_Body",
        send: Send,
        client: Client,
    ) -> bool:
        if client.has_left:  # while this instance connected to the owner
            connection.abort()
            raise OwnerLost("the client has left")
        with self.pending(owner.tag, connection.abort, target):
            client.on_leave(connection.abort)
            try:
                return await self._exchange(connection, head, body, send, client)
            finally:
                client.on_leave(None)
                if not body.is_sent:  # the owner would read the next request as the rest of this one
                    connection.abort()
                self._connections.give_back(owner.tag, connection)

    async def _exchange(
        self, connection: OwnerConnection, head: bytes, body: "_Body", send: Send, client: Client
    ) -> bool:
        """Send a request and relay its response; return whether the owner accepts the request.

        A response that does not come to its end ends the client's connection. Raises `OwnerLost` before the response.
        """
        connection.begin(head)
        await body.send_until_answered(connection)
        self.counts.bytes += body.size
        status, headers = await connection.head
        if status == MISDIRECTED:
            self.note_refused("polling")
            return False
        kept = without(headers, HOP_BY_HOP | _OF_THIS_SERVER)
        await send({"type": "http.response.start", "status": status, "headers": kept})
        try:
            async for part, is_last in connection.body():
                self.counts.bytes += len(part)
                await send({"type": "http.response.body", "body": part, "more_body": not is_last})
        except OwnerLost:
            client.hang_up()
            await body.until_left()
        return True


class _Body:
    """A request's body, on its way from the client to the owner."""

    def __init__(self, receive: Receive, scope: Mapping[str, Any]) -> None:
        headers = dict(scope["headers"])
        self.is_unread = True
        self.size = 0  # of what has been sent
        self._receive = receive
        self._is_chunked = b"transfer-encoding" in headers
        self._more = scope["method"] != "GET" and (self._is_chunked or b"content-length" in headers)
        self.framing: list[tuple[bytes, bytes]] = []
        if self._more:
            self.framing.append(
                (b"transfer-encoding", b"chunked")
                if self._is_chunked
                else (b"content-length", headers[b"content-length"])
            )

    @property
    def is_sent(self) -> bool:
        """Whether all of the body has been sent."""
        return not self._more

    async def send_until_answered(self, connection: OwnerConnection) -> None:
        """Send the body until its end, or until the response begins or the owner is lost.

        The owner may refuse a request without its body. A client could send the rest for ever.
        """
        if self.is_sent or connection.head.done():
            return
        sending = asyncio.get_running_loop().create_task(self._send(connection))
        try:
            await asyncio.wait((sending, connection.head), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
        if sending.done():
            await sending

    async def _send(self, connection: OwnerConnection) -> None:
        while self._more:
            message = await self._receive()
            self.is_unread = False
            if message["type"] == "http.disconnect":
                connection.abort()  # the owner would wait for the rest
                break
            self._more = message.get("more_body", False)
            part: bytes = message.get("body", b"")
            self.size += len(part)
            if self._is_chunked:
                part = (b"%x\r\n%b\r\n" % (len(part), part) if part else b"") + (b"" if self._more else b"0\r\n\r\n")
            await connection.write(part)

    async def until_left(self) -> None:
        """Wait until the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _head(scope: Mapping[str, Any], signature: tuple[bytes, bytes], framing: Iterable[tuple[bytes, bytes]]) -> bytes:
    headers = without(scope["headers"], HOP_BY_HOP | {b"content-length", HEADER})
    return request_head(scope["method"].encode(), _target(scope), [*headers, *framing, signature])


def _target(scope: Mapping[str, Any]) -> bytes:
    return origin_form(scope["raw_path"], scope["query_string"])


def request_head(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(lines))


def origin_form(path: bytes, query: bytes) -> bytes:
    """Return the target of a request without scheme and host (RFC 9112 section 3.2.1)."""
    return path + (b"?" + query if query else b"")


def without(headers: Iterable[tuple[bytes, bytes]], names: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers besides those of one connection only."""
    headers = list(headers)
    left_out = tokens([value for name, value in headers if name == b"connection"]).union(names)
    return [header for header in headers if header[0] not in left_out]
