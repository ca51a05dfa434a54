"""Endless WebSocket messages, sessions without polls, and their incidents."""

import asyncio
import contextlib

import pytest
from tests.support.clients import Polling
from tests.support.servers import Address, Engine, serving_engine, until
from tests.support.wire import TEXT, WebSocket, client_frame, raw_websocket

from synkora.engine.close_reasons import Reason
from synkora.engine.origins import Origins
from synkora.protocol.websocket import CloseCode

SOON = 0.5  # seconds, in place of thirty


@pytest.fixture
def engine() -> Engine:
    return Engine(origins=Origins(["https://app.example.com"]))


async def test_fragments_that_never_end(engine: Engine, raw: WebSocket) -> None:
    """A message whose rest does not come in time ends the connection."""
    engine.registry.partial_messages.length = 0.1
    await raw.send(client_frame(TEXT, b"4", fin=False))
    closed = await raw.closed()
    assert closed == (CloseCode.PROTOCOL_ERROR, "a message was begun and not completed")
    assert engine.recorders[0].reasons == [Reason.PARSE_ERROR]


@pytest.mark.parametrize("is_fragmented", [False, True])
async def test_a_message_that_makes_progress_is_accepted(engine: Engine, raw: WebSocket, is_fragmented: bool) -> None:
    """A large frame, and fragments, may take several timeouts."""
    engine.registry.partial_messages.length = SOON
    message = b"4" + b"x" * 200_000
    step = len(message) // 20 + 1
    parts = [message[at : at + step] for at in range(0, len(message), step)]
    frames = [client_frame(TEXT, parts[0], fin=False), *(client_frame(0, part, fin=False) for part in parts[1:])]
    whole = client_frame(TEXT, message)
    pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
    for piece in [*frames, client_frame(0)] if is_fragmented else pieces:
        await raw.send(piece)
        await asyncio.sleep(SOON / 8)
    await until(lambda: engine.recorders[0].messages)
    assert engine.recorders[0].messages == [message[1:]]
    assert not len(engine.registry.partial_messages)


async def test_an_incomplete_large_frame(engine: Engine, raw: WebSocket) -> None:
    """A part of a frame extends the time only for its next part."""
    engine.registry.partial_messages.length = SOON
    await raw.send(client_frame(TEXT, b"4" + b"x" * 200_000)[:100_000])
    assert (await raw.closed()).code == CloseCode.PROTOCOL_ERROR


async def test_empty_fragments_are_no_progress(engine: Engine, raw: WebSocket) -> None:
    engine.registry.partial_messages.length = SOON
    await raw.send(client_frame(TEXT, b"4", fin=False))
    with contextlib.suppress(ConnectionError):
        for _ in range(24):
            await raw.send(client_frame(0, fin=False))
            await asyncio.sleep(SOON / 8)
    assert (await raw.closed()).code == CloseCode.PROTOCOL_ERROR


async def test_a_large_frame_gives_its_pong_time() -> None:
    """A client with a slow upload is not considered dead, although its pong has to wait."""
    engine = Engine(ping_interval=SOON, ping_timeout=SOON)
    whole = client_frame(TEXT, b"4" + b"x" * 200_000)
    async with serving_engine(engine) as address, raw_websocket(address) as raw:
        for at in range(0, len(whole), 5_000):
            await raw.send(whole[at : at + 5_000])
            await asyncio.sleep(SOON / 8)
        await until(lambda: engine.recorders[0].messages)
        assert engine.recorders[0].reasons == []


async def test_a_large_post_gives_its_pong_time() -> None:
    """The same for polling with consecutive POSTs."""
    engine = Engine(ping_interval=SOON, ping_timeout=SOON)
    async with serving_engine(engine, polls_by_call=True) as address, Polling(address) as polling:
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        target = address.url(sid=polling.sid).removeprefix(address.http)
        writer.write(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 41\r\n\r\n4".encode())
        for _ in range(40):
            await asyncio.sleep(SOON / 8)
            writer.write(b"x")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert engine.recorders[0].messages == [b"x" * 40]
        assert engine.recorders[0].reasons == []
        writer.close()


async def test_a_client_that_leaves_in_the_middle_is_not_waited_for(engine: Engine, address: Address) -> None:
    async with raw_websocket(address) as raw:
        await raw.send(client_frame(TEXT, b"4", fin=False))
        await until(lambda: len(engine.registry.partial_messages))
    await until(lambda: not len(engine.registry.partial_messages))


@pytest.mark.parametrize("requests", [1, 20])
async def test_a_session_that_is_never_polled_ends(requests: int) -> None:
    """It gets a ping like any other session, without an answer."""
    engine = Engine(ping_interval=0.5, ping_timeout=0.5)
    async with serving_engine(engine) as address, Polling(address, opens=False) as polling:
        for _ in range(requests):
            await polling.open()
        assert len(engine.registry) == requests
        await until(lambda: not len(engine.registry))
        assert [recorder.reasons for recorder in engine.recorders] == [[Reason.PING_TIMEOUT]] * requests


async def test_refusals_are_counted(engine: Engine, address: Address) -> None:
    """Foreign pages by origin, other requests by error. The label has no data of the client."""
    async with (
        Polling(address, {"Origin": "https://evil.example"}, opens=False) as foreign,
        Polling(address, opens=False) as polling,
    ):
        assert (await foreign.http.get(address.url())).status_code == 403
        for _ in range(2):
            assert (await polling.http.get(address.url(sid="s3cret"))).status_code == 400
    counted = [(tally.kind, tally.times, tally.label) for tally in engine.registry.incidents.take()]
    label = f"https://evil.example (for the Host {address.http.partition('//')[2]}, which a proxy may have replaced)"
    assert counted == [("request refused", 2, "Session ID unknown"), ("origin refused", 1, label)]
