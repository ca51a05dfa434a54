"""A WebSocket whose session another instance owns: bytes pass both ways, with backpressure and without parsing."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from synkora.serving.forwarding import HOP_BY_HOP, MISDIRECTED, Forwarder, request_head, without
from synkora.serving.owner_connections import MAX_BUFFER, OwnerLost
from synkora.serving.owners import Owner

_ANSWER_TIME: Final = 10  # seconds for the owner's answer to the handshake
_LAST_BYTES_TIME: Final = 2  # seconds for the last bytes to a client whose connection ends
_REFUSED: Final = b"HTTP/1.1 %d " % MISDIRECTED
_UPGRADE: Final = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))
#: For every connection: what is read is passed on before the next read.
_READ: Final = memoryview(bytearray(65_536))


class ForwardedWebSocket(asyncio.BufferedProtocol):
    """The client's side, as uvicorn's WebSocket protocol. `local` makes the protocol that answers without the owner."""

    def __init__(
        self,
        forwarder: Forwarder,
        owner: Owner,
        signature: tuple[bytes, bytes],
        local: Callable[..., Any],
        *,
        server_state: Any,
        **given: Any,
    ) -> None:
        self.counts = forwarder.counts
        self._forwarder = forwarder
        self._owner = owner
        self._signature = signature
        self._local = partial(local, server_state=server_state, **given)
        self._connections: set[Any] = server_state.connections
        self._pending = ExitStack()
        self._request = b""
        self._early = b""  # bytes of the client before the owner is connected
        self._other: _OwnerSide | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what uvicorn passes
        """Take over a connection from uvicorn's HTTP protocol."""
        self._client = transport
        self._connections.add(self)
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Handle the request that uvicorn has read, once."""
        self._request = data
        target = data.split(b" ", 2)[1]
        pending = self._forwarder.pending(self._owner.tag, self._hang_up, target, is_websocket=True)
        self._pending.enter_context(pending)
        self.counts.total["websocket"] += 1
        self._forwarder.tasks.start(self._open())

    async def _open(self) -> None:
        other = _OwnerSide(self, self._client)
        try:
            transport = await self._forwarder.connect(self._owner, other)
        except OwnerLost as error:
            self._forwarder.note_lost("websocket", error)
            self.answer_locally()
            return
        if self._is_lost:
            transport.abort()
            return
        self._other = other
        self._client.set_write_buffer_limits(high=MAX_BUFFER)
        self._waiting = asyncio.get_running_loop().call_later(_ANSWER_TIME, self._hang_up)
        self._client.resume_reading()  # before the write, which may pause it
        transport.write(self._head() + self._early)
        self._early = b""

    def _head(self) -> bytes:
        first, *lines = self._request.rstrip(b"\r\n").split(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        name = self._signature[0]
        headers = [(key, value) for key, _, value in (line.partition(b": ") for line in lines)]
        return request_head(method, target, [*without(headers, HOP_BY_HOP | {name}), *_UPGRADE, self._signature])

    def answered(self, data: bytes) -> bool:
        """Handle the first bytes of the owner's answer; return whether the owner accepts the request."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if data.startswith(_REFUSED):
            self._forwarder.note_refused("websocket")
            self.answer_locally()
            return False
        return True

    def answer_locally(self) -> None:
        """Let this instance answer, which does not know the session."""
        if self._is_lost:
            return
        self._leave()
        protocol = self._local()
        protocol.connection_made(self._client)
        protocol.data_received(self._request)
        self._client.set_protocol(protocol)  # which reads on after its answer

    # From the client to the owner

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read."""
        return _READ

    def buffer_updated(self, nbytes: int) -> None:
        """Pass received bytes on."""
        self.continue_with(bytes(_READ[:nbytes]))

    def continue_with(self, data: bytes) -> None:
        """Pass on what uvicorn has read with the request, or what was read later."""
        self.counts.bytes += len(data)
        if self._other is None:
            self._early += data
        else:
            self._other.transport.write(data)

    def pause_writing(self) -> None:
        """The client reads slowly: stop reading from the owner, which then notices."""
        if self._other is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._other is not None:
            self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection to the owner."""
        self._is_lost = True
        self._leave()

    def _leave(self) -> None:
        self._connections.discard(self)
        self._pending.close()
        if self._waiting is not None:
            self._waiting.cancel()
        other, self._other = self._other, None
        if other is not None:
            other.transport.close()

    # The end

    def owner_left(self) -> None:
        """End the client's connection, after the last bytes."""
        if not self._is_lost:
            self._client.close()
            asyncio.get_running_loop().call_later(_LAST_BYTES_TIME, self._client.abort)

    def _hang_up(self) -> None:
        self._client.abort()

    def shutdown(self) -> None:
        """End the connection: this instance stops. (uvicorn calls it)."""
        self._client.close()


class _OwnerSide(asyncio.BufferedProtocol):
    """The connection to the owner."""

    def __init__(self, forwarded: ForwardedWebSocket, client: asyncio.Transport) -> None:
        self.transport: asyncio.Transport
        self._forwarded = forwarded
        self._counts = forwarded.counts
        self._client = client
        self._is_answered = False
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what the loop passes
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_READ[:nbytes])
        if not self._is_answered:
            self._is_answered = True
            self._is_refused = not self._forwarded.answered(data)
        if not self._is_refused:
            self._counts.bytes += nbytes
            self._client.write(data)

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_refused:
            return
        if not self._is_answered:
            self._is_refused = True
            self._forwarded.answer_locally()
        else:
            self._forwarded.owner_left()
