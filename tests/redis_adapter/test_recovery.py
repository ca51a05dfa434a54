"""Recovery over Redis: clients that return to any of several servers."""

import asyncio

import pytest
from tests.redis_adapter.returning import Page, got, joined, link_of, restore_from_the_start
from tests.support.page import Page as LocalPage
from tests.support.page import recovery_of, without_offsets
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora import Socket, SocketServer
from synkora.engine.close_reasons import Reason
from synkora.engine.session import State
from synkora.redis_adapter.session_store import RedisSessions
from synkora.sockets.packets import Draft


async def test_all_get_one_order(servers: list[SocketServer]) -> None:
    """Also the members on the sender's server, in the order of Redis."""
    pages = [await joined(server) for server in servers for _ in range(2)]
    for number in range(20):
        servers[number % 2].to("r").emit("n", number)
    orders = [await got(page, 20) for page in pages]
    assert sorted(orders[0]) == [["n", number] for number in range(20)]
    assert all(order == orders[0] for order in orders)


async def test_a_room_that_is_left_and_joined_again_is_not_read(
    redis: RedisServer, servers: list[SocketServer], page: Page
) -> None:
    """However much another client has sent to it meanwhile: Redis says only which event was the last."""
    page.emit("leave", "r")
    await page.read()
    for _ in range(3):
        servers[1].to("r").emit("large", "x" * 900_000)
    await servers[1].everyone.fetch_sockets()
    redis.do("CONFIG", "RESETSTAT")
    page.emit("join", "r")
    await servers[0].everyone.fetch_sockets()
    assert b"cmdstat_xrange" not in redis.do("INFO", "commandstats")
    servers[1].to("r").emit("n", 1)
    assert await got(page, 1) == [["n", 1]]
    await restore_from_the_start(page)
    assert await got(page, 1) == [["n", 1]]


@pytest.mark.parametrize("says", [False, True])
async def test_a_leave_with_a_join_right_behind_it_is_no_leave(
    servers: list[SocketServer], page: Page, *, says: bool
) -> None:
    """What was sent before may not have arrived. An edit of the client's own is numbered after the leave."""
    other = await joined(servers[1])
    servers[1].to("r").emit("on its way", 1)
    await got(other, 1)
    await got(page, 1)
    if says:
        page.emit("say", "r", "own")
    page.emit("leave", "r")
    page.emit("join", "r")
    await page.read()
    await servers[0].everyone.fetch_sockets()
    await restore_from_the_start(page)
    assert await got(page, 1) == [["on its way", 1]]


async def test_a_leave_with_something_missed_behind_it_is_a_leave(servers: list[SocketServer], page: Page) -> None:
    other = await joined(servers[1])
    page.emit("leave", "r")
    await servers[0].everyone.fetch_sockets()
    servers[1].to("r").emit("between", 1)
    await got(other, 1)
    page.emit("join", "r")
    await servers[0].everyone.fetch_sockets()
    servers[1].to("r").emit("after", 2)
    assert await got(page, 1) == [["after", 2]]
    await restore_from_the_start(page)
    assert await got(page, 1) == [["after", 2]]


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
