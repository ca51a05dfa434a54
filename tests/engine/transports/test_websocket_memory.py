"""The memory of large messages, and the limits on reading a client's data."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.protocols import noted_protocols
from tests.support.servers import Address, Engine, serving_engine, until
from tests.support.wire import CONTINUATION, PING, PONG, TEXT, WebSocket, client_frame, raw_websocket

from synkora.engine.close_reasons import Reason
from synkora.engine.session import MAX_CONTROL, OVERHEAD_BURST
from synkora.engine.transports.fragments import SMALL
from synkora.engine.transports.websocket_protocol import MAX_READ, USUAL_BUFFER, WebSocketProtocol
from synkora.protocol.websocket import CloseCode

LARGE = 900_000


@pytest.fixture
def protocols(monkeypatch: pytest.MonkeyPatch) -> list[WebSocketProtocol]:
    return noted_protocols(monkeypatch)


@pytest.fixture
async def raw(
    engine: Engine, protocols: list[WebSocketProtocol], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WebSocket]:
    monkeypatch.setattr("synkora.engine.transports.websocket.CLOSING_TIME", 0.05)
    async with serving_engine(engine) as address:
        async with raw_websocket(address) as raw:
            assert (await raw.text()).startswith("0{")
            yield raw
        await until(lambda: engine.registry.open_websockets == 0)


def room(protocol: WebSocketProtocol) -> int:
    """The free bytes of the parser's buffer."""
    return len(protocol._parser.get_buffer(-1))


