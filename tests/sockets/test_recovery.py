"""Clients that return after a lost connection: which events they get.

The numbers of faults are those of `docs/recovery.md`.
"""

import asyncio
import json
import re
import tracemalloc
from typing import Any

import pytest
from tests.support.page import Page, outcomes, recovery_of, without_offsets
from tests.support.sessions import MemoryTransport, request_of, turn

from synkora import ConnectRefused, Namespace, Socket, SocketServer
from synkora.engine.close_reasons import Reason
from synkora.engine.session import Session
from synkora.recovery.memory import MemorySessions
from synkora.recovery.settings import RecoverySettings
from synkora.sockets.recovery import RecoveryOutcome

OFFSET = r'"[0-9a-z]+\.[0-9a-f]+"'
SMALL = RecoverySettings(room_events=5, replay_events=3, replay_bytes=2000)


def recovering(recovery: bool | RecoverySettings = True, **options: Any) -> SocketServer:
    """A server whose clients join the rooms that they name, and may have a user."""
    server = SocketServer(recovery=recovery, **options)

    @server.use
    def sign_in(socket: Socket, auth: dict[str, Any]) -> None:
        if auth.get("token") == "bad":
            raise ConnectRefused("no")
        socket.identity = auth.get("user", "")

    server.on("join", lambda socket, room: socket.join(room))
    server.on("leave", lambda socket, room: socket.leave(room))
    server.on("say", lambda socket, room, value: socket.to(room).emit("said", {"value": value}))
    return server


@pytest.fixture
def server() -> SocketServer:
    return recovering()


async def joined(server: SocketServer, room: str = "r", **auth: object) -> Page:
    page = await Page(server).come(**auth)
    page.emit("join", room)
    await page.read()
    return page


class TestWire:
    async def test_the_reply_carries_a_pid_of_its_own(self, server: SocketServer) -> None:
        one, two = await Page(server).come(), await Page(server).come()
        assert re.fullmatch(r'40\{"sid":"[\w-]{20}","pid":"[\w-]{20}"\}', one.packets[-1])
        assert len({one.pid, one.sid, two.pid, two.sid}) == 4

    async def test_an_event_ends_with_its_position(self, server: SocketServer) -> None:
        """Also one without arguments, to one socket, and with attachments."""
        page = await joined(server)
        server.to("r").emit("foo", {"a": 1})
        server.emit("none")
        server.in_("r").emit("bin", b"\x01")
        server.of("/").sockets[page.sid or ""].emit("own", 1)
        await page.read()
        foo, none, binary, own = page.packets[-4:]
        assert re.fullmatch(rf'42\["foo",\{{"a":1\}},{OFFSET}\]', foo)
        assert re.fullmatch(rf'42\["none",{OFFSET}\]', none)
        assert re.fullmatch(rf'451-\["bin",\{{"_placeholder":true,"num":0\}},{OFFSET}\]', binary)
        assert re.fullmatch(rf'42\["own",1,{OFFSET}\]', own)

    async def test_positions_grow(self, server: SocketServer) -> None:
        page = await joined(server)
        for value in range(20):
            server.to("r").emit("n", value)
        events = await page.read()
        numbers = [int(event[-1].partition(".")[2], 16) for event in events]
        assert numbers == sorted(set(numbers))

    async def test_events_that_are_not_kept_have_no_position(self, server: SocketServer) -> None:
        """Volatile events, those with an ack, and those only for this server's sockets."""
        page = await joined(server)
        socket = server.of("/").sockets[page.sid or ""]
        server.to("r").volatile.emit("cursor", {"x": 1})
        server.local.emit("here", 1)
        call = asyncio.ensure_future(socket.call("question", "text", timeout=0.01))
        await page.read()
        assert page.packets[-3:] == ['42["cursor",{"x":1}]', '42["here",1]', '420["question","text"]']
        with pytest.raises(TimeoutError):
            await call

    async def test_without_recovery_nothing_changes(self) -> None:
        server = recovering(recovery=False)
        page = await joined(server)
        server.to("r").emit("foo", "text")
        await page.read()
        assert re.fullmatch(r'40\{"sid":"[\w-]{20}"\}', page.packets[-2])
        assert page.packets[-1] == '42["foo","text"]'
        page.pid = "some"
        assert (await page.come()).recovered is False

    async def test_a_namespace_may_be_left_out(self) -> None:
        server = SocketServer(recovery=True)
        server.add(Namespace("/", recovery=False))
        page = await Page(server).come()
        server.emit("foo", "text")
        await page.read()
        assert page.pid is None
        assert page.packets[-1] == '42["foo","text"]'

    def test_other_values_are_refused(self) -> None:
        with pytest.raises(TypeError, match="recovery is True"):
            SocketServer(recovery=120)  # type: ignore[arg-type]


