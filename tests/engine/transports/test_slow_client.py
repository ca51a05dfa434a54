"""Clients that do not read, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
from tests.support.clients import Polling, websocket
from tests.support.servers import Address, Engine, serving_engine, until
from tests.support.sessions import turn
from tests.support.wire import (
    CLOSE,
    PING,
    TEXT,
    Connection,
    WebSocket,
    client_frame,
    raw,
    raw_websocket,
    request,
    upgrade,
)
from websockets.frames import Opcode

from synkora.engine.backlog import VOLATILE_LIMIT
from synkora.engine.close_reasons import Reason
from synkora.engine.message import Message

LIMIT = 1_000_000
SIZE = 10_000
ANSWER = 30_000_000  # bytes: more than sockets hold


@pytest.fixture
def engine() -> Engine:
    return Engine(max_outbox=LIMIT)


@pytest.fixture(params=["picows", "asgi"])
async def address(request: pytest.FixtureRequest, engine: Engine) -> AsyncIterator[Address]:
    async with serving_engine(engine, portable=request.param == "asgi") as address:
        yield address


@pytest.fixture
async def slow(address: Address) -> AsyncIterator[WebSocket]:
    """A client that has read nothing after the handshake, with small buffers."""
    async with raw_websocket(address, slow=True) as slow:
        await slow.frame()
        yield slow


def numbered(number: int, *, volatile: bool = False) -> Message:
    return Message(b"%08d" % number + b"." * SIZE, volatile=volatile)


def number_of(frame: bytes) -> int:
    return int(frame[1:9])


async def stuff(engine: Engine) -> int:
    """Send until the client's buffers are full. Returns the number of messages."""
    session, count = engine.recorders[0].session, 0
    while session.transport.writable:
        session.outbox.put(numbered(count))
        count += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return count


