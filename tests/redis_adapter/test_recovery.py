"""Recovery over Redis: clients that return to any of several servers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from tests.sockets.recovering import recovering
from tests.support.page import Page as LocalPage
from tests.support.page import outcomes, recovery_of, without_offsets
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay, relaying
from tests.support.servers import until

from synkora import RedisAdapter, Socket, SocketServer
from synkora.engine.close_reasons import Reason
from synkora.engine.session import State
from synkora.recovery.ports import Incomplete, LogUnavailable, SavedSession
from synkora.redis.link import Link
from synkora.redis_adapter.adapter import RedisAdapters
from synkora.redis_adapter.session_store import RedisSessions
from synkora.sockets.packets import Draft
from synkora.sockets.socket_recovery import RecoveryOutcome


class Page(LocalPage):
    """A page whose server asks Redis before it answers."""

    async def come(self, **auth: object) -> "Page":
        await super().come(**auth)
        async with asyncio.timeout(10):
            while self.sid is None:
                await self.read()
        return self


def is_alone(server: SocketServer) -> bool:
    adapters = server._connection
    assert isinstance(adapters, RedisAdapters)
    return adapters.problem is not None


def link_of(server: SocketServer) -> Link:
    adapters = server._connection
    assert isinstance(adapters, RedisAdapters)
    return adapters._link


def session_of(server: SocketServer, page: LocalPage) -> SavedSession:
    recovery = server.of("/").sockets[page.sid or ""]._recovery
    assert recovery is not None
    assert recovery.session is not None
    return recovery.session


def server_on(url: str) -> SocketServer:
    return recovering(adapter=RedisAdapter.from_url(url))


@pytest.fixture
async def servers(redis: RedisServer) -> AsyncIterator[list[SocketServer]]:
    async with AsyncExitStack() as stack:
        servers = [server_on(redis.url) for _ in range(2)]
        for server in servers:
            server.of("/")
            await stack.enter_async_context(server.lifespan())
        yield servers


async def joined(server: SocketServer, room: str = "r") -> Page:
    page = await Page(server).come()
    page.emit("join", room)
    await page.read()
    await server.everyone.fetch_sockets()  # a round trip through Redis
    return page


@pytest.fixture
async def page(servers: list[SocketServer]) -> Page:
    return await joined(servers[0])


async def until_count(page: Page, count: int) -> None:
    async with asyncio.timeout(10):
        while len(page.events) < count:
            await page.read()


async def got(page: Page, count: int) -> list[Any]:
    """The events of a page, when there are this many."""
    await until_count(page, count)
    return without_offsets(page.events)


async def test_all_get_one_order(servers: list[SocketServer]) -> None:
    """Also the members on the sender's server, in the order of Redis."""
    pages = [await joined(server) for server in servers for _ in range(2)]
    for number in range(20):
        servers[number % 2].to("r").emit("n", number)
    orders = [await got(page, 20) for page in pages]
    assert sorted(orders[0]) == [["n", number] for number in range(20)]
    assert all(order == orders[0] for order in orders)


async def test_events_that_redis_refuses_to_keep_reach_everybody(
    redis: RedisServer, servers: list[SocketServer]
) -> None:
    """Its memory is full, or another program has written to the keys: the events come without a position."""
    ann, ben = await joined(servers[0]), await joined(servers[1])
    redis.do("CONFIG", "SET", "maxmemory", "1")
    for value in (1, "text", {"a": b"bytes"}):
        servers[0].to("r").emit("said", value)
    for page in (ann, ben):
        await until_count(page, 3)
        values = sorted(json.dumps(event[1]) for event in page.events if event[0] == "said")
        assert values == ['"text"', "1", '{"a": {"_placeholder": true, "num": 0}}']
        assert not any(event[1:] == ["text"] for event in page.events)  # the page would take it for a position


async def test_own_events_are_not_replayed(servers: list[SocketServer]) -> None:
    ann, ben = await joined(servers[0]), await joined(servers[1])
    ann.emit("say", "r", 1)
    assert await got(ben, 1) == [["said", {"value": 1}]]
    ben.emit("say", "r", 2)
    assert await got(ann, 1) == [["said", {"value": 2}]]
    assert await got(ben, 1) == [["said", {"value": 1}]]


@pytest.mark.parametrize("back", [0, 1])
async def test_fault_08_a_client_returns_to_any_server(servers: list[SocketServer], back: int, page: Page) -> None:
    """It gets the missed events before the reply, once and in order, and its old id."""
    other = await joined(servers[1])
    servers[1].to("r").emit("n", 0)
    assert await got(page, 1) == [["n", 0]]
    sid = page.sid
    await page.lose()
    for number in range(1, 10):
        servers[number % 2].to("r").emit("n", number)
    order = await got(other, 10)
    page.move_to(servers[back])
    await page.restore()
    assert page.sid == sid
    assert without_offsets(page.events) == order
    servers[0].to("r").emit("n", 10)
    assert (await got(page, 11))[-1] == ["n", 10]


