"""Members who return after a lost connection: their events, and what the others learn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.collaboration.guarded import settle
from tests.collaboration.site import Site
from tests.collaboration.tabs import PRESENCE, Tab, one_lost, two
from tests.support.page import held_reads, recovery_of
from tests.support.servers import until

from synkora.collaboration.limits import Limits
from synkora.engine.close_reasons import Reason
from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.settings import RecoverySettings
from synkora.sockets import internals


@pytest.fixture
def site() -> Site:
    return Site(recovery=True, leave_delay=1.0)


class TestEvents:
    async def test_a_tab_that_joins_once_misses_nothing(self, site: Site) -> None:
        ann, bob = await two(site)
        for number in range(5):
            await ann.lose()
            await bob.create(f"while away {number}")
            await ann.come()
            assert ann.recovered
            await bob.create(f"after that {number}")
            await ann.read()
        expected = [f"{when} {number}" for number in range(5) for when in ("while away", "after that")]
        assert await ann.edits() == [["task:create", {"id": task}] for task in expected]

    async def test_own_edits_are_not_replayed(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.create("mine")
        await ann.lose()
        await ann.come()
        assert await ann.edits() == []
        assert await bob.edits() == [["task:create", {"id": "mine"}]]

    async def test_a_binary_edit_comes_with_its_attachment(self, site: Site) -> None:
        ann, bob = await one_lost(site)
        bob.send('451-["canvas:update",{"projectId":"p","changes":{"_placeholder":true,"num":0}}]')
        bob.session.receive_binary(bob.transport, b"\x01\x02")
        await bob.read()
        await ann.come()
        assert await ann.edits() == [["canvas:update", {"_placeholder": True, "num": 0}]]
        (message,) = [m for write in ann.transport.writes for m in write if m.attachments]
        assert message.attachments == (b"\x01\x02",)

    async def test_an_hour_away_replays_only_changes(self, site: Site) -> None:
        """Of each object the last state is replayed. Events without a key are all replayed."""
        ann, bob = await one_lost(site)
        for number in range(10):
            bob.emit("task:update", {"projectId": "p", "task": {"id": "a", "title": number}})
            bob.emit("task:update", {"projectId": "p", "task": {"id": "b", "title": number}})
            bob.emit("task:move", {"projectId": "p", "taskId": "a", "status": number})
            bob.emit("markdown:update", {"projectId": "p", "fileId": "f", "content": number})
            bob.emit("spreadsheet:cell-update", {"projectId": "p", "cell": "A1", "value": number})
        bob.emit("canvas:update", {"projectId": "p", "changes": 1})
        bob.emit("canvas:update", {"projectId": "p", "changes": 2})
        bob.emit("task:delete", {"projectId": "p", "taskId": "a"})
        await bob.read()
        await ann.come()
        assert await ann.edits() == [
            ["task:update", {"id": "a", "title": 9}],
            ["task:update", {"id": "b", "title": 9}],
            ["task:move", {"taskId": "a", "status": 9}],
            ["markdown:update", {"fileId": "f", "content": 9}],
            ["spreadsheet:cell-update", {"cell": "A1", "value": 9}],
            ["canvas:update", 1],
            ["canvas:update", 2],
            ["task:delete", {"taskId": "a"}],
        ]

    async def test_an_update_of_other_fields_replaces_nothing(self, site: Site) -> None:
        """A page may send only the changed fields."""
        ann, bob = await one_lost(site)
        for task in ({"id": 1, "title": "x"}, {"id": 1, "status": "DONE"}, {"title": "no id"}, "no object"):
            bob.emit("task:update", {"projectId": "p", "task": task})
        bob.emit("markdown:update", {"projectId": "p", "fileId": "f", "content": "x"})
        bob.emit("markdown:update", {"projectId": "p", "fileId": "f"})
        await bob.read()
        await ann.come()
        assert [event[1] for event in await ann.edits()] == [
            {"id": 1, "title": "x"},
            {"id": 1, "status": "DONE"},
            {"title": "no id"},
            "no object",
            {"fileId": "f", "content": "x"},
            {"fileId": "f"},
        ]

    async def test_a_notice_is_not_missed(self, site: Site) -> None:
        ann, _ = await one_lost(site)
        site.collaboration.post_notice("p", "hello")
        await ann.come()
        assert [event[1]["message"] for event in await ann.take("server:notice")] == ["hello"]

    async def test_cursors_and_the_servers_own_events_are_not_kept(self, site: Site) -> None:
        ann, bob = await two(site)
        recovery = recovery_of(site.server)
        before = recovery.log.position
        bob.emit("canvas:cursor", {"projectId": "p", "position": 1})
        bob.emit("ping")
        bob.emit("unknown")
        bob.emit("join-project", "q")
        site.server.of("/").sockets[bob.sid or ""].leave("q")
        await bob.read()
        assert [event[0] for event in await ann.read()] == ["canvas:cursor"]
        assert recovery.log.position == before
        assert ann.packets[-1] == f'42["canvas:cursor",{{"socketId":"{bob.sid}","position":1}}]'

    async def test_membership_is_restored_even_without_the_events(self) -> None:
        site = Site(recovery=RecoverySettings(replay_events=1))
        ann, bob = await one_lost(site)
        for number in range(3):
            await bob.create(str(number))
        await ann.come()
        assert ann.recovered is False
        assert await ann.edits() == []
        await bob.create("next")
        assert await ann.edits() == [["task:create", {"id": "next"}]]
        await ann.create("mine")
        assert await bob.edits() == [["task:create", {"id": "mine"}]]


class TestPresence:
    async def test_a_short_loss_of_a_connection_is_not_announced(self, site: Site) -> None:
        ann, bob = await one_lost(site)
        await bob.read()
        assert site.collaboration.presence.count("p") == 2
        await ann.come()
        assert await bob.take(*PRESENCE) == []
        (active,) = await ann.take("users:active")
        assert [user["userName"] for user in active[1]["users"]] == ["Ann", "Bob"]

    async def test_a_returning_client_learns_of_joins_and_leaves(self, site: Site) -> None:
        ann, bob = await one_lost(site)
        await Tab(site, "Carl").open()
        bob.send("41")
        await settle()
        await ann.come()
        active, count = await ann.take("users:active", "users:count")
        assert [user["userName"] for user in active[1]["users"]] == ["Ann", "Carl"]
        assert count[1] == {"count": 2}

    async def test_a_half_open_connection_is_taken_over_unseen(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.come()
        assert ann.recovered
        assert await bob.take(*PRESENCE) == []
        assert site.collaboration.connections == 2

    async def test_a_leave_and_a_join_right_after_the_return_are_no_leave(self, site: Site) -> None:
        """The board's hook sends both while it is disconnected. The client sends them before `connect` fires."""
        ann, bob = await one_lost(site)
        await bob.create("missed")
        await ann.come()
        ann.emit("leave-project", "p")
        ann.emit("join-project", "p")
        await bob.create("next")
        await ann.read()
        assert await bob.take("user:left", "user:joined") == []
        assert await ann.edits() == [["task:create", {"id": "missed"}], ["task:create", {"id": "next"}]]

    async def test_fault_12_a_client_that_does_not_return_leaves_once(self) -> None:
        """After the grace period, not before. The same connection can still return later."""
        site = Site(recovery=True, presence_grace=0.05)
        ann, bob = await one_lost(site)
        assert await bob.take(*PRESENCE) == []
        await until(lambda: site.collaboration.presence.count("p") == 1)
        await asyncio.sleep(0.1)
        left, *others = await bob.take(*PRESENCE)
        assert (left[0], left[1]["socketId"]) == ("user:left", ann.sid)
        assert [event[0] for event in others] == ["users:active", "users:count"]
        sid = ann.sid
        await bob.create("missed")
        await ann.come()
        assert (ann.recovered, ann.sid) == (True, sid)
        assert [event[1]["socketId"] for event in await bob.take("user:joined")] == [sid]
        assert await ann.edits() == [["task:create", {"id": "missed"}]]

    @pytest.mark.parametrize("way", ["no grace", "client disconnect", "kicked", "parse error", "no recovery"])
    async def test_a_leave_takes_effect_immediately(self, way: str) -> None:
        site = Site(recovery=way != "no recovery", presence_grace=0 if way == "no grace" else 5)
        ann, bob = await two(site)
        match way:
            case "client disconnect":
                ann.send("41")
            case "kicked":
                site.collaboration.disconnect(ann.sid or "")
            case "parse error":
                ann.send("4x")
            case _:
                await ann.lose()
        await settle()
        assert [event[0] for event in await bob.take(*PRESENCE)] == ["user:left", "users:active", "users:count"]

    async def test_a_user_who_is_removed_while_lost_has_left_at_once(self, site: Site) -> None:
        """The project, and no other one."""
        ann, bob = await two(site, "p", "q")
        await ann.lose()
        site.collaboration.remove("p", "ann")
        (left,) = await bob.take("user:left")
        assert left[1]["socketId"] == ann.sid
        assert [site.collaboration.presence.count(project) for project in ("p", "q")] == [1, 2]
        site.collaboration.remove("p", "bob")
        assert site.collaboration.presence.count("p") == 0

    async def test_a_leave_before_the_loss_is_announced(self, site: Site) -> None:
        ann, bob = await two(site, "p", "q")
        ann.emit("leave-project", "p")
        await ann.lose()
        assert [event[0] for event in await bob.take(*PRESENCE)] == ["user:left", "users:active", "users:count"]
        assert site.collaboration.presence.count("q") == 2


