"""An in-memory client for tests of applications: real packets and handlers, and no network.

```py
async with connect(server, auth={"name": "Ada"}) as ada:
    assert await ada.call("say", "Hello!") == "delivered"
```
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final
from urllib.parse import urlencode

from synkora.engine.close_reasons import Reason
from synkora.engine.handshake import HandshakeRefused, check
from synkora.engine.message import Message
from synkora.engine.request import Headers, Request
from synkora.engine.settings import TransportName
from synkora.protocol import json
from synkora.protocol.socketio import MAX_ATTACHMENTS, Assembler, Packet, PacketType, decode_arguments
from synkora.sockets import packets
from synkora.sockets.internals import registry_of
from synkora.sockets.server import SocketServer

__all__ = ["Client", "ClientClosed", "ConnectError", "connect"]

TIMEOUT: Final = 5  # seconds
_ANYTHING: Final[json.Decoder[Any]] = json.Decoder(Any)


class ConnectError(Exception):
    """The server has refused the client; `data` is the data of `ConnectRefused`."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.data = data


class ClientClosed(Exception):
    """The client has left its namespace, so no more events arrive; `reason` is Socket.IO's disconnect reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Client:
    """A client in one namespace; made by `connect`.

    `id` is its socket's id. `answers` maps event names to functions: each is called with the arguments of the server's
    event, and returns the ack.
    """

    def __init__(self, server: SocketServer, namespace: str, request: Request) -> None:
        self.id = ""
        self.namespace = namespace
        self.answers: dict[str, Callable[..., object]] = {}
        self.closed_by: str | None = None
        self._events: asyncio.Queue[list[Any] | None] = asyncio.Queue()
        self._acks: dict[int, asyncio.Future[list[Any]]] = {}
        self._connected: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._assembler = Assembler(MAX_ATTACHMENTS, 1 << 30)
        self._transport = _MemoryTransport(self)
        self._session = registry_of(server).open(request, self._transport)

    @property
    def connected(self) -> bool:
        """Whether the client is connected to its namespace."""
        return bool(self.id) and self.closed_by is None

    def emit(self, event: str, *args: object) -> None:
        """Send an event. Raises `ClientClosed` if the client has left its namespace."""
        self._send(packets.event(self.namespace, event, args))

    async def call(self, event: str, *args: object, timeout: float = TIMEOUT) -> Any:
        """Send an event; return the first argument of its ack, or None.

        Raises `TimeoutError` without an ack within `timeout` seconds, for example if the event is refused.
        """
        number = len(self._acks)
        self._acks[number] = asyncio.get_running_loop().create_future()
        self._send(packets.asking_for_ack(packets.event(self.namespace, event, args), number))
        try:
            async with asyncio.timeout(timeout):
                answer = await self._acks[number]
        except TimeoutError:
            events = self.received()
            for received in events:
                self._events.put_nowait(received)
            raise TimeoutError(f"no ack for {event!r} within {timeout:g} s; events meanwhile: {events}") from None
        return answer[0] if answer else None

    async def receive(self, event: str | None = None, *, timeout: float = TIMEOUT) -> list[Any]:
        """Return the next event as a list of name and arguments; with `event`, drop events of other names.

        Raises `TimeoutError` without one within `timeout` seconds, `ClientClosed` if the client has left.
        """
        others: list[list[Any]] = []
        try:
            async with asyncio.timeout(timeout):
                while (received := await self._events.get()) is not None:
                    if event is None or received[0] == event:
                        return received
                    others.append(received)
        except TimeoutError:
            what = "event" if event is None else repr(event)
            raise TimeoutError(f"no {what} within {timeout:g} s; other events: {others}") from None
        self._events.put_nowait(None)
        raise ClientClosed(self.closed_by or "")

    def received(self) -> list[list[Any]]:
        """Return all events that have arrived and were not received yet."""
        events = []
        while not self._events.empty():
            events.append(self._events.get_nowait())
        return [event for event in events if event is not None]

    async def disconnect(self) -> None:
        """Disconnect. When this returns, the server's disconnect handlers have been called, or have started.

        The handlers get the reason `client namespace disconnect`, as from a real client. The server gets the events
        that were emitted before.
        """
        if self.closed_by is None:
            if self.id:
                self._deliver("41" if self.namespace == "/" else f"41{self.namespace},")
            self._end("io client disconnect")
            loop = asyncio.get_running_loop()
            loop.call_soon(self._session.transport_closed, self._transport, Reason.TRANSPORT_CLOSE)
        await asyncio.sleep(0)  # the server gets what was sent
        await asyncio.sleep(0)  # asynchronous handlers begin

    def _send(self, message: Message) -> None:
        if self.closed_by is not None:
            raise ClientClosed(self.closed_by)
        for part in message.messages():
            self._deliver(part)

    def _deliver(self, part: str | bytes) -> None:
        """Pass a message to the server in its own turn of the event loop, like a network."""
        loop = asyncio.get_running_loop()
        if isinstance(part, str):
            loop.call_soon(self._session.receive_text, self._transport, part.encode())
        else:
            loop.call_soon(self._session.receive_binary, self._transport, part)

    async def _connect(self, auth: Mapping[str, Any] | None, timeout: float) -> None:
        head = "40" if self.namespace == "/" else f"40{self.namespace},"
        self._deliver(head if auth is None else head + json.encode(dict(auth)).decode())
        async with asyncio.timeout(timeout):
            self.id = await self._connected

    def _take(self, part: str | bytes) -> None:
        """Handle a message of the server."""
        if isinstance(part, bytes):
            packet = self._assembler.add_binary(part)
        elif part.startswith("4"):
            packet = self._assembler.add_text(part[1:].encode())
        else:
            packet = None
            if part == "2":
                self._deliver("3")
        if packet is not None:
            self._handle(packet)

    def _handle(self, packet: Packet) -> None:
        match packet.type:
            case PacketType.CONNECT:
                self._connected.set_result(_ANYTHING.decode(packet.data)["sid"])
            case PacketType.CONNECT_ERROR:
                refusal = _ANYTHING.decode(packet.data)
                self._connected.set_exception(ConnectError(refusal["message"], refusal.get("data")))
            case PacketType.EVENT | PacketType.BINARY_EVENT:
                event = decode_arguments(packet.data, packet.attachments)
                self._events.put_nowait(event)
                if packet.id is not None and event[0] in self.answers and self.closed_by is None:
                    answer = self.answers[event[0]](*event[1:])
                    args = () if answer is None else answer if isinstance(answer, tuple) else (answer,)
                    self._send(packets.ack(self.namespace, packet.id, args))
            case PacketType.ACK | PacketType.BINARY_ACK:
                waiting = None if packet.id is None else self._acks.get(packet.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(decode_arguments(packet.data, packet.attachments))
            case PacketType.DISCONNECT:
                self._end(Reason.SERVER_NAMESPACE_DISCONNECT.value)

    def _end(self, reason: str) -> None:
        if self.closed_by is None:
            self.closed_by = reason
            self._events.put_nowait(None)
            if not self._connected.done():
                self._connected.set_exception(ClientClosed(reason))


class _MemoryTransport:
    """Carries messages to a client; never slow, and never broken."""

    name: TransportName = "websocket"
    writable = True
    close_packet = None

    def __init__(self, client: Client) -> None:
        self._client = client

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            for part in message.messages():
                self._client._take(part)  # noqa: SLF001  # the two classes belong together

    def seconds_since_progress(self) -> float:
        return inf

    def drain(self, reason: Reason) -> bool:
        return False

    def close(self, reason: Reason, error: Exception | None) -> bool:
        self._client._end(reason.value)  # noqa: SLF001  # as above
        return True

    @property
    def has_unread(self) -> bool:
        return False

    def limit_unread(self, *, ended: bool) -> None: ...

    def discard(self) -> None:
        self._client._end(Reason.TRANSPORT_CLOSE.value)  # noqa: SLF001  # as above


async def _shake_hands(server: SocketServer, request: Request, *, is_websocket: bool) -> None:
    """Check that the server accepts the request. Raises `ConnectError`."""
    registry = registry_of(server)
    try:
        check(request, server.settings, registry.page_of, websocket=is_websocket)
        if registry.ask is not None:
            await registry.ask(request)
        registry.admit(request)
    except HandshakeRefused as refused:
        raise ConnectError(str(refused)) from None


@asynccontextmanager
async def connect(
    server: SocketServer,
    namespace: str = "/",
    *,
    auth: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    address: str = "127.0.0.1",
    secure: bool = False,
    timeout: float = TIMEOUT,
) -> AsyncIterator[Client]:
    """A client of `server` in a namespace, for the length of an `async with` block.

    `auth` is the payload of CONNECT. `headers`, `query`, `address` and `secure` are those of the handshake, which the
    server checks as it checks a real one: by `origins`, `allow_request` and `connection_limiter`. Raises `ConnectError`
    if the handshake or CONNECT is refused, and `TimeoutError` without an answer within `timeout` seconds.
    """
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    transport = "websocket" if "websocket" in server.settings.transports else "polling"
    parameters = urlencode({"EIO": "4", "transport": transport, **(query or {})})
    request = Request("GET", server.settings.path, parameters, Headers(pairs), address, secure)
    await _shake_hands(server, request, is_websocket=transport == "websocket")
    client = Client(server, namespace, request)
    try:
        await client._connect(auth, timeout)  # noqa: SLF001  # the two classes belong together
        yield client
    finally:
        await client.disconnect()