class TestReturning:
    async def test_missed_events_come_before_the_reply(self, server: SocketServer) -> None:
        page = await joined(server)
        sid, pid = page.sid, page.pid
        server.to("r").emit("seen", 0)
        await page.lose()
        server.to("r").emit("missed", 1)
        server.to("other").emit("not for it", 2)
        server.emit("missed", 3)
        await page.restore()
        assert (page.sid, page.pid) == (sid, pid)
        kinds = [packet[:2] for packet in page.packets]
        assert kinds == ["0{", "42", "42", "40"]
        assert without_offsets(page.events) == [["seen", 0], ["missed", 1], ["missed", 3]]
        assert outcomes(server) == {RecoveryOutcome.RECOVERED: 1}

    async def test_it_continues_afterwards(self, server: SocketServer) -> None:
        """In its rooms, once each, however often it returns."""
        page = await joined(server)
        for number in range(5):
            await page.lose()
            server.to("r").emit("n", 2 * number)
            await page.restore()
            server.to("r").emit("n", 2 * number + 1)
            await page.read()
        assert without_offsets(page.events) == [["n", number] for number in range(10)]

    async def test_a_lost_replay_is_repeated(self, server: SocketServer) -> None:
        """The client's offset counts, not what the server has sent."""
        page = await joined(server)
        await page.lose()
        server.to("r").emit("missed", 1)
        unheard = Page(server)
        unheard.pid = page.pid
        await unheard.come()  # everything that is sent to it is lost
        unheard.session.transport_closed(unheard.transport, Reason.TRANSPORT_CLOSE)
        assert await page.come() is page
        assert page.recovered
        assert without_offsets(page.events) == [["missed", 1]]

    async def test_handlers_run_again_and_see_it(self, server: SocketServer) -> None:
        seen: list[tuple[str, bool, frozenset[str]]] = []

        @server.on_connect
        def welcome(socket: Socket, auth: dict[str, Any]) -> None:
            seen.append((socket.id, socket.recovered, socket.rooms))
            socket.emit("welcome", auth)

        page = await joined(server)
        await page.lose()
        await page.come(name="again")
        assert seen == [
            (page.sid, False, frozenset((page.sid,))),
            (page.sid, True, frozenset((page.sid, "r"))),
        ]
        welcomes = [event[:2] for event in page.events]
        assert welcomes == [["welcome", {}], ["welcome", {"name": "again"}]]  # and no pid in it

    async def test_own_events_do_not_return(self, server: SocketServer) -> None:
        one, two = await joined(server), await joined(server)
        one.emit("say", "r", "mine")
        await one.lose()
        two.emit("say", "r", "theirs")
        await one.come()
        assert without_offsets(one.events) == [["said", {"value": "theirs"}]]

    async def test_a_room_is_read_from_where_it_was_joined(self, server: SocketServer) -> None:
        """Earlier events are not the client's, although it has no later offset."""
        page = await joined(server, "a")
        server.to("b").emit("before", 1)
        page.emit("join", "b")
        await page.lose()
        server.to("b").emit("after", 2)
        assert await page.restore() == [["after", 2]]

    async def test_a_leave_with_a_join_right_behind_it_is_no_leave(self, server: SocketServer) -> None:
        """Earlier events may not have arrived: they are not lost with the membership."""
        page = await joined(server)
        offset = page.offset
        server.to("r").emit("on its way", 1)
        page.emit("leave", "r")
        server.to("other").emit("between", 2)
        page.emit("join", "r")
        await page.lose()
        page.events, page.offset = [], offset
        assert await page.restore() == [["on its way", 1]]

    async def test_a_leave_with_something_missed_behind_it_is_a_leave(self, server: SocketServer) -> None:
        page = await joined(server)
        page.emit("leave", "r")
        server.to("r").emit("between", 1)
        page.emit("join", "r")
        server.to("r").emit("after", 2)
        await page.lose()
        page.events, page.offset = [], None
        await page.come()
        assert without_offsets(page.events) == [["after", 2]]

    async def test_rooms_that_were_left_do_not_return(self, server: SocketServer) -> None:
        page = await joined(server, "a")
        page.emit("join", "b")
        page.emit("leave", "a")
        await page.lose()
        server.to("a").emit("left", 1)
        server.to("b").emit("stayed", 2)
        await page.come()
        assert without_offsets(page.events) == [["stayed", 2]]

    async def test_the_handler_of_connect_can_leave_rooms_before_the_replay(self, server: SocketServer) -> None:
        @server.on_connect
        async def welcome(socket: Socket, _: dict[str, Any]) -> None:
            await asyncio.sleep(0)
            socket.leave("b")

        page = await joined(server, "a")
        page.emit("join", "b")
        await page.lose()
        server.to("a").emit("n", 1)
        server.to("b").emit("n", 2)
        assert await page.restore() == [["n", 1]]
        server.to("b").emit("n", 3)
        assert await page.read() == []

    async def test_events_during_a_slow_return_come_once(self, server: SocketServer) -> None:
        gate = asyncio.Event()

        @server.on_connect
        async def welcome(socket: Socket, _: dict[str, Any]) -> None:
            socket.emit("welcome", socket.recovered)
            if socket.recovered:
                await gate.wait()

        page = await joined(server)
        await page.lose()
        server.to("r").emit("n", 1)
        await page.come()
        server.to("r").emit("n", 2)
        gate.set()
        await page.read()
        assert without_offsets(page.events) == [["welcome", False], ["n", 1], ["n", 2], ["welcome", True]]

    @pytest.mark.parametrize("reason", ["close", "parse error"])
    async def test_a_client_that_left_does_not_return(self, server: SocketServer, reason: str) -> None:
        page = await joined(server)
        page.send("41" if reason == "close" else "4x")
        await page.lose()
        await page.come()
        assert page.recovered is False
        assert page.sid is not None
        server.to("r").emit("n", 1)
        assert await page.read() == []
        assert outcomes(server) == {RecoveryOutcome.UNKNOWN: 1}

    @pytest.mark.parametrize("reason", [Reason.PING_TIMEOUT, Reason.TRANSPORT_ERROR, Reason.SERVER_SHUTTING_DOWN])
    async def test_a_lost_client_does(self, server: SocketServer, reason: Reason) -> None:
        page = await joined(server)
        page.session.close(reason)
        await page.restore()


