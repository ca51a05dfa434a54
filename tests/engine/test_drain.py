"""Draining: the order and time of the ends, and late messages."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Self

import httpx
import pytest
from tests.support.clients import Polling, websocket
from tests.support.processes import PATIENCE
from tests.support.servers import Engine, serving_engine, until
from tests.support.sessions import MemoryTransport, request_of, turn

from synkora.engine.close_reasons import Reason
from synkora.engine.drain import MAX_BATCH, drain
from synkora.engine.handshake import HandshakeRefused
from synkora.engine.session import Session, State
from synkora.engine.settings import TransportName
from synkora.engine.transports.polling_endpoint import PollingEndpoint
from synkora.engine.turn_budget import TurnBudget

PARTED = Reason.SERVER_SHUTTING_DOWN


class Crowd:
    """Sessions whose clients answer the close frame immediately. `batches` are the sessions of each announcement."""

    def __init__(self, size: int) -> None:
        self.engine = Engine()
        self.registry = self.engine.registry
        self.sessions = [self.registry.open(request_of(), MemoryTransport()) for _ in range(size)]
        self.batches: list[Sequence[Session]] = []
        self.times: list[float] = []

    def tell(self, sessions: Sequence[Session]) -> None:
        loop = asyncio.get_running_loop()
        self.batches.append(sessions)
        self.times.append(loop.time())
        for session in sessions:
            assert session.state is State.OPEN
            loop.call_soon(session.transport_closed, session.transport, Reason.TRANSPORT_CLOSE)

    @property
    def order(self) -> list[Session]:
        return [session for batch in self.batches for session in batch]


async def test_each_session_ends_once_and_none_remains() -> None:
    crowd = Crowd(50)
    await drain(crowd.registry, 0.2, before_end=crowd.tell)
    await turn()  # on a busy machine the time is over before the last of them have answered
    assert Counter(crowd.order) == Counter(crowd.sessions)
    assert len(crowd.registry) == 0
    assert [recorder.reasons for recorder in crowd.engine.recorders] == [[PARTED]] * 50


async def test_they_part_in_another_order_than_they_came() -> None:
    crowd = Crowd(50)
    await drain(crowd.registry, 0, before_end=crowd.tell)
    assert crowd.order != crowd.sessions


async def test_they_part_one_after_the_other() -> None:
    """Evenly: no session ends before its share of the time, and none much later."""
    crowd = Crowd(20)
    await drain(crowd.registry, 0.4, before_end=crowd.tell)
    begun = crowd.times[0]
    pace = 0.9 * 0.4 / 20
    assert all(time - begun > number * pace - 0.01 for number, time in enumerate(crowd.times))


async def test_sessions_of_a_group_end_together() -> None:
    crowd = Crowd(30)
    groups = [crowd.sessions[:10], crowd.sessions[10:20]]
    await drain(crowd.registry, 0.1, groups, crowd.tell)
    assert sorted(map(len, crowd.batches)) == [1] * 10 + [10, 10]
    assert all(group in crowd.batches for group in groups)


async def test_a_large_group_parts_in_pieces() -> None:
    """Thousands of members must not reconnect at the same moment."""
    crowd = Crowd(2 * MAX_BATCH + 1)
    await drain(crowd.registry, 0.1, [crowd.sessions], crowd.tell)
    assert sorted(map(len, crowd.batches)) == [1, MAX_BATCH, MAX_BATCH]


async def test_new_sessions_are_refused() -> None:
    """From the first turn on. Open sessions continue."""
    crowd = Crowd(1)
    draining = asyncio.create_task(drain(crowd.registry, 3600, [], lambda _: None))
    await until(lambda: crowd.registry.is_closing)
    with pytest.raises(HandshakeRefused, match="shutting down") as refusal:
        crowd.registry.admit(request_of())
    assert refusal.value.status == 503
    draining.cancel()


async def test_an_upgrade_continues() -> None:
    """A session that is not drained yet may upgrade."""
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address) as client:
        engine.registry.stop_accepting()
        async with websocket(address, client.sid) as upgrading:
            await upgrading.send("2probe")
            assert await upgrading.receive() == "3probe"
            await upgrading.send("5", "4over WebSocket")
            await until(lambda: engine.recorders[0].messages == [b"over WebSocket"])


async def test_it_ends_without_remaining_sessions() -> None:
    crowd = Crowd(2)
    draining = asyncio.create_task(drain(crowd.registry, 3600, before_end=crowd.tell))
    await until(lambda: crowd.batches)
    for session in crowd.sessions:
        session.transport_closed(session.transport, Reason.TRANSPORT_CLOSE)
    async with asyncio.timeout(PATIENCE):
        await draining
    assert len(crowd.order) == 1


async def test_it_ends_after_its_time_with_remaining_sessions() -> None:
    """A silent client does not delay the drain."""
    crowd = Crowd(3)
    async with asyncio.timeout(PATIENCE):
        await drain(crowd.registry, 0.1)
    assert [session.state for session in crowd.sessions] == [State.DRAINING] * 3


async def test_nothing_is_sent_after_the_close_frame() -> None:
    crowd = Crowd(1)
    (session,) = crowd.sessions
    await drain(crowd.registry, 0.01)
    transport = session.transport
    assert isinstance(transport, MemoryTransport)
    before = len(transport.packets)
    session.send(b"late")
    session.close(PARTED)
    assert len(transport.packets) == before
    assert session.state is State.CLOSED
    assert crowd.engine.recorders[0].reasons == [PARTED]


async def test_messages_for_a_draining_session_do_not_accumulate() -> None:
    """Any amount is accepted, and the session ends with the drain's reason."""
    crowd = Crowd(1)
    (session,) = crowd.sessions
    flusher = crowd.registry.flusher
    await drain(crowd.registry, 0.01)
    for _ in range(3):
        session.send(b"." * crowd.registry.settings.max_outbox)
        await turn()
        assert (flusher.backlogged, session.outbox.is_empty) == (set(), True)
    assert session.state is State.DRAINING
    session.transport_closed(session.transport, Reason.TRANSPORT_CLOSE)
    assert crowd.engine.recorders[0].reasons == [PARTED]
    assert flusher.cut_off == 0
    assert not crowd.registry.incidents.totals


