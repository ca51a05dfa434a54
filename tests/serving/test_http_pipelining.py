"""Requests behind one that is not answered, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.serving.http_app import HEALTH, counted
from tests.support.clients import Polling
from tests.support.servers import Address, until
from tests.support.wire import raw, upgrade

from synkora import SocketServer
from synkora.serving.http_pipelining import MAX_WAITING, MAX_WAITING_SIZE


class TestPipelining:
    @pytest.fixture
    async def poll(self, address: Address) -> AsyncIterator[tuple[Polling, bytes]]:
        """A session, and a request that waits for its messages."""
        async with Polling(address) as polling:
            target = address.url(sid=polling.sid).removeprefix(address.http)
            yield polling, f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()

    async def test_requests_behind_a_poll_are_answered_in_turn(
        self, server: SocketServer, address: Address, poll: tuple[Polling, bytes]
    ) -> None:
        """Up to the limit, after the poll's answer."""
        polling, request = poll
        async with raw(address) as client:
            await client.send(request + b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" * MAX_WAITING)
            await until(lambda: server._registry.find(polling.sid).transport.writable)
            await asyncio.sleep(0.05)
            server._registry.find(polling.sid).send(b"hello")
            head = await client.reader.readuntil(b"4hello")
            assert head.startswith(b"HTTP/1.1 200")
            assert [await client.status() for _ in range(MAX_WAITING)] == [200] * MAX_WAITING
        assert counted(server) == []

    async def test_a_connection_may_pipeline_for_long(self, server: SocketServer, address: Address) -> None:
        """The limits apply to waiting requests, not to the total."""
        padded = b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3000 + b"\r\n\r\n"
        async with raw(address) as client:
            await client.send(padded * (MAX_WAITING // 2))
            for _ in range(100):
                await client.send(padded)
                assert await client.status() == 200
        assert counted(server) == []

    @pytest.mark.parametrize(
        "waiting",
        [
            HEALTH * (MAX_WAITING + 1),
            HEALTH * 14_000,
            (b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30_000 + b"\r\n\r\n") * 3,
            b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"x" * (MAX_WAITING_SIZE + 1),
            (b"GET /health HTTP/1.1\r\n" + b"a:\r\n" * 255 + b"\r\n") * 2,
            b"GET /" + b"a" * 12_000 + b"%F0%9F%98%80 HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
        ids=[
            "one too many",
            "thousands",
            "large heads",
            "a large body",
            "very many headers",
            "a path of wide characters",
        ],
    )
    async def test_too_much_behind_a_poll_ends_the_connection(
        self, server: SocketServer, address: Address, poll: tuple[Polling, bytes], waiting: bytes
    ) -> None:
        """Without an answer. Its session ends, and the incident is counted."""
        async with raw(address) as client:
            await client.send(poll[1])
            await until(lambda: server._registry.find(poll[0].sid).transport.writable)
            with contextlib.suppress(ConnectionError):
                await client.send(waiting)
            assert await client.ended() == b""
        await until(lambda: not len(server._registry))
        assert counted(server) == [("request refused", 1, "too many pipelined")]

    @pytest.mark.parametrize(
        "behind",
        [b"\r\n" + HEALTH * 3, b"Content-Length: 500000\r\n\r\n" + b"x" * 500_000],
        ids=["requests", "a large body"],
    )
    async def test_a_client_that_leaves_is_noticed(
        self, server: SocketServer, address: Address, poll: tuple[Polling, bytes], behind: bytes
    ) -> None:
        """The session of a poll ends immediately with its connection, despite waiting data behind the poll."""
        async with raw(address) as client:
            await client.send(poll[1][:-2] + behind)
            await until(lambda: server._registry.find(poll[0].sid).transport.writable)
            await asyncio.sleep(0.05)
        await until(lambda: not len(server._registry))

    async def test_a_websocket_behind_a_poll(
        self, server: SocketServer, address: Address, poll: tuple[Polling, bytes]
    ) -> None:
        """A connection cannot become a WebSocket while an answer is due: the answer would be no valid frame."""
        async with raw(address) as client:
            await client.send(poll[1])
            await until(lambda: server._registry.find(poll[0].sid).transport.writable)
            await client.send(upgrade(path=address.path))
            assert await client.ended() == b""
        await until(lambda: not len(server._registry))
