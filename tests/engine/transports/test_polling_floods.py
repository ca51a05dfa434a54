"""Polling payloads with very many packets."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from tests.support.calls import first_arguments
from tests.support.clients import Polling
from tests.support.clocks import Clock, clock
from tests.support.servers import Engine, most_in_one_turn, serving_engine

from synkora.engine import session
from synkora.engine.close_reasons import Reason
from synkora.engine.transports import polling_endpoint
from synkora.engine.turn_budget import TurnBudget
from synkora.protocol import engineio
from synkora.protocol.engineio import MAX_PACKETS

__all__ = ["clock"]

TIMED = [session]


async def test_other_tasks_run_while_a_large_payload_is_handled() -> None:
    """The packets of one request are handled in slices, in order, between which other clients are served."""
    engine, seen = Engine(), set()
    async with serving_engine(engine) as address, Polling(address) as client:
        (recorder,) = engine.recorders

        async def watch() -> None:
            while True:
                seen.add(len(recorder.messages))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        answer = await client.post(*(f"4{number}" for number in range(MAX_PACKETS)))
        watching.cancel()
    assert answer.status_code == 200
    assert recorder.messages == [str(number).encode() for number in range(MAX_PACKETS)]
    assert len(seen - {0, MAX_PACKETS}) >= 10


async def test_large_packets_of_a_payload_are_handled_in_turns() -> None:
    """As over WebSocket, where a read is small."""
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address) as client:
        (recorder,) = engine.recorders
        post = asyncio.create_task(client.post(*["4" + "x" * 20_000] * 40))
        assert await most_in_one_turn(lambda: len(recorder.messages), 40) == 1
        assert (await post).status_code == 200


async def test_slow_packets_of_a_payload_are_handled_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling_endpoint, "SHARE", 0.0)
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address) as client:
        (recorder,) = engine.recorders
        post = asyncio.create_task(client.post(*["4hello"] * 40))
        assert await most_in_one_turn(lambda: len(recorder.messages), 40) == 1
        assert (await post).status_code == 200


async def test_sessions_share_the_turns_in_which_their_payloads_are_handled() -> None:
    """Not each of them has a slice in each turn, if they have a budget together."""
    engine = Engine()
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Polling(address)) for _ in range(5)]
        engine.share(TurnBudget(1e-9))
        payload = [f"4{number}" for number in range(2000)]
        posts = asyncio.gather(*(client.post(*payload) for client in clients))
        received = [recorder.messages for recorder in engine.recorders]
        assert await most_in_one_turn(lambda: sum(map(len, received)), 10_000) <= 200
        assert [answer.status_code for answer in await posts] == [200] * 5
    assert received == [[str(number).encode() for number in range(2000)]] * 5


async def test_sessions_share_the_turns_in_which_their_payloads_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also up to a bad packet, which ends the session. Base64 without padding is the slowest."""
    decoded = first_arguments(monkeypatch, engineio, "decode_base64")
    engine = Engine()
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Polling(address)) for _ in range(5)]
        engine.share(TurnBudget(1e-9))
        posts = asyncio.gather(*(client.post(*["bQQ"] * 1999, "b!") for client in clients))
        assert await most_in_one_turn(lambda: len(decoded), 10_000) <= 200
        answers = [(answer.status_code, answer.json()["message"]) for answer in await posts]
    assert answers == [(400, "binary packet is not base64")] * 5
    assert [recorder.messages for recorder in engine.recorders] == [[b"A"] * 1999] * 5
    assert [recorder.reasons for recorder in engine.recorders] == [[Reason.PARSE_ERROR]] * 5


@pytest.mark.parametrize(("size", "most"), [(10, 300), (100_000, 28)])
async def test_a_post_that_is_sent_again_without_end_ends_the_session(clock: Clock, size: int, most: int) -> None:
    """Each one counts as packets without use, by its size. It is not split."""
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address) as client:
        url = f"{address.url(sid=client.sid)}&t=a"
        assert (await client.http.post(url, content=b"4hello")).status_code == 200
        for _ in range(most):
            assert (await client.http.post(url, content=b"x" * size)).status_code == 200
        refused = await client.http.post(url, content=b"x" * size)
    assert (refused.status_code, refused.json()["message"]) == (400, "too many packets without use")
    (recorder,) = engine.recorders
    assert recorder.messages == [b"hello"]
    assert recorder.reasons == [Reason.TRANSPORT_ERROR]


@pytest.mark.parametrize("packet", ["3", "4a", "b", ""])
async def test_a_payload_of_too_many_packets_ends_the_session(packet: str) -> None:
    """Before any of them is handled. No client sends as many."""
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address) as client:
        answer = await client.post(*([packet] * (MAX_PACKETS + 1)))
    assert answer.status_code == 400
    assert answer.json()["message"] == "too many packets"
    (recorder,) = engine.recorders
    assert recorder.messages == []
    assert recorder.reasons == [Reason.PARSE_ERROR]


async def test_packets_after_a_bad_packet_are_ignored() -> None:
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address) as client:
        answer = await client.post("4before", "9", *["4after"] * 5000)
    assert answer.status_code == 400
    (recorder,) = engine.recorders
    assert recorder.messages == [b"before"]