async def test_fault_08_a_server_that_died_kept_its_sessions(servers: list[SocketServer], page: Page) -> None:
    """Its clients return to another server: the state was written when it changed."""
    # Its server never learns that the connection is lost.
    servers[1].to("r").emit("n", 1)
    page.move_to(servers[1])
    await page.restore()
    assert await got(page, 1) == [["n", 1]]


async def test_fault_08_a_server_that_dies_during_a_return_keeps_the_session(
    servers: list[SocketServer], page: Page
) -> None:
    """It has taken the session, and does not save it."""
    await page.lose()
    assert page.pid is not None
    assert await recovery_of(servers[1])._sessions.take(page.pid) is not None
    await page.restore()


async def test_fault_01_of_two_returns_at_the_same_time_the_later_one_counts(
    servers: list[SocketServer], page: Page
) -> None:
    """An earlier attempt waits for its handlers on another server, over a connection that only seems alive."""
    sid = page.sid
    await page.lose()
    may_go_on, arrived = asyncio.Event(), asyncio.Event()

    @servers[1].on_connect
    async def wait(socket: Socket) -> None:
        arrived.set()
        await may_go_on.wait()

    early = Page(servers[1])
    early.pid = page.pid
    coming = asyncio.create_task(early.come())
    async with asyncio.timeout(10):
        await arrived.wait()
    await page.restore()
    await until(lambda: early.session.state is State.CLOSED)
    may_go_on.set()
    coming.cancel()
    assert not servers[1].of("/").sockets
    await page.lose()
    servers[1].to("r").emit("n", 1)
    await page.restore()
    assert page.sid == sid
    assert without_offsets(page.events) == [["n", 1]]


async def test_fault_01_a_connection_that_only_seems_alive_ends(servers: list[SocketServer], page: Page) -> None:
    """On another server too. Its end does not affect the new connection."""
    page.move_to(servers[1])
    await page.restore()
    await until(lambda: not servers[0].of("/").sockets)
    servers[0].to("r").emit("n", 1)
    assert await got(page, 1) == [["n", 1]]
    await page.lose()
    page.move_to(servers[0])
    await page.restore()


async def test_a_lost_reply_does_not_cost_the_membership(servers: list[SocketServer], page: Page) -> None:
    """The client was not recovered, and does not know its new pid. It comes to another server with the old one."""
    sid = page.sid
    await page.lose()
    unheard = Page(servers[1])
    unheard.pid = page.pid
    await unheard.come(offset="other")
    await servers[1].everyone.fetch_sockets()
    await page.come(offset="other")
    assert page.sid == unheard.sid == sid
    await until(lambda: not servers[1].of("/").sockets)
    await servers[0].everyone.fetch_sockets()  # its server hears of the room
    servers[1].to("r").emit("n", 1)
    assert await got(page, 1) == [["n", 1]]


async def test_fault_09_nothing_is_lost_or_doubled_between_the_log_and_the_rooms(
    servers: list[SocketServer], page: Page
) -> None:
    """While others continue to send, on both servers."""
    other = await joined(servers[1])
    sent = 0
    stop = False

    async def write() -> None:
        nonlocal sent
        while not stop:
            servers[sent % 2].to("r").emit("n", sent)
            sent += 1
            await asyncio.sleep(0.001)

    writing = asyncio.create_task(write())
    for visit in range(20):
        await asyncio.sleep(0.01)
        await page.lose()
        page.move_to(servers[visit % 2])
        await page.restore()
    stop = True
    await writing
    expected = await got(other, sent)
    assert await got(page, sent) == expected
    assert sorted(expected) == [["n", number] for number in range(sent)]


@pytest.mark.parametrize("what", ["volatile", "nested too deeply for other servers"])
async def test_what_is_not_kept_reaches_a_client_that_returns(
    servers: list[SocketServer], page: Page, what: str
) -> None:
    """Also while its missed events are read, for example the list of users."""
    deep = Draft(b'["now",' + b"[" * 900 + b'{"_placeholder":true,"num":0}' + b"]" * 900 + b"]", (b"x",))

    def send() -> None:
        if what == "volatile":
            servers[0].to("r").volatile.emit("now", 1)
        else:
            recovery_of(servers[0]).publish(deep, ("r",))

    @servers[0].on_connect
    def greet(socket: Socket) -> None:
        if "r" in socket.rooms:
            asyncio.get_running_loop().call_soon(send)

    await page.lose()
    await page.come()
    assert page.recovered
    async with asyncio.timeout(10):
        while not page.events:
            await page.read()
    assert [name for name, *_ in page.events] == ["now"]