class TestIncomplete:
    @pytest.mark.parametrize("offset", ["of the future", "nothing that is an offset", {"an": "object"}])
    async def test_a_position_of_elsewhere(self, server: SocketServer, offset: object) -> None:
        """Membership is restored. The client gets a new pid."""
        page = await joined(server)
        sid, pid = page.sid, page.pid
        await page.lose()
        server.to("r").emit("missed", 1)
        recovery = recovery_of(server)
        future = f"{recovery.log.position.epoch}.ff"
        await page.come(offset=future if offset == "of the future" else offset)
        assert page.recovered is False
        assert page.sid == sid
        assert page.pid not in (None, pid)
        assert page.events == []
        server.to("r").emit("next", 2)
        assert without_offsets(await page.read()) == [["next", 2]]

    async def test_a_new_session_with_an_old_offset_begins_where_it_began(self) -> None:
        """A client whose recovery failed keeps its offset."""
        server = recovering(SMALL)
        page = await joined(server)
        server.to("r").emit("n", 0)
        await page.lose()
        for number in range(1, 5):
            server.to("r").emit("n", number)
        await page.come()
        await page.lose()
        server.to("r").emit("n", 5)
        await page.come()
        assert outcomes(server) == {RecoveryOutcome.TOO_MANY: 1, RecoveryOutcome.RECOVERED: 1}
        assert without_offsets(page.events) == [["n", 0], ["n", 5]]

    @pytest.mark.parametrize("half_open", [True, False])
    async def test_a_lost_reply_does_not_cost_the_membership(self, server: SocketServer, *, half_open: bool) -> None:
        """The client comes again with the pid that it knows."""
        page = await joined(server)
        sid = page.sid
        await page.lose()
        for _ in range(3):
            unheard = Page(server)
            unheard.pid = page.pid
            await unheard.come(offset="other")
            assert unheard.sid == sid
            assert unheard.pid != page.pid
            if not half_open:
                await unheard.lose()
        await page.come(offset="other")
        assert page.sid == sid
        server.to("r").emit("n", 1)
        await page.read()
        assert without_offsets(page.events) == [["n", 1]]
        assert outcomes(server) == {RecoveryOutcome.EPOCH: 4}
        recovery = recovery_of(server)
        assert isinstance(recovery._sessions, MemorySessions)
        assert len(recovery._sessions) == 2  # the one that it has, and the one by the pid that may still be needed

    @pytest.mark.parametrize("shown_by", ["a join", "a disconnect"])
    async def test_the_old_pid_is_used_up_when_the_client_has_the_new_one(
        self, server: SocketServer, shown_by: str
    ) -> None:
        page = await joined(server)
        old = page.pid
        await page.lose()
        await page.come(offset="other")
        if shown_by == "a join":
            page.emit("join", "s")
        else:
            page.send("41")
        await page.read()
        thief = Page(server)
        thief.pid = old
        await thief.come()
        assert thief.sid != page.sid
        assert outcomes(server)[RecoveryOutcome.UNKNOWN] == 1


