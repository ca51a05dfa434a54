"""Compressed answers to polls, over real sockets, by ASGI and by the plain call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.support.clients import Polling
from tests.support.servers import Address, Engine, serving_engine

from synkora.engine.message import LARGEST_COMPRESSED, Message
from synkora.engine.origins import Origins
from synkora.engine.transports import poll_responses
from synkora.protocol import deflate

PAGE = "https://app.example.com"
SMALL, LARGE = b"4small", b"4" + "größe ".encode() * 1000
GZIP = {"accept-encoding": "gzip, deflate, br", "origin": PAGE}


@pytest.fixture
def engine() -> Engine:
    return Engine(compression=True, origins=Origins([PAGE]))


@pytest.fixture(params=[False, True], ids=["asgi", "call"])
async def address(engine: Engine, request: pytest.FixtureRequest) -> AsyncIterator[Address]:
    async with serving_engine(engine, polls_by_call=request.param) as address:
        yield address


async def sent(client: Polling, engine: Engine, *packets: bytes) -> tuple[list[bytes], dict[str, str], int]:
    """The response to a poll with these packets: its packets, its headers, and the size of its body."""
    for packet in packets:
        engine.recorders[0].session.send(packet[1:])
    await asyncio.sleep(0)
    async with client.http.stream("GET", client.address.url(sid=client.sid)) as answer:
        assert answer.status_code == 200
        body = await answer.aread()
        return body.split(b"\x1e"), dict(answer.headers), answer.num_bytes_downloaded


async def test_a_large_answer_is_gzipped(engine: Engine, address: Address) -> None:
    """Large and small messages are complete and in order. `Vary` is set."""
    async with Polling(address, GZIP) as client:
        packets, headers, size = await sent(client, engine, SMALL, LARGE, SMALL, LARGE)
    assert packets == [SMALL, LARGE, SMALL, LARGE]
    assert headers["content-encoding"] == "gzip"
    assert int(headers["content-length"]) == size < 500
    assert {name.strip() for name in headers["vary"].split(",")} == {"Origin", "Accept-Encoding"}


async def test_many_small_messages_are_a_large_answer(engine: Engine, address: Address) -> None:
    async with Polling(address, GZIP) as client:
        packets, headers, size = await sent(client, engine, *[SMALL] * 500)
    assert packets == [SMALL] * 500
    assert headers["content-encoding"] == "gzip"
    assert size < 100


async def test_a_small_answer_is_not_gzipped(engine: Engine, address: Address) -> None:
    """Below the threshold the Accept-Encoding is not read. At the threshold it is."""
    async with Polling(address, {"accept-encoding": "gzip"}) as client:
        for size, encoding in ((1023, None), (1024, "gzip")):
            packets, headers, _ = await sent(client, engine, b"4" + b"x" * (size - 1))
            assert packets == [b"4" + b"x" * (size - 1)]
            assert headers.get("content-encoding") == encoding
            assert headers.get("vary") == (encoding and "Accept-Encoding")


@pytest.mark.parametrize("others", [(), (b"x" * 10,), (b"x" * 3000,)], ids=["alone", "small", "large"])
async def test_a_message_that_is_not_to_be_compressed_is_sent_as_it_is(
    engine: Engine, address: Address, others: tuple[bytes, ...]
) -> None:
    """Alone, the response has no gzip. Beside others it is stored, and a large one is compressed."""
    async with Polling(address, GZIP) as client:
        engine.recorders[0].session.outbox.put(Message(LARGE[1:], compress=False))
        packets, headers, size = await sent(client, engine, *(b"4" + other for other in others))
    assert packets == [LARGE, *(b"4" + other for other in others)]
    assert headers.get("content-encoding") == ("gzip" if others else None)
    assert len(LARGE) <= size < len(LARGE) + 100


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "deflate"])
async def test_a_client_that_does_not_accept_gzip_gets_none(engine: Engine, address: Address, accepted: str) -> None:
    async with Polling(address, {"accept-encoding": accepted}) as client:
        packets, headers, size = await sent(client, engine, LARGE)
    assert (packets, size) == ([LARGE], len(LARGE))
    assert "content-encoding" not in headers
    assert headers["vary"] == "Accept-Encoding"


async def test_nothing_is_gzipped_unless_it_is_switched_on() -> None:
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address, {"accept-encoding": "gzip"}) as client:
        packets, headers, size = await sent(client, engine, LARGE)
    assert (packets, size) == ([LARGE], len(LARGE))
    assert not {"content-encoding", "vary"} & set(headers)


async def test_a_broadcast_is_compressed_once(
    engine: Engine, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed: list[bytes] = []
    original = deflate.compressed_blocks

    def counted(data: bytes) -> bytes:
        compressed.append(data)
        return original(data)

    for module in (deflate, poll_responses):
        monkeypatch.setattr(module, "compressed_blocks", counted)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Polling(address, GZIP)) for _ in range(5)]
        engine.recorders[0].session.send(SMALL[1:])
        outboxes = [recorder.session.outbox for recorder in engine.recorders]
        engine.registry.flusher.broadcast(Message(LARGE[1:]), outboxes, None)
        answers = await asyncio.gather(*(client.poll() for client in clients))
    assert answers == [[SMALL.decode(), LARGE.decode()], *[[LARGE.decode()]] * 4]
    assert compressed == [LARGE]


async def test_a_large_answer_of_small_messages_is_not_compressed(engine: Engine, address: Address) -> None:
    """To compress it would take the event loop for too long."""
    async with Polling(address, GZIP) as client:
        for _ in range(LARGEST_COMPRESSED // 20 + 1):
            engine.recorders[0].session.send(b"x" * 19)
        _, headers, size = await sent(client, engine, SMALL)
    assert headers["content-encoding"] == "gzip"
    assert size > LARGEST_COMPRESSED