async def test_a_session_begins_where_it_joined(servers: list[SocketServer]) -> None:
    """Earlier events of a room are not replayed, although this server never got them."""
    other = await joined(servers[1], "p")
    for number in range(5):
        servers[1].to("p").emit("n", number)
    await got(other, 5)
    page = await joined(servers[0], "p")
    await page.lose()
    servers[1].to("p").emit("n", 5)
    await got(other, 6)
    assert await page.restore() == [["n", 5]]


async def test_clients_of_a_server_continue_without_redis(redis: RedisServer, servers: list[SocketServer]) -> None:
    """The others get the events when Redis is back, once each."""
    here, there = await joined(servers[0]), await joined(servers[1])
    redis.kill()
    await until(lambda: all(map(is_alone, servers)))
    servers[0].to("r").emit("n", 1)
    assert await got(here, 1) == [["n", 1]]
    redis.start()
    assert await got(there, 1) == [["n", 1]]
    servers[1].to("r").emit("n", 2)
    assert await got(here, 2) == [["n", 1], ["n", 2]]
    assert await got(there, 2) == [["n", 1], ["n", 2]]
    assert outcomes(servers[0]) == {}


@pytest.mark.parametrize("forgets", [False, True], ids=["Redis has kept it", "Redis has lost its memory"])
async def test_an_event_whose_reply_is_lost_comes_once(redis: RedisServer, *, forgets: bool) -> None:
    """The sender's server sends it again. All clients get it once, and other servers' events."""
    async with relaying(redis.port) as relay:
        deaf, other = server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)
        async with deaf.lifespan(), other.lifespan():
            here, there = await joined(deaf), await joined(other)
            relay.is_deaf = True
            for number in (0, 1):
                deaf.to("r").emit("n", number)
                await got(there, number + 1)
            if forgets:
                redis.do("FLUSHALL")
            other.to("r").emit("n", 2)
            await got(there, 3)
            relay.cut()
            relay.is_deaf = False
            await until(lambda: is_alone(deaf))
            await until(lambda: not is_alone(deaf))
            deaf.to("r").emit("n", 3)
            expected = [["n", number] for number in range(4)]
            assert await got(here, 4) == expected
            assert await got(there, 4) == expected


async def test_edits_behind_a_named_event_are_kept_once_if_the_replies_are_lost(redis: RedisServer) -> None:
    """All are sent again. Redis knows the first one by its name, and the others by their numbers."""
    async with relaying(redis.port) as relay:
        deaf, other = server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)
        async with deaf.lifespan(), other.lifespan():
            here, there = await joined(deaf), await joined(other)
            began = recovery_of(other).log.position
            relay.is_deaf = True
            named = recovery_of(deaf).publish_once(Draft(b'["n",0]', ()), ("r",), (), "save-1")
            publishing = asyncio.create_task(named)
            await asyncio.sleep(0)
            for number in (1, 2):
                deaf.to("r").emit("n", number)
            await got(there, 3)
            relay.cut()
            relay.is_deaf = False
            await until(lambda: is_alone(deaf))
            await until(lambda: not is_alone(deaf))
            with suppress(LogUnavailable):
                await publishing
            deaf.to("r").emit("n", 3)
            expected = [["n", number] for number in range(4)]
            assert await got(here, 4) == expected
            assert await got(there, 4) == expected
            kept = await recovery_of(other).log.read(("r",), began)
            assert not isinstance(kept, Incomplete)
            assert [json.loads(each.data) for each in kept] == expected


@asynccontextmanager
async def alone_with_events(redis: RedisServer) -> AsyncIterator[tuple[list[SocketServer], Relay, Page, Page]]:
    """Two servers with a page each. The first server has lost Redis, and then sent the events 1 and 2."""
    async with relaying(redis.port) as relay:
        servers = [server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)]
        async with servers[0].lifespan(), servers[1].lifespan():
            page, other = await joined(servers[0]), await joined(servers[1])
            servers[1].to("r").emit("n", 0)
            await got(page, 1)
            relay.is_stuck = True
            relay.cut()
            await until(lambda: is_alone(servers[0]))
            for number in (1, 2):
                servers[0].to("r").emit("n", number)
            await got(page, 3)
            yield servers, relay, page, other


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "after an event of another server"])
async def test_an_event_that_came_without_redis_is_not_replayed(redis: RedisServer, back: int, *, later: bool) -> None:
    """It has a place in the log after the position that the client has. What others sent meanwhile is replayed."""
    async with alone_with_events(redis) as (servers, relay, page, other):
        if not later:
            await page.lose()
        servers[1].to("r").emit("n", 3)
        relay.is_stuck = False
        await got(other, 4)
        if later:
            await got(page, 4)
            await page.lose()
        servers[0].to("r").emit("n", 4)
        await got(other, 5)
        page.move_to(servers[back])
        await page.restore()
        assert await got(page, 5) == [["n", number] for number in range(5)]