async def test_fault_01_a_half_open_connection_is_taken_over(server: SocketServer) -> None:
    """The client returns before the server has noticed. The old connection's end changes nothing afterwards."""
    ends: list[tuple[str, str]] = []
    server.on_disconnect(lambda socket, reason: ends.append((socket.id, reason)))
    page = await joined(server)
    sid, old, transport = page.sid, page.session, page.transport
    server.to("r").emit("n", 1)
    await page.read()
    await page.restore()
    assert page.sid == sid
    assert ends == [(sid, "transport close")]
    assert not old.is_live
    written = len(transport.writes)
    old.ping_timed_out()
    old.transport_closed(transport, Reason.PING_TIMEOUT)
    server.to("r").emit("n", 2)
    await page.read()
    assert without_offsets(page.events) == [["n", 1], ["n", 2]]
    assert len(transport.writes) == written
    assert list(server.of("/").sockets) == [sid]
    await page.lose()
    await page.restore()


async def test_fault_01_a_return_that_is_still_decided_is_taken_over(server: SocketServer) -> None:
    """The second attempt gets the session, although the first one waits for the application."""
    gate = asyncio.Event()

    @server.on_connect
    async def welcome(socket: Socket, _: dict[str, Any]) -> None:
        if socket.recovered and not gate.is_set():
            await gate.wait()

    page = await joined(server)
    await page.lose()
    server.to("r").emit("n", 1)
    await page.come()
    first = page.session
    gate.set()
    await page.restore()
    assert not first.is_live
    assert without_offsets(page.events) == [["n", 1]]
    assert len(server.of("/").sockets) == 1


