"""Clients that return after a lost connection: which events they get."""

import asyncio
import re
from typing import Any

import pytest
from msgspec.structs import replace
from tests.sockets.recovering import SMALL, joined, lost, recovering
from tests.support.page import Page, outcomes, recovery_of, without_offsets

from synkora import Namespace, Socket, SocketServer
from synkora.engine.close_reasons import Reason
from synkora.recovery.memory_sessions import MemorySessions
from synkora.recovery.ports import LoggedEvent
from synkora.sockets.socket_recovery import RecoveryOutcome

OFFSET = r'"[0-9a-z]+\.[0-9a-f]+"'


@pytest.fixture
def server() -> SocketServer:
    return recovering()


@pytest.fixture
async def page(server: SocketServer) -> Page:
    return await joined(server)


class TestWire:
    async def test_the_reply_carries_a_pid_of_its_own(self, server: SocketServer) -> None:
        one, two = await Page(server).come(), await Page(server).come()
        assert re.fullmatch(r'40\{"sid":"[\w-]{20}","pid":"[\w-]{20}"\}', one.packets[-1])
        assert len({one.pid, one.sid, two.pid, two.sid}) == 4

    async def test_an_event_ends_with_its_position(self, server: SocketServer, page: Page) -> None:
        """Also one without arguments, to one socket, and with attachments."""
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

    async def test_positions_grow(self, server: SocketServer, page: Page) -> None:
        for value in range(20):
            server.to("r").emit("n", value)
        events = await page.read()
        numbers = [int(event[-1].partition(".")[2], 16) for event in events]
        assert numbers == sorted(set(numbers))

    async def test_events_that_are_not_kept_have_no_position(self, server: SocketServer, page: Page) -> None:
        """Volatile events, those with an ack, and those only for this server's sockets."""
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
            SocketServer(recovery=120)  # type: ignore[arg-type]  # the mistake


class TestReturning:
    async def test_missed_events_come_before_the_reply(self, server: SocketServer, page: Page) -> None:
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

    async def test_it_continues_afterwards(self, server: SocketServer, page: Page) -> None:
        """In its rooms, once each, however often it returns."""
        for number in range(5):
            await page.lose()
            server.to("r").emit("n", 2 * number)
            await page.restore()
            server.to("r").emit("n", 2 * number + 1)
            await page.read()
        assert without_offsets(page.events) == [["n", number] for number in range(10)]

    async def test_a_lost_replay_is_repeated(self, server: SocketServer) -> None:
        """The client's offset counts, not what the server has sent."""
        page = await lost(server)
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

        page = await lost(server)
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

    async def test_a_leave_with_a_join_right_behind_it_is_no_leave(self, server: SocketServer, page: Page) -> None:
        """Earlier events may not have arrived: they are not lost with the membership."""
        offset = page.offset
        server.to("r").emit("on its way", 1)
        page.emit("leave", "r")
        server.to("other").emit("between", 2)
        page.emit("join", "r")
        await page.lose()
        page.events, page.offset = [], offset
        assert await page.restore() == [["on its way", 1]]

    async def test_a_leave_with_something_missed_behind_it_is_a_leave(self, server: SocketServer, page: Page) -> None:
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

        page = await lost(server)
        server.to("r").emit("n", 1)
        await page.come()
        server.to("r").emit("n", 2)
        gate.set()
        await page.read()
        assert without_offsets(page.events) == [["welcome", False], ["n", 1], ["n", 2], ["welcome", True]]

    @pytest.mark.parametrize("reason", ["close", "parse error"])
    async def test_a_client_that_left_does_not_return(self, server: SocketServer, reason: str, page: Page) -> None:
        page.send("41" if reason == "close" else "4x")
        await page.lose()
        await page.come()
        assert page.recovered is False
        assert page.sid is not None
        server.to("r").emit("n", 1)
        assert await page.read() == []
        assert outcomes(server) == {RecoveryOutcome.UNKNOWN: 1}

    @pytest.mark.parametrize("reason", [Reason.PING_TIMEOUT, Reason.TRANSPORT_ERROR, Reason.SERVER_SHUTTING_DOWN])
    async def test_a_lost_client_does(self, reason: Reason, page: Page) -> None:
        page.session.close(reason)
        await page.restore()


class TestIncomplete:
    @pytest.mark.parametrize("offset", ["of the future", "nothing that is an offset", {"an": "object"}])
    async def test_a_position_of_elsewhere(self, server: SocketServer, offset: object, page: Page) -> None:
        """Membership is restored. The client gets a new pid."""
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
    async def test_a_lost_reply_does_not_cost_the_membership(
        self, server: SocketServer, *, half_open: bool, page: Page
    ) -> None:
        """The client comes again with the pid that it knows."""
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
        self, server: SocketServer, shown_by: str, page: Page
    ) -> None:
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


async def test_messages_of_a_return_have_the_log_of_its_read(server: SocketServer) -> None:
    """Another log, which gives the same numbers, may begin while very many are encoded."""
    recovery = recovery_of(server)
    old, new = (LoggedEvent(1, data, (), ("r",), (), None) for data in (b'["old"]', b'["new"]'))
    (earlier,) = recovery._messages([old], "epochold")
    (later,) = recovery._messages([new], "epochnew")
    assert (earlier.data, later.data) == (b'["old","epochold.1"]', b'["new","epochnew.1"]')


async def test_a_position_of_a_log_before_those_that_a_session_remembers_is_refused(server: SocketServer) -> None:
    """The log has begun again more often than is kept. What was sent in the first one is unknown."""
    page = await lost(server)
    sessions = recovery_of(server)._sessions
    session = await sessions.take(page.pid or "")
    assert session is not None
    sessions.save(replace(session, outlived=tuple(f"later {number}" for number in range(10))))
    page.offset = "earliest.5"
    await page.come()
    assert not page.recovered
    assert outcomes(server) == {RecoveryOutcome.EPOCH: 1}
