"""Clients that read responses late or never, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from tests.serving.http_app import HEALTH, LARGE, MEDIUM, SOON, app, check_health, counted
from tests.support.servers import Address, running, serving, until
from tests.support.wire import Connection, raw, upgrade

from synkora import SocketServer
from synkora.serving.http_limits import MAX_HEAD, MAX_SMALL_CHUNKS
from synkora.serving.server import Server
from synkora.serving.uvicorn_polling import PollingProtocol
from synkora.sockets.internals import registry_of


class TestKeepAlive:
    async def test_an_idle_connection_is_closed_when_its_time_expires(self, server: SocketServer) -> None:
        async with serving(server, app=app, keep_alive=0.1) as address, raw(address) as client:
            await check_health(client)
            assert await client.ended() == b""

    async def test_a_client_that_reads_the_last_response_is_not_idle(self, server: SocketServer) -> None:
        async with (
            serving(server, app=app, keep_alive=0.1) as address,
            raw(address, receive_buffer=65_536) as client,
        ):
            await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.reader.readuntil(b"\r\n\r\n")
            for _ in range(20):
                await client.reader.readexactly(LARGE // 20)
                await asyncio.sleep(SOON / 5)
            assert await client.ended() == b""
        assert not len(server.incidents)

    async def test_a_client_that_does_not_read_the_last_bytes_is_cut_off(
        self, server: SocketServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are fewer than those that the event loop reports."""
        monkeypatch.setattr("synkora.serving.http_limits.READ_TIME", SOON)
        async with unread(server, "/medium") as (_, protocol):
            protocol.timeout_keep_alive_handler()
            await until(lambda: len(server.incidents))
        assert counted(server) == [("slow client cut off", 1, "")]

    async def test_a_client_that_has_read_the_last_bytes_stays(self, server: SocketServer) -> None:
        async with unread(server, "/medium") as (client, protocol):
            protocol.timeout_keep_alive_handler()
            await client.reader.read(1)
            while protocol.transport.get_write_buffer_size():
                await client.reader.read(100_000)
            protocol.read_timed_out()
            protocol._timeouts.reads.drop(protocol)
            assert not protocol.transport.is_closing()
        assert not len(server.incidents)


class TestSlowReaders:
    async def test_a_client_that_does_not_read_is_cut_off(self, server: SocketServer, hasty: Address) -> None:
        """Its pending data is dropped, and the client is counted."""
        async with raw(hasty, slow=True) as client:
            await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: len(server.incidents))
            assert counted(server) == [("slow client cut off", 1, "")]
            assert len(await client.ended()) < LARGE

    async def test_a_client_that_reads_slowly_gets_it_all(self, hasty: Address) -> None:
        """While it makes progress, it may take longer than one timeout."""
        async with raw(hasty, receive_buffer=65_536) as client:
            await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            for _ in range(20):
                await client.reader.readexactly(LARGE // 20)
                await asyncio.sleep(SOON / 5)


@asynccontextmanager
async def unread(server: SocketServer, target: str) -> AsyncIterator[tuple[Connection, PollingProtocol]]:
    """A client that has not read its last response, of which a part waits in the server's memory."""
    serving_it = Server(server, app=app, shutdown_timeout=0.05)
    async with running(serving_it, "/socket.io/") as address, raw(address, slow=True) as client:
        await client.send(HEALTH)
        assert await client.status() == 200
        (protocol,) = serving_it.server_state.connections
        assert isinstance(protocol, PollingProtocol)
        asked = serving_it.server_state.total_requests
        while not protocol.transport.get_write_buffer_size():
            asked += 1
            await client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            await until(partial(_has_answered, serving_it, asked))
        yield client, protocol


def _has_answered(server: Server, requests: int) -> bool:
    return server.server_state.total_requests == requests


class TestLastBytes:
    """Of a connection that closes while its client does not read."""

    @pytest.fixture(autouse=True)
    def hasty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("synkora.serving.http_limits.READ_TIME", SOON)

    @pytest.mark.parametrize(
        "last",
        [
            b"not HTTP\r\n\r\n",
            b"GET /health HTTP/1.1\r\nX: " + b"x" * MAX_HEAD,
            b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * (MAX_SMALL_CHUNKS + 1),
            b"",
        ],
        ids=["not HTTP", "large head", "connection: close", "small chunks", "the end"],
    )
    async def test_their_time_is_limited(self, server: SocketServer, last: bytes) -> None:
        """However the connection comes to its end: a stranger would keep it until it leaves."""
        async with unread(server, "/medium") as (client, protocol):
            if last:
                await client.send(last)
            else:
                client.send_end()
            await until(protocol.transport.is_closing)
            await until(lambda: protocol not in protocol.connections)
        assert counted(server)[-1] == ("slow client cut off", 1, "")

    async def test_a_client_that_reads_gets_them(self, server: SocketServer) -> None:
        async with unread(server, "/medium") as (client, protocol):
            await client.send(b"GET /medium HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await until(protocol.transport.is_closing)
            assert (await client.ended()).endswith(b"x" * MEDIUM)
        assert counted(server) == []


class TestHandshakesBehindUnreadResponses:
    """The event loop has reported the full write buffer, and would not report it to the WebSocket's protocol again."""

    @pytest.mark.parametrize("version", ["13", "12"], ids=["valid", "refused"])
    async def test_the_client_is_cut_off(self, server: SocketServer, version: str) -> None:
        async with unread(server, "/large") as (client, protocol):
            await client.send(upgrade(Sec_WebSocket_Version=version))
            await until(lambda: protocol not in protocol.connections)
            assert not len(server._registry)
        assert counted(server) == [("slow client cut off", 1, "")]

    async def test_behind_less_than_a_full_buffer_the_client_is_a_slow_consumer(
        self, server: SocketServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until it reads. The timeout of HTTP's responses does not apply."""
        monkeypatch.setattr("synkora.serving.http_limits.READ_TIME", SOON)
        async with unread(server, "/medium") as (client, protocol):
            await client.send(upgrade())
            await until(lambda: len(server._registry))
            (session,) = registry_of(server)
            assert not session.transport.writable
            assert protocol not in protocol._timeouts.reads
            while await client.status() != 101:
                pass
            await until(lambda: session.transport.writable)
        assert counted(server) == []

    async def test_a_handshake_behind_a_poll_that_waits(self, server: SocketServer) -> None:
        """The poll would wait for the client, and keep a place among the forwarded ones."""
        async with unread(server, "/large") as (client, protocol):
            poll = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n"
            await client.send(poll)
            await until(lambda: not protocol._is_idle)
            await client.send(upgrade())
            await until(lambda: protocol not in protocol.connections and not protocol.tasks)
        assert counted(server) == [("slow client cut off", 1, "")]

    async def test_a_handshake_behind_a_response_that_was_read(self, server: SocketServer, address: Address) -> None:
        async with raw(address) as client:
            await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.status() == 200
            await client.send(upgrade())
            assert await client.status() == 101
        assert counted(server) == []