async def test_it_loses_the_oldest_volatile_messages_and_nothing_else(slow: WebSocket, engine: Engine) -> None:
    """When it reads again, it gets everything else and the newest of the volatile ones, in order."""
    count = await stuff(engine)
    session = engine.recorders[0].session
    for number in range(count, count + 40):
        session.outbox.put(numbered(number, volatile=number % 2 == 1))
        await asyncio.sleep(0)
    session.outbox.put(Message(b"%08d" % 99_999_999))
    received: list[int] = []
    while not received or received[-1] != 99_999_999:
        received.append(number_of(bytes((await slow.frame()).data)))
    assert received == sorted(received)
    durable = [number for number in range(count + 40) if number < count or number % 2 == 0]
    assert [number for number in received if number in durable] == durable
    volatile = [number for number in received[:-1] if number not in durable]
    newest = [number for number in range(count, count + 40) if number % 2 == 1]
    assert volatile == newest[-(VOLATILE_LIMIT // SIZE) :]
    assert session.is_live


async def test_volatile_messages_alone_never_fill_its_outbox(slow: WebSocket, engine: Engine) -> None:
    """The client stays connected with any number of unread cursors."""
    await stuff(engine)
    session = engine.recorders[0].session
    for number in range(500):
        session.outbox.put(numbered(number, volatile=True))
        await asyncio.sleep(0)
    assert session.is_live
    assert session.outbox.waiting_bytes <= VOLATILE_LIMIT


async def test_above_the_limit_it_is_disconnected_and_others_lose_nothing(
    slow: WebSocket, address: Address, engine: Engine
) -> None:
    """The slow client ends with a transport error. The other one gets every message, in order."""
    async with websocket(address) as other:
        outboxes = [recorder.session.outbox for recorder in engine.recorders]
        received: list[int] = []

        async def read() -> None:
            while not received or received[-1] != 99_999_999:
                message = await other.receive()
                assert isinstance(message, str)
                received.append(number_of(message.encode()))

        reading = asyncio.create_task(read())
        count = 0
        while not engine.recorders[0].reasons:
            engine.registry.flusher.broadcast(numbered(count), outboxes, None)
            count += 1
            await asyncio.sleep(0.0005)
            assert count * SIZE < 20 * LIMIT, "the slow client was never cut off"
        engine.registry.flusher.broadcast(Message(b"%08d" % 99_999_999), outboxes[1:], None)
        await reading
        assert received == [*range(count), 99_999_999]
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]
    await until(lambda: engine.registry.open_websockets == 0)
    assert engine.recorders[0].session.outbox.is_empty


async def test_a_client_that_does_not_read_is_closed_without_waiting_for_it(slow: WebSocket, engine: Engine) -> None:
    await stuff(engine)
    engine.recorders[0].session.close(Reason.SERVER_SHUTTING_DOWN)
    await until(lambda: engine.registry.is_drained)


@pytest.mark.parametrize("address", ["picows"], indirect=True)  # an ASGI server's own WebSockets have their own limits
@pytest.mark.parametrize(
    "last", [client_frame(TEXT, b"4", masked=False), client_frame(CLOSE), b""], ids=["bad frame", "close", "the end"]
)
async def test_however_it_ends_it_is_closed_without_waiting_for_it(
    slow: WebSocket, engine: Engine, last: bytes
) -> None:
    await stuff(engine)
    if last:
        await slow.send(last)
    else:
        slow.send_end()
        await turn()
        engine.recorders[0].session.close(Reason.PING_TIMEOUT)
    await until(lambda: engine.registry.open_websockets == 0)


@asynccontextmanager
async def behind_an_unread_answer(engine: Engine) -> AsyncIterator[tuple[Connection, Address]]:
    """A connection that has read only the head of its last answer to a poll, over uvicorn's own HTTP protocol."""
    async with (
        serving_engine(engine) as address,
        Polling(address) as polling,
        raw(address, slow=True) as connection,
    ):
        session = engine.recorders[0].session
        session.outbox.count_for(None)  # as of a client that has signed in
        target = address.url(sid=polling.sid).removeprefix(address.http)
        await connection.send(request("GET", target))
        await until(lambda: session.transport.writable)
        session.outbox.put(Message(b"x" * ANSWER))
        assert "200" in await connection.head()
        yield connection, address


async def test_a_handshake_behind_an_unread_answer_leads_to_the_same_limit() -> None:
    """The event loop has reported the full write buffer before, and reports it once."""
    engine = Engine(max_outbox=2 * ANSWER)
    async with behind_an_unread_answer(engine) as (connection, address):
        await connection.send(upgrade(path=address.path))
        await until(lambda: len(engine.recorders) == 2)
        recorder, count = engine.recorders[1], 0
        recorder.session.outbox.count_for(None)
        while not recorder.reasons:
            recorder.session.outbox.put(Message(b"x" * LIMIT))
            count += 1
            await asyncio.sleep(0)
            assert count * LIMIT < 10 * ANSWER, "the slow client was never cut off"
        await until(lambda: engine.registry.open_websockets == 0)


async def test_a_handshake_behind_an_unread_answer_succeeds_if_the_client_reads() -> None:
    engine = Engine(max_outbox=2 * ANSWER)
    async with behind_an_unread_answer(engine) as (connection, address):
        await connection.send(upgrade(path=address.path))
        await until(lambda: len(engine.recorders) == 2)
        for number in range(3):
            engine.recorders[1].session.outbox.put(numbered(number))
            await asyncio.sleep(0)
        assert await connection.read(ANSWER + 1) == b"4" + b"x" * ANSWER
        client = WebSocket(connection.reader, connection.writer)
        assert (await client.response()).status == 101
        assert (await client.text()).startswith("0{")
        assert [number_of(bytes((await client.frame()).data)) for _ in range(3)] == [0, 1, 2]


async def test_a_refused_handshake_behind_an_unread_answer_keeps_no_connection() -> None:
    async with behind_an_unread_answer(Engine(max_outbox=2 * ANSWER)) as (connection, address):
        await connection.send(upgrade(path=address.path, Sec_WebSocket_Version="12"))
        client = connection.writer.get_extra_info("sockname")
        await until(lambda: client not in [held.raddr for held in psutil.Process().net_connections()])


@pytest.mark.parametrize("address", ["picows"], indirect=True)  # an ASGI server does not report pings
async def test_of_its_pings_the_newest_is_answered_when_it_reads_again(slow: WebSocket, engine: Engine) -> None:
    """Answers to all of them would wait without a limit."""
    count = await stuff(engine)
    await slow.send(*(client_frame(PING, b"%d" % number) for number in range(200)), client_frame(TEXT, b"4done"))
    await until(lambda: engine.recorders[0].messages)
    engine.recorders[0].session.send(b"last")
    frames = [await slow.frame() for _ in range(count + 2)]
    pongs = [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG]
    assert pongs == [b"199"]
    assert bytes(frames[-1].data) == b"4last"