@pytest.mark.parametrize("name", ["polling", "websocket"])
async def test_a_draining_session_ends_with_its_first_reason(name: TransportName) -> None:
    """A later ping timeout does not change it."""
    engine = Engine()
    session = engine.registry.open(request_of(), MemoryTransport(name))
    await turn()
    session.drain(PARTED)
    assert session.state is State.DRAINING
    session.ping_timed_out()
    assert engine.recorders[0].reasons == [PARTED]


async def test_a_backlog_goes_out_before_the_end() -> None:
    """A session with more than one turn's bytes closes after its whole backlog."""
    crowd = Crowd(1)
    (session,) = crowd.sessions
    transport = session.transport
    assert isinstance(transport, MemoryTransport)
    transport.writable = False
    for number in range(100):
        session.send(b"%d" % number + b"." * 10_000)
    session.outbox.flush()
    transport.writable = True
    session.drain(PARTED)
    assert transport.parted_with is None
    assert len(transport.packets) == 101
    assert transport.closed_with == (PARTED, None)


@asynccontextmanager
async def polled() -> AsyncIterator[tuple[Engine, Polling, Session]]:
    engine = Engine()
    async with serving_engine(engine) as address, Polling(address) as client:
        yield engine, client, engine.recorders[0].session


async def test_messages_before_a_websocket_client_knows_of_the_drain_are_handled() -> None:
    """Up to its answer to the close frame, which says that the service restarts."""
    engine = Engine()
    async with serving_engine(engine) as address, websocket(address) as client:
        session = engine.recorders[0].session
        # The close frame is under way, and the client has not read it: `websockets` reads in its own task.
        session.drain(PARTED)
        await client.send("4one", "4two")
        assert await client.closed() == 1012
        await until(lambda: len(engine.registry) == 0)
    assert engine.recorders[0].messages == [b"one", b"two"]
    assert engine.recorders[0].reasons == [PARTED]