@pytest.mark.parametrize("way", ["another user", "a refused token", "a kicked client"])
async def test_fault_02_a_pid_is_no_way_in(server: SocketServer, way: str) -> None:
    """Middleware decides on each return, the user must be the same, and a disconnected client is a new one."""
    page = await joined(server, user="ann")
    pid = page.pid
    if way == "a kicked client":
        server.of("/").sockets[page.sid or ""].disconnect()
    await page.lose()
    server.to("r").emit("secret", 1)
    auth = {"another user": {"user": "bob"}, "a refused token": {"token": "bad"}}.get(way, {"user": "ann"})
    other = Page(server)
    other.pid = pid
    await other.come(**auth)
    assert other.events == []
    assert other.recovered is False
    assert other.sid != page.sid
    server.to("r").emit("secret", 2)
    assert await other.read() == []
    await page.come(user="ann")  # the session was not taken by another user
    assert page.recovered is (way != "a kicked client")


async def test_fault_02_a_client_that_the_application_refuses_may_try_again(server: SocketServer) -> None:
    """The session is kept for its user until it is too old."""
    full = [False]

    @server.on_connect
    def welcome(socket: Socket, _: dict[str, Any]) -> None:
        if full[0]:
            raise ConnectRefused("full")

    page = await joined(server)
    await page.lose()
    server.to("r").emit("n", 1)
    full[0] = True
    await page.come()
    assert (page.refusal, page.events) == ("full", [])
    full[0] = False
    assert await page.restore() == [["n", 1]]
    assert outcomes(server) == {RecoveryOutcome.REFUSED: 1, RecoveryOutcome.RECOVERED: 1}


async def test_fault_02_a_pid_works_once(server: SocketServer) -> None:
    """Of two clients with the same pid, the later one has the socket."""
    page = await joined(server)
    await page.lose()
    twin = Page(server)
    twin.pid, twin.offset = page.pid, page.offset
    await page.come()
    await twin.come()
    assert list(server.of("/").sockets) == [twin.sid]
    assert not page.session.is_live


async def test_fault_04_volatile_events_are_never_kept(server: SocketServer) -> None:
    page = await joined(server)
    recovery = recovery_of(server)
    await page.lose()
    before = recovery.log.position
    for _ in range(500):
        server.to("r").volatile.emit("cursor", {"x": 1})
    assert recovery.log.position == before
    await page.restore()
    assert page.events == []


async def test_fault_05_a_client_that_got_no_event_is_recovered(server: SocketServer) -> None:
    page = await joined(server)
    assert page.offset is None
    await page.lose()
    server.to("r").emit("missed", 1)
    assert await page.restore() == [["missed", 1]]


async def test_fault_06_a_client_that_was_idle_for_long_is_recovered() -> None:
    """Its last event is no longer kept, and nothing after it is missing."""
    server = recovering(SMALL)
    page = await joined(server, "quiet")
    server.to("quiet").emit("n", 0)
    await page.read()
    for number in range(100):
        server.to("busy").emit("n", number)
    await page.lose()
    server.to("quiet").emit("n", 1)
    assert await page.restore() == [["n", 0], ["n", 1]]


@pytest.mark.parametrize("kind", ["volatile", "local", "volatile to one socket"])
@pytest.mark.parametrize("args", [("text",), ()])
async def test_fault_07_a_string_does_not_become_the_offset(
    server: SocketServer, kind: str, args: tuple[str, ...]
) -> None:
    """The client takes any last string for its offset, also the name of an event without arguments."""
    page = await joined(server)
    socket = server.of("/").sockets[page.sid or ""]
    server.to("r").emit("n", 0)
    match kind:
        case "volatile":
            server.to("r").volatile.emit("note", *args)
        case "local":
            server.local.emit("note", *args)
        case _:
            socket.volatile.emit("note", *args)
    await page.lose()
    assert without_offsets(page.events) == [["n", 0], ["note", *args]]
    server.to("r").emit("n", 1)
    await page.restore()
    assert without_offsets(page.events)[2:] == [["n", 1]]


