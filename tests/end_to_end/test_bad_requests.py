"""Invalid HTTP requests: each gets the status of its error, and no other client is affected."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from tests.end_to_end.bystanders import Bystanders
from tests.end_to_end.raw import RawClient, RawPolling
from tests.support.processes import PATIENCE
from tests.support.server_process import ServerProcess
from tests.support.wire import Connection, upgrade

LIMIT = 1_000_000
polling = pytest.mark.parametrize("mallory", [RawPolling], indirect=True, ids=[""])


@pytest_asyncio.fixture(loop_scope="session")
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        yield http


@pytest.fixture
def carrier(mallory: RawClient) -> RawPolling:
    assert isinstance(mallory.carrier, RawPolling)
    return mallory.carrier


BODIES = {
    "a separator alone": (b"\x1e", 400),
    "a binary packet that is cut": (b"bAAA", 400),
    "a form of HTML": (b"d=42%5B%22ping%22%5D", 400),
    "one byte over the limit": (b"4" * (LIMIT + 1), 413),
}


@polling
@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=list(BODIES))
async def test_a_broken_body_ends_its_session_alone(
    carrier: RawPolling, mallory: RawClient, bystanders: Bystanders, body: bytes, status: int
) -> None:
    answer = await carrier.post(body)
    assert answer.status_code == status
    assert answer.json()["message"]
    await bystanders.notice_the_end_of(mallory)


@polling
async def test_a_body_without_a_length_has_the_same_limit(
    carrier: RawPolling, mallory: RawClient, bystanders: Bystanders
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2 * LIMIT // 50_000):
            yield b"4" * 50_000

    try:
        answer = await carrier.http.post("", params=carrier.query, content=chunks())
        assert answer.status_code == 413
    except httpx.WriteError:
        pass  # it was answered, and cut off, before all was sent
    await bystanders.notice_the_end_of(mallory)


@polling
async def test_a_body_of_the_limit_is_accepted(carrier: RawPolling, mallory: RawClient, bystanders: Bystanders) -> None:
    head, tail = b'42["no such event","', b'"]'
    answer = await carrier.post(head + b"x" * (LIMIT - len(head) - len(tail)) + tail)
    assert (answer.status_code, answer.text) == (200, "ok")
    assert "nknown event" in (await mallory.expect("error"))["message"]
    await bystanders.notice_nothing()


BYTES = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /socket.io/\r\n\r\n",
    "no such version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    "a header of a megabyte": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * LIMIT + b"\r\n\r\n",
    "a header without end": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * LIMIT,
    "headers without end": b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * 100_000,
    "a path without end": b"GET /" + b"a" * LIMIT,
    "a length that is no number": b"POST /socket.io/ HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "a length below zero": b"POST /socket.io/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /socket.io/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a broken chunk": b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nmany\r\n",
    "an upgrade to something else": b"GET /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\n"
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("sent", BYTES.values(), ids=list(BYTES))
async def test_an_invalid_request_is_refused(server: ServerProcess, bystanders: Bystanders, sent: bytes) -> None:
    connection = await Connection.open(server.port)
    with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
        await connection.send(sent)
    head = await connection.head()
    assert not head or head.split()[1].startswith("4"), head
    await connection.close()
    await bystanders.notice_nothing()


async def test_other_paths_are_not_found(http: httpx.AsyncClient, server: ServerProcess) -> None:
    """By HTTP and by WebSocket, beside Socket.IO's path and below the others."""
    for path in ("/nowhere", "/health/more", "/socket.io.js", "/socketXio/?EIO=4&transport=polling", "/../etc"):
        assert (await http.get(path)).status_code == 404, path
    connection = await Connection.open(server.port)
    await connection.send(upgrade(path="/nowhere"))
    assert (await connection.head()).startswith("HTTP/1.1 404 ")
    await connection.close()
