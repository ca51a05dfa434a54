"""Broadcasts to clients with permessage-deflate, byte for byte."""

import asyncio
import zlib
from contextlib import AsyncExitStack

import pytest
from tests.support.calls import first_arguments
from tests.support.servers import Engine, most_in_one_turn, serving_engine
from tests.support.wire import TEXT, client_frame, raw_websocket

from synkora.engine.message import Message
from synkora.engine.transports.websocket_protocol import MAX_READ_COMPRESSED
from synkora.protocol import deflate, websocket

CHROMIUM = "permessage-deflate; client_max_window_bits"
FIREFOX = "permessage-deflate"
OTHER_WINDOW = "permessage-deflate; server_max_window_bits=10"
LARGE = b"4" + "größe ".encode() * 1000


async def test_a_broadcast_is_compressed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All clients with the extension get the same bytes. Others, or those with another window, get it uncompressed."""
    compressed = first_arguments(monkeypatch, websocket, "compressed_blocks")
    engine = Engine(compression=True)
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        offers = [CHROMIUM, FIREFOX, f"{OTHER_WINDOW}, {FIREFOX}", OTHER_WINDOW, ""]
        clients = [await stack.enter_async_context(raw_websocket(address, extensions=offer)) for offer in offers]
        for client in clients:
            assert (await client.text()).startswith("0{")
        outboxes = [recorder.session.outbox for recorder in engine.recorders]
        for _ in range(2):
            engine.registry.flusher.broadcast(Message(LARGE[1:]), outboxes, None)
            frames = await asyncio.gather(*(client.frame() for client in clients))
            assert [frame.rsv1 for frame in frames] == [True, True, True, False, False]
            assert len({bytes(frame.data) for frame in frames[:3]}) == 1
            assert zlib.decompressobj(wbits=-15).decompress(frames[0].data) == LARGE
            assert [bytes(frame.data) for frame in frames[3:]] == [LARGE, LARGE]
    assert compressed == [LARGE, LARGE]


async def test_others_have_their_turns_while_compressed_messages_are_inflated() -> None:
    """Each read has few bytes, since one byte may inflate to a thousand."""
    large = 100_000
    deflated = deflate.compressed_blocks(b"4" + b"x" * large)
    frame = client_frame(TEXT, deflated, rsv=4)
    number = 20 * MAX_READ_COMPRESSED // len(frame)
    engine = Engine(compression=True)
    async with serving_engine(engine) as address, raw_websocket(address, extensions=FIREFOX) as client:
        await client.text()
        client.writer.write(frame * number)
        messages = engine.recorders[0].messages
        in_one_turn = await most_in_one_turn(lambda: len(messages), number)
    assert in_one_turn <= 4 * MAX_READ_COMPRESSED // len(frame)  # a turn may have a few small reads


async def test_connections_share_the_turns_in_which_messages_are_inflated() -> None:
    """Not each of them has a read in each turn. Each gets all of its messages, in order."""
    clients, each = 10, 30
    frames = [
        client_frame(TEXT, deflate.compressed_blocks(b"4%d" % number + b"x" * 100_000), rsv=4) for number in range(each)
    ]
    engine = Engine(compression=True)
    engine.registry.inflating.share = 1e-9
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(raw_websocket(address, extensions=FIREFOX)) for _ in range(clients)]
        for client in opened:
            await client.text()
        engine.share(None)
        for client in opened:
            client.writer.write(b"".join(frames))
        received = [recorder.messages for recorder in engine.recorders]
        in_one_turn = await most_in_one_turn(lambda: sum(map(len, received)), clients * each)
    assert in_one_turn <= 2 * MAX_READ_COMPRESSED // len(frames[0])
    assert [[message.rstrip(b"x") for message in messages] for messages in received] == [
        [b"%d" % number for number in range(each)]
    ] * clients
