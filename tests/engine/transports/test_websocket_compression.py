"""Broadcasts to clients that asked for permessage-deflate, byte for byte."""

import asyncio
import zlib
from contextlib import AsyncExitStack

import pytest
from tests.support.servers import Engine, serving_engine
from tests.support.wire import raw_websocket

from synkora.engine.message import Message
from synkora.protocol import deflate, websocket

CHROMIUM = "permessage-deflate; client_max_window_bits"
FIREFOX = "permessage-deflate"
OTHER_WINDOW = "permessage-deflate; server_max_window_bits=10"
LARGE = b"4" + "größe ".encode() * 1000


async def test_a_broadcast_is_compressed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who agreed on it get the same bytes each time; who did not, or wants another window, gets it as it is."""
    compressed: list[bytes] = []
    original = deflate.compressed_blocks

    def counted(data: bytes) -> bytes:
        compressed.append(data)
        return original(data)

    monkeypatch.setattr(websocket, "compressed_blocks", counted)
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