@pytest.mark.parametrize("back", [0, 1])
async def test_an_event_that_came_without_redis_is_not_replayed_at_a_second_return(
    redis: RedisServer, back: int
) -> None:
    """The connection is lost again before another event comes: the position of the replay has the event, too."""
    async with alone_with_events(redis) as (servers, relay, page, other):
        await page.lose()
        servers[1].to("r").emit("n", 3)
        await got(other, 2)
        relay.is_stuck = False
        await got(other, 4)
        await until(lambda: not is_alone(servers[0]))
        page.move_to(servers[back])
        for _ in range(2):
            await page.restore()
            assert await got(page, 4) == [["n", number] for number in range(4)]
            await page.lose()


async def test_a_client_that_came_while_its_server_sent_what_had_waited_gets_nothing_older(redis: RedisServer) -> None:
    """What had waited gets its place in the log after the client has come, but was sent before."""
    async with relaying(redis.port) as relay:
        servers = [server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)]
        async with servers[0].lifespan(), servers[1].lifespan():
            page, other = await joined(servers[0]), await joined(servers[1])
            relay.is_stuck = True
            relay.cut()
            await until(lambda: is_alone(servers[0]))
            for number in range(2000):  # more than is sent at once
                servers[0].to("r").emit("n", number)
            await got(page, 2000)
            relay.upload_rate = 2_000_000
            relay.is_stuck = False
            await until(lambda: not is_alone(servers[0]))
            late = await joined(servers[0])
            assert recovery_of(servers[0]).log.kept_bytes > 0
            await late.lose()
            relay.upload_rate = 0
            await got(other, 2000)
            assert await late.restore() == []


async def test_while_redis_is_away_a_client_returns_without_a_replay(
    redis: RedisServer, servers: list[SocketServer], page: Page
) -> None:
    """Without the log, no client is recovered."""
    redis.kill()
    await until(lambda: is_alone(servers[0]))
    await page.lose()
    await page.come()
    assert not page.recovered
    assert outcomes(servers[0]) == {RecoveryOutcome.UNKNOWN: 1}


@pytest.mark.parametrize("heard", [True, False], ids=["with an event of it", "without an event of it"])
async def test_a_client_continues_in_a_log_that_has_begun_again(
    redis: RedisServer, servers: list[SocketServer], heard: bool
) -> None:
    """Redis lost its memory while the client was connected. It is recovered if it got an event of the new log."""
    page, other = await joined(servers[0]), await joined(servers[1])
    for number in range(5):
        servers[1].to("r").emit("n", number)
    await got(page, 5)
    redis.kill()
    await until(lambda: all(map(is_alone, servers)))
    redis.start()
    await until(lambda: not any(map(is_alone, servers)))
    sid = page.sid
    if heard:
        servers[1].to("r").emit("n", 5)
        await got(page, 6)
    await page.lose()
    servers[1].to("r").emit("n", 6)
    await got(other, 6 + heard)
    page.move_to(servers[1])
    await page.come()
    assert page.sid == sid
    assert page.recovered == heard
    assert without_offsets(page.events)[5:] == ([["n", 5], ["n", 6]] if heard else [])


async def test_a_client_that_comes_as_the_first_of_a_log_that_has_begun_again_is_recovered(
    redis: RedisServer, servers: list[SocketServer]
) -> None:
    """Its session begins in the new log before its server knows of it."""
    await joined(servers[1])
    redis.do("FLUSHALL")
    page = await joined(servers[0])
    await until(lambda: recovery_of(servers[0]).log.epoch != session_of(servers[0], page).began.epoch)
    servers[1].to("r").emit("n", 0)
    await got(page, 1)
    await page.lose()
    servers[1].to("r").emit("n", 1)
    assert await page.restore() == [["n", 0], ["n", 1]]


