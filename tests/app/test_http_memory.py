"""The memory of an HTTP connection, and its release when the client has left."""

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from tests.support.certificates import make_certificate
from tests.support.servers import Address, serving, until
from tests.support.wire import upgrade
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from synkora import SocketServer
from synkora.serving.http_limits import HttpProtocol
from synkora.serving.tls import tls_context

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POLLING = "/socket.io/?EIO=4&transport=polling"
WHAT_IS_SENT = {
    "nothing": b"",
    "a request": REQUEST,
    "a request with a large header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30_000 + b"\r\n\r\n",
    "pipelined requests": REQUEST * 10,
    "too many pipelined requests": REQUEST * 1000,
    "a poll": b"GET {poll} HTTP/1.1\r\nHost: a\r\n\r\n",
    "requests behind a poll": b"GET {poll} HTTP/1.1\r\nHost: a\r\n\r\n" + REQUEST * 10,
    "too many requests behind a poll": b"GET {poll} HTTP/1.1\r\nHost: a\r\n\r\n" + REQUEST * 1000,
    "a poll that expects 100": b"GET {poll} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    "requests behind a poll that expects 100": (
        b"GET {poll} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n" + REQUEST * 10
    ),
    "half a head": REQUEST[:-2],
    "half a body": b"POST {poll} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n4",
    "half a body behind a poll": (
        b"GET {poll} HTTP/1.1\r\nHost: a\r\n\r\n"
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"4" * 50_000
    ),
    "a request that is hung": b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n",
    "requests behind one that is hung": b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n" + REQUEST * 10,
    "no HTTP": b"hello\r\n\r\n",
    "a WebSocket": upgrade(),
    "a WebSocket behind a poll": b"GET {poll} HTTP/1.1\r\nHost: a\r\n\r\n" + upgrade(),
    "a WebSocket of another path": upgrade(path="/elsewhere/"),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request. A request to /hang is answered when its client has left."""
    while scope["path"] == "/hang" and (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server() -> SocketServer:
    server = SocketServer()
    server.of("/")
    return server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Without the cyclic collector, only unreferenced objects are freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@asynccontextmanager
async def connected(
    address: Address, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port, ssl=tls)
    try:
        yield reader, writer
    finally:
        reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:  # otherwise the server has closed it, as it may below
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def poll_of_a_session(address: Address, tls: ssl.SSLContext | None) -> bytes:
    async with connected(address, tls) as (reader, writer):
        writer.write(f"GET {POLLING} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        opened = await reader.readuntil(b"}")
        return f"{POLLING}&sid=".encode() + opened.partition(b'"sid":"')[2].partition(b'"')[0]


def held() -> list[HttpProtocol | RequestResponseCycle]:
    """The process's objects for HTTP connections."""
    return [found for found in gc.get_objects() if isinstance(found, HttpProtocol | RequestResponseCycle)]


async def see_it_freed(address: Address, sent: bytes, tls: ssl.SSLContext | None = None) -> None:
    """Send something and leave. No object of the connection remains."""
    poll = await poll_of_a_session(address, tls) if b"{poll}" in sent else b""
    async with connected(address, tls) as (reader, writer):
        writer.write(sent.replace(b"{poll}", poll))
        await until(lambda: any(isinstance(found, HttpProtocol) for found in held()))
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.05):  # for the server to take what was sent
                while await reader.read(65536):
                    pass
    await until(lambda: not held())


@pytest.mark.usefixtures("without_collector")
class TestWhenTheClientIsGone:
    @pytest.mark.parametrize("sent", WHAT_IS_SENT.values(), ids=WHAT_IS_SENT)
    async def test_no_memory_remains_after_a_reset(self, server: SocketServer, sent: bytes) -> None:
        """No timer and no reference cycle keeps a connection after a RST."""
        async with serving(server, app=app) as address:
            await see_it_freed(address, sent)

    @pytest.mark.parametrize("sent", WHAT_IS_SENT.values(), ids=WHAT_IS_SENT)
    async def test_no_memory_remains_after_a_reset_over_tls(
        self, server: SocketServer, sent: bytes, certificate: tuple[Path, Path]
    ) -> None:
        trusting = ssl.create_default_context(cafile=certificate[0])
        trusting.check_hostname = False
        async with serving(server, app=app, tls=tls_context(*certificate)) as address:
            await see_it_freed(address, sent, trusting)


async def test_an_idle_connection_does_not_keep_its_last_request(server: SocketServer) -> None:
    """Neither by ASGI nor by the plain call of polls."""
    async with serving(server, app=app) as address:
        for target in ("/", f"{POLLING}&padding={'x' * 30_000}"):
            async with connected(address) as (reader, writer):
                writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                await reader.readuntil(b"ok" if target == "/" else b"}")
                await until(lambda: all(not found.scope for found in held()))
                writer.write(REQUEST * 2)
                for _ in range(2):
                    await reader.readuntil(b"ok")
            await until(lambda: not held())
