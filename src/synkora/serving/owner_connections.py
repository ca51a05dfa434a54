"""Connections to instances that own sessions: HTTP/1.1 as a client, with backpressure in both directions."""

import asyncio
import functools
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import httptools

from synkora.engine.transports.websocket import limit_unsent
from synkora.serving.owners import Owner

CONNECT_TIME: Final = 3  # seconds, with TLS
#: Bytes that a forwarded request or response may have in this process, in each direction, besides one read.
MAX_BUFFER: Final = 65_536
#: Kernel's receive buffer. Otherwise megabytes would wait here for a slow client that its owner takes for a fast one.
_RECEIVE_BUFFER: Final = 65_536
MAX_IDLE: Final = 32  # open connections without a request, for each owner
MAX_HEAD: Final = 65_536  # bytes of a response's head

_Protocol = asyncio.BaseProtocol


class OwnerLost(ConnectionError):
    """An owner cannot be reached, or has ended the connection."""


async def dial(owner: Owner, protocol: _Protocol) -> asyncio.Transport:
    """Connect to an owner. Raises `OwnerLost`."""
    loop = asyncio.get_running_loop()
    sock: socket.socket | None = None
    try:
        url = urlsplit(owner.url)
        async with asyncio.timeout(CONNECT_TIME):
            found = await loop.getaddrinfo(url.hostname, url.port, type=socket.SOCK_STREAM)
            family, kind, _, _, address = found[0]
            sock = socket.socket(family, kind)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await loop.sock_connect(sock, address)
            tls = _tls(has_known_certificate=bool(owner.certificate)) if url.scheme == "https" else None
            transport, _ = await loop.create_connection(
                lambda: protocol, sock=sock, ssl=tls, server_hostname=url.hostname if tls else None
            )
    except (OSError, TimeoutError, ValueError) as error:  # ValueError: the address cannot be one
        if sock is not None:
            sock.close()
        raise OwnerLost(f"{owner.url} cannot be reached: {str(error) or type(error).__name__}") from None
    if tls is not None and owner.certificate:
        _check_certificate(owner, transport)
    limit_unsent(transport)
    transport.set_write_buffer_limits(high=MAX_BUFFER)
    return transport


async def dial_worker(connection: socket.socket, protocol: _Protocol) -> asyncio.Transport:
    """Use one end of a socket pair, whose other end a worker of this machine has got. Raises `OwnerLost`."""
    try:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: protocol, sock=connection)
    except OSError as error:
        connection.close()
        raise OwnerLost(str(error)) from None
    transport.set_write_buffer_limits(high=MAX_BUFFER)
    return transport


@functools.cache  # reading the system's certificates takes some 25 ms
def _tls(*, has_known_certificate: bool) -> ssl.SSLContext:
    if not has_known_certificate:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the certificate is made out to the name that clients know, and is compared below
    context.verify_mode = ssl.CERT_NONE
    return context


def _check_certificate(owner: Owner, transport: asyncio.Transport) -> None:
    shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    if hashlib.sha256(shown).hexdigest() != owner.certificate:
        transport.abort()
        raise OwnerLost(f"{owner.url} has another certificate than it has announced")