async def test_a_session_starts_before_events_sent_while_its_position_is_read(servers: list[SocketServer]) -> None:
    """A client that loses its connection immediately misses no event."""
    for number in range(20):
        page = await Page(servers[0]).come()
        page.emit("join", f"room {number}")
        servers[1].to(f"room {number}").emit("n", 0)
        servers[0].to(f"room {number}").emit("n", 1)
        await servers[0].everyone.fetch_sockets()
        reached = len(page.packets) - 2
        page.session.transport_closed(page.transport, Reason.TRANSPORT_CLOSE)  # what was sent is lost
        await page.restore()
        assert len(page.events) >= reached
        assert ["n", 1] in without_offsets(page.events)


@pytest.mark.parametrize("back", [0, 1])
async def test_fault_01_a_server_that_was_away_from_redis_learns_that_a_client_has_moved(
    redis: RedisServer, back: int
) -> None:
    """The client has lost its connection unnoticed, and joins a room on the other server, where it loses it again."""
    async with relaying(redis.port) as relay:
        servers = [server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)]
        async with servers[0].lifespan(), servers[1].lifespan():
            page = await joined(servers[0])
            relay.is_stuck = True
            relay.cut()
            await until(lambda: is_alone(servers[0]))
            page.move_to(servers[1])
            await page.restore()
            page.emit("join", "s")
            await page.read()
            await servers[1].everyone.fetch_sockets()
            relay.is_stuck = False
            await until(lambda: not is_alone(servers[0]))
            await servers[0].everyone.fetch_sockets()
            servers[1].to("s").emit("n", 1)
            page.move_to(servers[back])
            await page.come()
            assert page.recovered
            assert await got(page, 1) == [["n", 1]]
            await until(lambda: not servers[1 - back].of("/").sockets)
            assert [*servers[back].of("/").sockets] == [page.sid]


@pytest.mark.parametrize("back", [0, 1])
async def test_fault_02_a_session_that_another_user_has_asked_for_is_a_lost_one(
    redis: RedisServer, servers: list[SocketServer], back: int
) -> None:
    """Of a client on another server, whose connection has ended. The client returns with what it missed."""
    page = await Page(servers[0]).come(user="ann")
    page.emit("join", "r")
    await page.read()
    here = recovery_of(servers[0])._sessions
    assert isinstance(here, RedisSessions)
    await until(lambda: not here._unsaved and not here._sent)  # Redis has the session
    other = Page(servers[1])
    other.pid = page.pid
    await other.come(user="bob")
    assert not other.recovered
    assert other.sid != page.sid
    await until(lambda: not servers[0].of("/").sockets)
    sessions = recovery_of(servers[1])._sessions
    assert isinstance(sessions, RedisSessions)
    assert [*sessions._connected] == [other.pid]
    assert redis.do("ZRANGE", f"{sessions._prefix}times", 0, -1) == [(page.pid or "").encode()]
    servers[1].to("r").emit("n", 1)
    page.move_to(servers[back])
    assert await page.restore(user="ann") == [["n", 1]]


async def test_a_session_whose_client_goes_while_it_is_taken_is_a_lost_one(
    redis: RedisServer, servers: list[SocketServer], page: Page
) -> None:
    """The client was connected to another server, where its connection has ended."""
    redis.pause()
    returning = LocalPage(servers[1])
    returning.pid = page.pid
    await returning.come()
    await returning.lose()
    redis.resume()
    await until(lambda: not servers[0].of("/").sockets)
    sessions = recovery_of(servers[1])._sessions
    assert isinstance(sessions, RedisSessions)
    await until(lambda: redis.do("ZCARD", f"{sessions._prefix}times") == 1)
    assert sessions._connected == {}
    await page.restore()


async def test_a_client_cannot_stop_the_log_by_the_name_of_a_room(servers: list[SocketServer], page: Page) -> None:
    """Half of a surrogate pair cannot be written to Redis. The join is refused, and changes nothing."""
    ends: list[str] = []
    servers[0].on_disconnect(lambda socket, reason: ends.append(socket.id))
    guest = await joined(servers[0])
    guest.emit("join", "\ud800")
    (refusal,) = await guest.read()
    assert refusal[:2] == ["error", {"message": "Internal server error", "event": "join"}]
    assert servers[0].of("/").sockets[str(guest.sid)].rooms == {guest.sid, "r"}
    link = link_of(servers[0])
    assert link._up is not None
    link._up.end("the test ends the connection")
    await until(lambda: link.is_up)
    servers[0].to("r").emit("n", 1)
    servers[1].to("r").emit("n", 2)
    assert sorted(await got(page, 2)) == [["n", 1], ["n", 2]]
    await guest.lose()
    assert ends == [guest.sid]
    assert list(servers[0].of("/").sockets) == [page.sid]
    await page.lose()
    assert ends == [guest.sid, page.sid]
