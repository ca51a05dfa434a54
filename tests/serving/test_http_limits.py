"""HTTP requests that are too large or too slow, over real sockets."""

import asyncio
import contextlib
from typing import Final

import pytest
from tests.serving.http_app import HEALTH, SOON, check_health, counted
from tests.support.clients import Polling, websocket
from tests.support.processes import PATIENCE
from tests.support.servers import Address, serving, until
from tests.support.wire import Connection, raw

from synkora import SocketServer
from synkora.serving.http_limits import MAX_HEAD, MAX_HEADERS, MAX_SMALL_CHUNKS, SMALL_CHUNK
from synkora.sockets.internals import registry_of

POST: Final = b"POST /health HTTP/1.1\r\nHost: a\r\n"
#: Requests that one read contains, with a head behind them.
LARGE_BODY: Final = POST + b"Content-Length: 30000\r\n\r\n" + b"x" * 30_000
UPGRADE = HEALTH[:-2] + b"Connection: upgrade\r\nUpgrade: h2c\r\nCookie: " + b"x" * 20_000 + b"\r\n\r\n"  # ignored
CHUNKS: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"40\r\n%b\r\n" % (b"x" * 64) * 400 + b"0\r\n\r\n"


class TestSlowRequests:
    async def test_nothing_at_all(self, server: SocketServer, hasty: Address) -> None:
        """A connection without a request is closed without an answer, and is no incident."""
        async with raw(hasty) as client:
            assert await client.ended() == b""
        assert counted(server) == []

    async def test_a_head_without_an_end(self, server: SocketServer, hasty: Address) -> None:
        """It is answered with 408, however actively the client continues."""
        async with raw(hasty) as client:
            await client.send(b"GET /health HTTP/1.1\r\n")
            end = await self._drip_to_the_end(client, b"X-Header: y\r\n")
            assert end.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert counted(server) == [("slow request cut off", 1, "head")]

    async def test_a_slow_body_is_accepted(self, server: SocketServer, hasty: Address) -> None:
        """An upload that makes progress continues, with a length or in chunks."""
        packet = b'42["hello","' + b"x" * 20 + b'"]'
        bodies = {
            b"Content-Length: %d" % len(packet): packet,
            b"Transfer-Encoding: chunked": b"".join(b"1\r\n%c\r\n" % byte for byte in packet) + b"0\r\n\r\n",
        }
        async with Polling(hasty) as polling, raw(hasty) as client:
            await polling.post("40")
            target = hasty.url(sid=polling.sid).removeprefix(hasty.http).encode()
            for field, body in bodies.items():
                head = b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % (target, field)
                await self._crawl(client, head + body[:-20], body[-20:])
                assert await client.status() == 200
        assert counted(server) == []

    @staticmethod
    async def _crawl(client: Connection, first: bytes, rest: bytes) -> None:
        """Send the first bytes together, and the rest one by one over several timeouts."""
        await client.send(first)
        for byte in rest:
            await asyncio.sleep(SOON / 8)
            await client.send(bytes([byte]))

    @staticmethod
    async def _drip_to_the_end(client: Connection, data: bytes) -> bytes:
        """Send `data` repeatedly until the server closes. Returns the server's bytes."""

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await client.send(data)
                    await asyncio.sleep(SOON / 10)

        dripping = asyncio.create_task(drip())
        end = await client.ended()
        dripping.cancel()
        return end

    async def test_a_second_head_without_an_end(self, hasty: Address) -> None:
        """A fast first request does not extend the time of the next one."""
        async with raw(hasty) as client:
            await check_health(client)
            await client.send(HEALTH[:-2])
            assert (await client.ended()).startswith(b"HTTP/1.1 408")

    @pytest.mark.parametrize("request_", [HEALTH, LARGE_BODY, CHUNKS], ids=["no body", "a body", "chunks"])
    async def test_a_head_without_an_end_behind_a_request_in_one_read(self, hasty: Address, request_: bytes) -> None:
        async with raw(hasty) as client:
            await client.send(request_ + HEALTH[:-2])
            assert await client.status() == 200
            assert (await client.ended()).startswith(b"HTTP/1.1 408")

    async def test_blank_lines_keep_no_connection_open(self, hasty: Address) -> None:
        """Blank lines before a request (RFC 9112 section 2.2) do not count."""
        async with raw(hasty) as client:
            await check_health(client)
            await self._drip_to_the_end(client, b"\r\n")

    async def test_an_idle_connection_may_be_used_again(self, hasty: Address) -> None:
        """The time between two requests may be longer than that of one request."""
        async with raw(hasty) as client:
            for _ in range(2):
                await check_health(client)
                await asyncio.sleep(2 * SOON)

    async def test_a_body_without_an_end(self, server: SocketServer, hasty: Address) -> None:
        """It is answered with 408, and its session has ended."""
        async with Polling(hasty) as polling, raw(hasty) as client:
            target = hasty.url(sid=polling.sid).removeprefix(hasty.http)
            await client.send(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n40".encode())
            assert (await client.ended()).startswith(b"HTTP/1.1 408")
            assert not len(server._registry)
        assert counted(server)[0] == ("slow request cut off", 1, "body")

    async def test_the_time_for_a_whole_unread_body_is_limited(self, hasty: Address) -> None:
        """A body after the answer, or with a poll, has no limit in size, so it has one in time."""
        poll = hasty.url().removeprefix(hasty.http)
        for request in ("POST /health", f"GET {poll}"):
            async with raw(hasty) as client:
                await client.send(f"{request} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
                assert await client.status() == 200
                await self._drip_to_the_end(client, b"1\r\nx\r\n")

    async def test_a_body_after_its_response(self, hasty: Address) -> None:
        """An early answer is not followed by another."""
        async with raw(hasty) as client:
            await client.send(b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
            assert await client.status() == 200
            assert await client.ended() == b""

    async def test_a_request_behind_another_has_time(self, server: SocketServer, hasty: Address) -> None:
        """The wait of a request behind a poll is not the client's delay."""
        async with Polling(hasty) as polling, raw(hasty) as client:
            target = hasty.url(sid=polling.sid).removeprefix(hasty.http)
            post = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n4"
            await client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n{post}".encode())
            await asyncio.sleep(2 * SOON)
            server._registry.find(polling.sid).send(b"hello")
            assert await client.status() == 200
            await client.send(b"0")
            assert await client.status() == 200

    async def test_a_late_response_does_not_make_the_client_slow(self, server: SocketServer, hasty: Address) -> None:
        """A poll waits for messages without a limit, and a WebSocket is no request."""
        async with Polling(hasty) as polling, websocket(hasty) as client:
            poll = asyncio.create_task(polling.poll())
            await asyncio.sleep(2 * SOON)
            server._registry.find(polling.sid).send(b"hello")
            assert await poll == ["4hello"]
            await client.connect()

    async def test_hundreds_of_half_open_requests(self, server: SocketServer, hasty: Address) -> None:
        """All are disconnected, and another client is served meanwhile."""
        count = 300
        opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", hasty.port) for _ in range(count)))
        for _, writer in opened:
            writer.write(HEALTH[:-2])
        async with raw(hasty) as bystander:
            await check_health(bystander)
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*(reader.read() for reader, _ in opened))
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
        assert counted(server) == [("slow request cut off", count, "head")]
        for _, writer in opened:
            writer.close()


class TestFiles:
    async def test_running_out_of_files_is_reported(
        self, server: SocketServer, address: Address, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Connections with the last descriptor numbers count as an incident. Others do not."""
        async with raw(address) as client:
            await check_health(client)
        assert counted(server) == []
        monkeypatch.setattr("resource.getrlimit", lambda _: (5, 5))
        async with raw(address) as client:
            await check_health(client)
        assert counted(server) == [("file limit hit", 1, "5 may be open, raise LimitNOFILE or ulimit -n")]


class TestLargeHeads:
    @pytest.mark.parametrize(
        "request_",
        [
            b"GET /health?" + b"x" * MAX_HEAD + b" HTTP/1.1\r\n\r\n",
            b"GET /health HTTP/1.1\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n",
            b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * (MAX_HEAD // 6) + b"\r\n",
            b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1) + b"\r\n",
            b"GET /health HTTP/1.1\r\nX: " + b"x" * 10 * MAX_HEAD,
            b"GET /" + b"x" * 10 * MAX_HEAD,
            b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 2 * MAX_HEAD + b"\r\n\r\n",
        ],
        ids=[
            "a long target",
            "a long header",
            "many headers",
            "just too many",
            "a header without an end",
            "no end",
            "a long trailer",
        ],
    )
    @pytest.mark.parametrize("piece", [1_000, 10_000_000])
    async def test_it_is_refused(self, server: SocketServer, address: Address, request_: bytes, piece: int) -> None:
        """Of any kind and in any number of pieces: 431, and the end of the connection."""
        async with raw(address) as client:
            try:
                for start in range(0, len(request_), piece):
                    await client.send(request_[start : start + piece])
                    await asyncio.sleep(0)
            except ConnectionError:
                pass
            await client.ended()
        await until(lambda: len(server.incidents))
        assert counted(server) == [("request refused", 1, "head too large")]

    async def test_the_answer(self, address: Address) -> None:
        async with raw(address) as client:
            await client.send(b"GET /health HTTP/1.1\r\nX: " + b"x" * MAX_HEAD)
            answer = await client.ended()
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        words = f"The head of a request may have up to {MAX_HEAD} bytes and {MAX_HEADERS} headers"
        assert answer.endswith(b'{"message":"%b"}' % words.encode())

    async def test_the_maximum_of_headers_is_accepted(self, address: Address) -> None:
        """For each request of a connection separately."""
        async with raw(address) as client:
            for _ in range(2):
                await client.send(b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * MAX_HEADERS + b"\r\n")
                assert await client.status() == 200

    @pytest.mark.parametrize("times", [1, 3])
    async def test_a_head_that_may_just_be(self, address: Address, times: int) -> None:
        """A session of several cookies fits, in each request of a connection."""
        filler = b"x" * (MAX_HEAD - len(b"/healthHosta") - 3 * 4 - len(b"Cookie"))
        async with raw(address) as client:
            for _ in range(times):
                await client.send(b"GET /health HTTP/1.1\r\nHost: a\r\nCookie: " + filler + b"\r\n\r\n")
                assert await client.status() == 200

    @pytest.mark.parametrize(
        "request_", [HEALTH, LARGE_BODY, CHUNKS, UPGRADE], ids=["no body", "a body", "chunks", "an upgrade"]
    )
    async def test_a_head_behind_a_request_in_one_read(
        self, server: SocketServer, address: Address, request_: bytes
    ) -> None:
        """What comes before does not count. Without an end, it is refused like another."""
        head = HEALTH[:-2] + b"Cookie: " + b"x" * (MAX_HEAD - 300)
        async with raw(address) as client:
            for _ in range(2):
                await client.send(request_ + head)
                assert await client.status() == 200
                await client.send(b"\r\n\r\n")
                assert await client.status() == 200
        assert counted(server) == []
        async with raw(address) as client:
            await client.send(request_ + head + b"x" * 300)
            assert b"HTTP/1.1 431" in await client.ended()
        assert counted(server) == [("request refused", 1, "head too large")]

    async def test_a_large_body_is_no_head(self, address: Address) -> None:
        async with raw(address) as client:
            body = b"x" * 500_000
            await client.send(b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + body + HEALTH)
            assert [await client.status(), await client.status()] == [200, 200]

    async def test_what_is_not_http(self, server: SocketServer, address: Address) -> None:
        """It is answered with 400, and counted."""
        async with raw(address) as client:
            await client.send(b"\x16\x03\x01 hello\r\n\r\n")
            assert (await client.ended()).startswith(b"HTTP/1.1 400")
        assert counted(server) == [("request refused", 1, "not HTTP")]


class TestTrailers:
    @pytest.mark.parametrize("trailer", [b"X-Forwarded-For: 198.51.100.1", b"Origin: https://evil.example"])
    async def test_they_are_no_headers(self, trailer: bytes) -> None:
        """A client may send any, and a proxy may pass them on: the client has the address that the proxy has told."""
        server = SocketServer(proxies=["127.0.0.1"])
        server.of("/")
        async with serving(server) as address, raw(address) as client:
            target = address.url().removeprefix(address.http).encode()
            head = b"GET %b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.66\r\n" % target
            await client.send(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailer + b"\r\n\r\n")
            assert await client.status() == 200
            (session,) = registry_of(server)
            assert session.request.address == "203.0.113.66"
            assert session.request.origin is None

    async def test_they_count_for_the_size_of_the_head(self, server: SocketServer, address: Address) -> None:
        async with raw(address) as client:
            head = b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            await client.send(head + b"a: b\r\n" * MAX_HEADERS + b"\r\n")
            await client.ended()
        await until(lambda: len(server.incidents))
        assert counted(server) == [("request refused", 1, "head too large")]


class TestSmallChunks:
    @pytest.mark.parametrize("target", ["POST /health", "POST {}", "GET {}"], ids=["answered", "posted", "poll"])
    async def test_too_many_end_the_connection(self, server: SocketServer, address: Address, target: str) -> None:
        """Handling one-byte chunks in one turn of the loop would delay everyone, without a sign-in."""
        async with Polling(address) as polling, raw(address) as client:
            path = address.url(sid=polling.sid).removeprefix(address.http)
            head = f"{target.format(path)} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            await client.send(head)
            with contextlib.suppress(ConnectionError):
                await client.send(b"1\r\nx\r\n" * (MAX_SMALL_CHUNKS + 1))
            await client.ended()
        assert counted(server) == [("request refused", 1, "too many small chunks")]

    async def test_the_maximum_is_accepted(self, server: SocketServer, address: Address) -> None:
        """For each request separately. Of larger chunks, only the few that a read splits count."""
        large = b"%x\r\n%b\r\n" % (2 * SMALL_CHUNK, b"x" * 2 * SMALL_CHUNK)
        chunks = b"1\r\nx\r\n" * (MAX_SMALL_CHUNKS - 100) + large * 2000
        async with raw(address) as client:
            for _ in range(2):
                await client.send(
                    b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n"
                )
                assert await client.status() == 200
        assert counted(server) == []