class TestPresenceAfterARestart:
    @staticmethod
    def site(folder: Path, grace: float = 30) -> Site:
        return Site(recovery=EmbeddedStore(folder), presence_grace=grace)

    async def test_who_returns_in_time_is_not_announced(self, tmp_path: Path) -> None:
        """Neither to members who returned earlier nor to new members. The lists have both, as before."""
        before, after = self.site(tmp_path), self.site(tmp_path)
        async with before.server.lifespan():
            ann, bob = await two(before)
        async with after.server.lifespan():
            carol = await Tab(after, "Carol").open()
            for tab in (bob, ann):
                tab.move_to(after.server)
                tab.events.clear()
                await tab.come()
                assert tab.recovered
                (roster,) = (payload for _, payload in await tab.take("users:active"))
                assert {user["userName"] for user in roster["users"]} == {"Ann", "Bob", "Carol"}
            for tab in (bob, carol):
                assert await tab.take("user:joined", "user:left") == []

    async def test_fault_12_who_does_not_return_leaves_once(self, tmp_path: Path) -> None:
        before, after = self.site(tmp_path), self.site(tmp_path, grace=2)
        async with before.server.lifespan():
            ann, bob = await two(before, "p", "q")
        async with after.server.lifespan():
            bob.move_to(after.server)
            await bob.come()
            assert await bob.take("user:left") == []
            await until(lambda: after.collaboration.presence.count("p") == 1)
            assert sorted(payload["socketId"] for _, payload in await bob.take("user:left")) == [ann.sid, ann.sid]

    async def test_a_damaged_description_prevents_no_start(self, tmp_path: Path) -> None:
        """Its connection is not listed until its client returns."""
        before, after = self.site(tmp_path), self.site(tmp_path)
        recovery = internals.recovery_of(before.server.of("/"))
        assert recovery is not None
        async with before.server.lifespan():
            ann, bob = await two(before)
            recovery.about = lambda _: b"\x00"
            for tab in (ann, bob):
                tab.emit("join-project", "q")
            await settle()
        async with after.server.lifespan():
            assert after.collaboration.presence.count("p") == 0
            ann.move_to(after.server)
            await ann.come()
            assert ann.recovered

    @pytest.mark.parametrize("grace", [0.2, 0])
    async def test_who_was_lost_too_long_ago_is_not_listed(self, tmp_path: Path, grace: float) -> None:
        """Without a grace period, the lists begin empty."""
        before, after = self.site(tmp_path), self.site(tmp_path, grace=grace)
        async with before.server.lifespan():
            await two(before)
        await asyncio.sleep(grace)
        async with after.server.lifespan():
            assert after.collaboration.presence.count("p") == 0


