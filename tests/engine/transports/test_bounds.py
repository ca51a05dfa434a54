"""WebSocket messages that never end, sessions that are never polled, and what is counted of them."""

from collections.abc import AsyncIterator

import pytest
from tests.support.clients import Polling
from tests.support.frames import TEXT, RawWebSocket, client_frame, raw_websocket
from tests.support.servers import Address, Engine, serving_engine, until

from synkora.engine.disconnect import Reason
from synkora.engine.origins import Origins
from synkora.protocol.websocket import CloseCode


@pytest.fixture
def engine() -> Engine:
    return Engine(origins=Origins(["https://app.example.com"]))


@pytest.fixture
async def address(engine: Engine) -> AsyncIterator[Address]:
    async with serving_engine(engine) as address:
        yield address


@pytest.fixture
async def raw(address: Address) -> AsyncIterator[RawWebSocket]:
    async with raw_websocket(address) as raw:
        assert (await raw.text()).startswith("0{")
        yield raw


async def test_fragments_that_never_end(engine: Engine, raw: RawWebSocket) -> None:
    """A message whose rest does not come in time ends the connection."""
    engine.registry.incomplete.length = 0.1
    await raw.send(client_frame(TEXT, b"4", fin=False))
    closed = await raw.closed()
    assert closed == (CloseCode.PROTOCOL_ERROR, "a message was begun and not completed")
    assert engine.recorders[0].reasons == [Reason.PARSE_ERROR]


async def test_a_client_that_leaves_in_the_middle_is_not_waited_for(engine: Engine, address: Address) -> None:
    """Its deadline goes with it."""
    async with raw_websocket(address) as raw:
        await raw.send(client_frame(TEXT, b"4", fin=False))
        await until(lambda: len(engine.registry.incomplete))
    await until(lambda: not len(engine.registry.incomplete))


@pytest.mark.parametrize("requests", [1, 20])
async def test_a_session_that_is_never_polled_ends(requests: int) -> None:
    """It gets its ping like any other, and nobody answers."""
    engine = Engine(ping_interval=0.5, ping_timeout=0.5)
    async with serving_engine(engine) as address, Polling(address) as polling:
        for _ in range(requests):
            await polling.open()
        assert len(engine.registry) == requests
        await until(lambda: not len(engine.registry))
        assert [recorder.reasons for recorder in engine.recorders] == [[Reason.PING_TIMEOUT]] * requests


async def test_refusals_are_counted(engine: Engine, address: Address) -> None:
    """Foreign pages by their origin, other requests by what is wrong with them; the client's own data is not in it."""
    async with Polling(address, {"Origin": "https://evil.example"}) as foreign, Polling(address) as polling:
        assert (await foreign.http.get(address.url())).status_code == 403
        for _ in range(2):
            assert (await polling.http.get(address.url(sid="s3cret"))).status_code == 400
    counted = [(tally.kind, tally.times, tally.label) for tally in engine.registry.incidents.take()]
    label = f"https://evil.example (for the Host {address.http.partition('//')[2]}, which a proxy may have replaced)"
    assert counted == [("request refused", 2, "Session ID unknown"), ("origin refused", 1, label)]