class TestBuffers:
    @pytest.mark.parametrize(
        "behind",
        [b"", client_frame(TEXT, b"4x")[:3], client_frame(TEXT, b"4" + bytes(20_000))],
        ids=["nothing", "half a frame", "a frame"],
    )
    async def test_a_large_message_leaves_no_large_buffer(
        self, raw: WebSocket, engine: Engine, protocols: list[WebSocketProtocol], behind: bytes
    ) -> None:
        """Afterwards the buffer is as small as any other connection's, whatever part of the next message has come."""
        await raw.send(client_frame(TEXT, b"4" + b"x" * LARGE) + behind)
        assert len(await raw.text()) == LARGE + 1
        assert room(protocols[0]) <= USUAL_BUFFER
        assert not protocols[0]._is_watched

    async def test_messages_of_all_sizes_are_echoed_in_order(self, raw: WebSocket) -> None:
        """A new parser continues in the middle of a frame, too."""
        sizes = [1, 300_000, 2, 60_000, 60_001, 5, 28_672, 16_384, 900_000, 900_000, 130, 57_344, 57_345, 3]
        frames = b"".join(client_frame(TEXT, b"4" + b"%c" % (97 + i) * size) for i, size in enumerate(sizes))
        reading = asyncio.ensure_future(_texts(raw, len(sizes)))
        for start in range(0, len(frames), 70_001):
            await raw.send(frames[start : start + 70_001])
        assert await reading == ["4" + chr(97 + i) * size for i, size in enumerate(sizes)]

    async def test_a_flood_of_small_frames_makes_no_large_buffer(
        self, raw: WebSocket, engine: Engine, protocols: list[WebSocketProtocol]
    ) -> None:
        """Each read is limited, however much has come."""
        number = 40 * MAX_READ // 8
        await raw.send(client_frame(TEXT, b"4x") * number)
        await until(lambda: len(engine.recorders[0].messages) == number)
        assert room(protocols[0]) <= USUAL_BUFFER

    async def test_a_large_frame_that_never_ends(self, raw: WebSocket, engine: Engine) -> None:
        """It has the timeout of a fragmented message."""
        engine.registry.partial_messages.length = 0.1
        await raw.send(client_frame(TEXT, b"4" + bytes(LARGE))[:-1])
        assert await raw.closed() == (CloseCode.PROTOCOL_ERROR, "a message was begun and not completed")

    async def test_a_large_frame_that_ends_is_not_timed(self, raw: WebSocket, engine: Engine) -> None:
        await raw.send(client_frame(TEXT, b"4" + bytes(LARGE)))
        await raw.text()
        assert not len(engine.registry.partial_messages)

    async def test_more_than_a_session_may_send_is_not_read(
        self, raw: WebSocket, engine: Engine, protocols: list[WebSocketProtocol]
    ) -> None:
        """A message above the limit of this stage is refused before it is complete."""
        engine.recorders[0].session.max_message = 65_536
        await raw.send(client_frame(TEXT, b"4" + bytes(LARGE))[: LARGE // 2])
        assert (await raw.closed()).code == CloseCode.TOO_BIG
        assert room(protocols[0]) <= USUAL_BUFFER
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]

    async def test_fragments_before_that_are_not_kept_either(self, raw: WebSocket, engine: Engine) -> None:
        engine.recorders[0].session.max_message = 65_536
        part = client_frame(CONTINUATION, bytes(10_000), fin=False)
        await raw.send(client_frame(TEXT, b"4", fin=False) + part * 7)
        assert (await raw.closed()).code == CloseCode.TOO_BIG


async def _texts(raw: WebSocket, number: int) -> list[str]:
    return [await raw.text() for _ in range(number)]


FLOODS = {
    "pings": client_frame(PING, bytes(125)),
    "pongs": client_frame(PONG),
    "noops": client_frame(TEXT, b"6"),
    "pongs of Engine.IO": client_frame(TEXT, b"3"),
    "empty fragments": client_frame(CONTINUATION, b"", fin=False),
    "tiny fragments": client_frame(CONTINUATION, b"x" * (SMALL - 1), fin=False),
}


class TestFloods:
    @pytest.mark.parametrize("flood", FLOODS)
    async def test_frames_without_use_end_the_connection(self, raw: WebSocket, engine: Engine, flood: str) -> None:
        """Hundreds in a burst are accepted. More lead to a disconnect, and are counted."""
        if "fragments" in flood:
            await raw.send(client_frame(TEXT, b"4" + bytes(SMALL), fin=False))
        try:
            await raw.send(*[FLOODS[flood]] * 43_000)
            closed = await raw.closed()
        except ConnectionError:
            closed = await raw.closed()
        assert closed.code in (CloseCode.POLICY_VIOLATION, None)  # a client that still writes may miss it
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]
        tallies = engine.registry.incidents.take()
        assert [(tally.kind, tally.times) for tally in tallies] == [("flooding client cut off", 1)]

    @pytest.mark.parametrize("flood", FLOODS)
    async def test_a_burst_is_accepted(self, raw: WebSocket, engine: Engine, flood: str) -> None:
        first, last = [], [client_frame(TEXT, b"4end")]
        if "fragments" in flood:
            first, last = [client_frame(TEXT, b"4" + bytes(SMALL), fin=False)], [client_frame(CONTINUATION, b"end")]
        await raw.send(*first, *[FLOODS[flood]] * OVERHEAD_BURST, *last)
        await until(lambda: engine.recorders[0].messages)
        assert engine.recorders[0].messages[0].endswith(b"end")

    async def test_large_fragments_are_as_many_as_their_bytes(self, raw: WebSocket, engine: Engine) -> None:
        """A fragmented message is limited by its size, not by its number of fragments."""
        part = client_frame(CONTINUATION, b"x" * SMALL, fin=False)
        await raw.send(client_frame(TEXT, b"4", fin=False), part * 15_000, client_frame(CONTINUATION, b"end"))
        await until(lambda: engine.recorders[0].messages)
        assert engine.recorders[0].messages == [b"x" * SMALL * 15_000 + b"end"]

    async def test_a_closed_client_is_not_read_endlessly(
        self, raw: WebSocket, protocols: list[WebSocketProtocol], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Data instead of the answer to the close frame is soon no longer read."""
        monkeypatch.setattr("synkora.engine.transports.websocket.CLOSING_TIME", 60)  # so that reading ends first
        await raw.send(client_frame(TEXT, b"abc"))
        await raw.closed()
        listener = protocols[0]._listener
        assert listener is not None
        raw.writer.write(client_frame(PONG) * 20_000)
        await until(lambda: listener.has_stopped_reading)
        listener._connection.abort()  # rather than wait for CLOSING_TIME

    @pytest.mark.parametrize("packet", [b"6", b"3", b"5", b"0"])
    async def test_large_control_packets_are_refused(self, raw: WebSocket, packet: bytes) -> None:
        await raw.send(client_frame(TEXT, packet + bytes(MAX_CONTROL)))
        assert await raw.closed() == (
            CloseCode.PROTOCOL_ERROR,
            f"control packet is larger than {MAX_CONTROL} bytes",
        )


async def test_other_tasks_run_while_a_flood_is_read() -> None:
    """Each read is followed by a turn of the event loop."""
    engine = Engine()  # answers that nobody reads would end the session
    async with serving_engine(engine) as address, raw_websocket(address) as raw:
        await raw.text()
        turns = await _turns_while(raw, engine, address)
    assert turns > 20


async def _turns_while(raw: WebSocket, engine: Engine, address: Address) -> int:
    number = 100 * MAX_READ // 8
    raw.writer.write(client_frame(TEXT, b"4x") * number)
    turns = 0
    while len(engine.recorders[0].messages) < number:
        await asyncio.sleep(0)
        turns += bool(engine.recorders[0].messages)
    return turns