class OwnerConnection(asyncio.Protocol):
    """A connection to an owner that carries one request after another.

    `head` becomes the status and the headers of the response, or raises `OwnerLost`. `body` yields the body's parts.
    """

    def __init__(self) -> None:
        self.head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]]
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._parts: list[bytes] = []
        self._buffered = 0
        self._changed = asyncio.Event()
        self._is_complete = True
        self._stays_open = False  # after the response
        self._is_lost = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.on_idle_end: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what the loop passes
        self._transport = transport

    def begin(self, head: bytes) -> None:
        """Send the head of a request."""
        self.head = asyncio.get_running_loop().create_future()
        self._headers, self._head_size, self._is_complete, self._stays_open = [], 0, False, False
        if self._is_lost:
            self._fail()
        else:
            self._transport.write(head)

    async def write(self, data: bytes) -> None:
        """Send a part of the request's body, and wait while the owner reads too slowly."""
        if not self._is_lost:
            self._transport.write(data)
        await self._writable.wait()

    async def body(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield parts of the response's body, and whether each is the last. Raises `OwnerLost` without a last one."""
        while True:
            if self._is_complete:
                yield b"".join(self._take()), True
                return
            for part in self._take():
                yield part, False
            if self._is_lost:
                raise OwnerLost("the owner has ended the connection within a response")
            if not self._parts and not self._is_complete:
                self._changed.clear()
                await self._changed.wait()

    def _take(self) -> list[bytes]:
        parts, self._parts = self._parts, []
        if self._buffered >= MAX_BUFFER and not self._is_lost:
            self._transport.resume_reading()
        self._buffered = 0
        return parts

    def abort(self) -> None:
        """End the connection; the owner notices that the client has left."""
        self._transport.abort()

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._is_lost or self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether the connection can carry another request: its response is complete, and has been read."""
        return self._is_complete and self._stays_open and not self._parts and not self.is_lost

    # Called by the event loop

    def data_received(self, data: bytes) -> None:
        try:
            if self._is_complete:  # nothing may come before a request
                raise httptools.HttpParserError
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._writable.set()
        self._fail()
        self._changed.set()
        if self.on_idle_end is not None:
            self.on_idle_end()

    def _fail(self) -> None:
        if hasattr(self, "head") and not self.head.done():
            self.head.set_exception(OwnerLost("the owner has ended the connection"))
            self.head.exception()  # retrieved: without a waiting request, asyncio would log it

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a header of the response."""
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            raise OwnerLost("the head of the owner's response is too large")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Handle the end of the response's head. 100 Continue is not one."""
        status = self._parser.get_status_code()
        if status >= 200 and not self.head.done():
            self.head.set_result((status, self._headers))
        else:
            self._headers, self._head_size = [], 0

    def on_body(self, body: bytes) -> None:
        """Handle a part of the response's body."""
        self._parts.append(body)
        self._buffered += len(body)
        if self._buffered >= MAX_BUFFER:
            self._transport.pause_reading()
        self._changed.set()

    def on_message_complete(self) -> None:
        """Handle the end of a response."""
        if not self.head.done():
            return  # of 100 Continue
        self._is_complete = True
        self._stays_open = self._parser.should_keep_alive()
        self._changed.set()


class OwnerConnections:
    """Open connections to owners, by tag. A connection without a request is closed after `idle` seconds."""

    def __init__(self, idle: float) -> None:
        self._idle_time = idle
        self._idle: dict[str, list[OwnerConnection]] = {}
        self._timers: dict[OwnerConnection, asyncio.TimerHandle] = {}

    def take(self, tag: str) -> OwnerConnection | None:
        """Return an idle connection; None if there is none."""
        idle = self._idle.get(tag)
        while idle:
            connection = idle[-1]
            self._drop(tag, connection)
            if not connection.is_lost:
                return connection
        return None

    def give_back(self, tag: str, connection: OwnerConnection) -> None:
        """Keep a connection for the next request, or close it."""
        if not connection.is_reusable or len(self._idle.get(tag, ())) >= MAX_IDLE:
            connection.abort()
            return
        self._idle.setdefault(tag, []).append(connection)
        connection.on_idle_end = lambda: self._drop(tag, connection)
        self._timers[connection] = asyncio.get_running_loop().call_later(self._idle_time, connection.abort)

    def forget(self, tag: str) -> None:
        """Close the idle connections to an owner."""
        for connection in list(self._idle.get(tag, ())):
            connection.abort()

    def close(self) -> None:
        """Close all idle connections."""
        for tag in list(self._idle):
            self.forget(tag)

    def _drop(self, tag: str, connection: OwnerConnection) -> None:
        connection.on_idle_end = None
        self._timers.pop(connection).cancel()
        idle = self._idle[tag]
        with suppress(ValueError):
            idle.remove(connection)
        if not idle:
            del self._idle[tag]