async def test_posts_before_a_polling_client_knows_of_the_drain_are_handled() -> None:
    """Until the poll after its last messages is answered with the end."""
    async with polled() as (engine, client, session):
        session.send(b"last")
        session.drain(PARTED)
        assert (await client.post("4one")).status_code == 200
        assert await client.poll() == ["4last"]
        assert (await client.post("4two")).status_code == 200
        assert await client.poll() == ["1"]
        assert (await client.post("4three")).status_code == 400
    assert engine.recorders[0].messages == [b"one", b"two"]
    assert engine.recorders[0].reasons == [PARTED]


async def test_a_poll_that_hangs_is_answered_with_the_end() -> None:
    async with polled() as (engine, client, session):
        polling = asyncio.create_task(client.poll())
        await until(lambda: session.transport.writable)
        session.drain(PARTED)
        assert await polling == ["1"]
        assert len(engine.registry) == 0


class Posting:
    """A client, without a network, whose poll hangs and whose post waits for a turn."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.budget = TurnBudget(share=0)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(PollingEndpoint(self.engine.registry)), base_url="http://127.0.0.1"
        )

    async def __aenter__(self) -> Self:
        await self.http.get("/engine.io/?EIO=4&transport=polling")
        (recorder,) = self.engine.recorders
        self.session, self.messages, self.reasons = recorder.session, recorder.messages, recorder.reasons
        self.session.budget = self.budget
        path = f"/engine.io/?EIO=4&transport=polling&sid={self.session.sid}"
        self.poll = asyncio.create_task(self.http.get(path))
        await until(lambda: self.session.transport.writable)
        self.post = asyncio.create_task(self.http.post(path, content="4one\x1e4two"))
        await until(lambda: self.budget._waiting)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.poll.cancel()
        self.post.cancel()
        await self.http.aclose()

    def let_through(self) -> None:
        self.budget.share = inf
        self.budget._begin_turn()


async def test_a_post_that_waits_for_a_turn_is_handled_before_the_end() -> None:
    async with Posting() as client:
        client.session.drain(PARTED)
        assert client.session.state is State.DRAINING
        client.let_through()
        assert (await client.post).text == "ok"
        assert (await client.poll).text == "1"
        assert client.messages == [b"one", b"two"]
        assert client.reasons == [PARTED]
        assert len(client.engine.registry) == 0


async def test_a_post_that_waits_for_a_turn_when_the_session_ends_is_refused() -> None:
    """Its packets are lost, as of a post that comes after the end."""
    async with Posting() as client:
        client.session.close(PARTED)
        assert (await client.poll).text == "1"
        client.let_through()
        assert (await client.post).status_code == 400
        assert client.messages == []


async def test_a_client_that_does_not_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would never answer: it ends immediately, as in a stop without a drain."""
    crowd = Crowd(1)
    (session,) = crowd.sessions
    transport = session.transport
    assert isinstance(transport, MemoryTransport)
    session.outbox.flush()
    transport.writable = False
    session.send(b"waiting")
    monkeypatch.setattr(transport, "send", transport.writes.append)  # as one that is about to be closed does
    session.drain(PARTED)
    assert session.state is State.CLOSED
    assert transport.packets[-1] == b"4waiting"


async def test_a_session_in_the_middle_of_its_upgrade_is_closed() -> None:
    """Its client gets its last messages and the end by either transport, as always."""
    engine = Engine()
    polling, probe = MemoryTransport("polling"), MemoryTransport()
    session = engine.registry.open(request_of(), polling)
    session.outbox.flush()
    session.probe(probe, request_of("EIO=4&transport=websocket&sid=x"))
    polling.lingers = True
    session.drain(PARTED)
    assert session.state is State.CLOSING
    assert engine.recorders[0].reasons == [PARTED]