async def test_fault_09_nothing_is_lost_or_doubled_between_reading_and_joining(server: SocketServer) -> None:
    """Events in each turn of the loop, while a page repeatedly loses its connection."""
    page = await joined(server)
    sent = 0
    ended = asyncio.Event()

    async def write() -> None:
        nonlocal sent
        while not ended.is_set():
            server.to("r").emit("n", sent)
            sent += 1
            await asyncio.sleep(0)

    writing = asyncio.ensure_future(write())
    for attempt in range(100):
        await page.lose()
        for _ in range(attempt % 7):
            await asyncio.sleep(0)
        await page.restore()
    ended.set()
    await writing
    await page.read()
    assert without_offsets(page.events) == [["n", number] for number in range(sent)]


@pytest.mark.parametrize("bound", ["events", "bytes", "outbox"])
async def test_fault_10_a_replay_is_bounded_and_never_partial(bound: str) -> None:
    """Above the bounds there is no replay at all. The client is in its rooms."""
    server = recovering(True, max_outbox=65_536) if bound == "outbox" else recovering(SMALL)
    page = await joined(server)
    await page.lose()
    count, size = {"events": (4, 10), "bytes": (2, 1200), "outbox": (2, 30_000)}[bound]
    for number in range(count):
        server.to("r").emit("n", "x" * size, number)
    await page.come()
    assert page.recovered is False
    assert page.events == []
    assert outcomes(server) == {RecoveryOutcome.TOO_MANY: 1}
    server.to("r").emit("next", 1)
    assert without_offsets(await page.read()) == [["next", 1]]


async def test_clients_that_do_not_read_share_their_replays(server: SocketServer) -> None:
    """Waiting events are in memory once, and not at all when the clients have left."""
    pages = [await joined(server) for _ in range(20)]
    for page in pages:
        await page.lose()
    for number in range(30):
        server.to("r").emit("n", "x" * 50_000, number)
    deaf: list[tuple[Session, MemoryTransport]] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for page in pages:
            transport = MemoryTransport()
            session = server._registry.open(request_of(), transport)
            await turn()
            transport.writable = False
            session.receive_text(transport, b"40" + json.dumps({"pid": page.pid}).encode())
            deaf.append((session, transport))
        await _until_recovered(server, 20)
        during, _ = tracemalloc.get_traced_memory()
        waiting = [session.outbox.waiting_bytes for session, _ in deaf]
        for session, transport in deaf:
            session.transport_closed(transport, Reason.TRANSPORT_CLOSE)
        await turn()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(size > 1_500_000 for size in waiting)
    assert during - before < 5_000_000
    assert after - before < 500_000


async def test_other_tasks_run_while_a_long_replay_is_encoded(server: SocketServer) -> None:
    """New events for the client come after the replay."""
    page = await joined(server)
    await page.lose()
    sent = 4000
    for number in range(sent):
        server.to("r").emit("n", number)
    coming = asyncio.create_task(page.come())
    while outcomes(server) != {RecoveryOutcome.RECOVERED: 1}:
        server.to("r").emit("n", sent)
        sent += 1
        await asyncio.sleep(0)
    await coming
    await page.read()
    await page.read()
    assert sent > 4008
    assert page.recovered
    assert without_offsets(page.events) == [["n", number] for number in range(sent)]


async def _until_recovered(server: SocketServer, count: int) -> None:
    async with asyncio.timeout(10):
        while outcomes(server) != {RecoveryOutcome.RECOVERED: count}:
            await asyncio.sleep(0)


async def test_a_pid_is_shown_nowhere(server: SocketServer) -> None:
    """It gives access to the connection: neither handshakes nor descriptions of sockets have it."""
    page = await joined(server)
    await page.lose()
    await page.come()
    (remote,) = await server.everyone.fetch_sockets()
    socket = server.of("/").sockets[page.sid or ""]
    shown = json.dumps([remote.handshake.auth, socket.auth, socket.handshake.auth]) + repr(socket)
    assert page.pid is not None
    assert page.pid not in shown