@pytest.mark.parametrize("turns", range(1, 20))
async def test_who_is_lost_again_while_returning_leaves_nothing(site: Site, turns: int) -> None:
    """In whichever turn of the loop the connection ends, also while a long replay is encoded."""
    ann, _ = await one_lost(site)
    for number in range(2000):
        site.server.to("p").emit("n", number)
    coming = asyncio.create_task(ann.come())
    for _ in range(turns):
        await asyncio.sleep(0)
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
    await coming
    await settle()
    assert site.collaboration.connections == 1
    assert site.collaboration.users == 1
    await ann.come()
    assert ann.recovered
    assert site.collaboration.connections == 2
    assert site.collaboration.presence.connections("p") == 2


@asynccontextmanager
async def last_read(site: Site, tab: Tab) -> AsyncIterator[None]:
    """The last read of the log for a client that returns, which ends with the context."""
    with held_reads(site.server) as reads:
        await tab.come()
        reads.pop()()
        await settle()
        yield
        reads.pop()()
        await settle()


async def test_who_is_disconnected_during_the_last_read_of_a_return_is_gone(site: Site) -> None:
    """The user stayed in the lists, and counted as connected, until a restart."""
    ann, bob = await one_lost(site)
    async with last_read(site, ann):
        assert site.collaboration.disconnect_all("user", "ann") == 1
    assert list(site.collaboration.members) == [bob.sid]
    assert site.collaboration.users == 1
    assert site.collaboration.presence.count("p") == 1


async def test_few_lost_connections_of_a_user_stay_in_the_lists() -> None:
    """The others' events count for each connection in the list. The user's first lost connections leave at once."""
    site = Site(recovery=True, limits=Limits(connections=3))
    await Tab(site, "Bob").open()
    lost = [await Tab(site, "Ann").open() for _ in range(3)]
    for tab in lost:
        await tab.lose()
    assert site.collaboration.presence.connections("p") == 4
    for _ in range(5):
        await (await Tab(site, "Ann").open()).lose()
    assert site.collaboration.presence.connections("p") == 4
    assert site.collaboration.presence.count("p") == 2
    assert len(site.collaboration.projects._lost) == 3
    assert site.collaboration.remove("p", "ann") == 0
    assert site.collaboration.presence.connections("p") == 1


async def test_two_returns_to_one_session_are_one_member(site: Site) -> None:
    """The log is not read for the second one, which comes during the last read of the first one."""
    ann, bob = await one_lost(site)
    async with last_read(site, ann):
        ann.offset = "bad"
        await ann.come()
    assert set(site.collaboration.members) == {ann.sid, bob.sid}
    assert site.collaboration._connections.total("ann") == 1
    assert site.collaboration.presence.connections("p") == 2
    await ann.lose(Reason.SERVER_NAMESPACE_DISCONNECT)
    assert site.collaboration.users == 1
    assert site.collaboration.presence.connections("p") == 1


async def test_an_announced_shutdown_is_not_replayed(site: Site) -> None:
    ann, _ = await one_lost(site)
    site.collaboration.announce_shutdown()
    await ann.come()
    assert await ann.take("server:shutdown") == []
