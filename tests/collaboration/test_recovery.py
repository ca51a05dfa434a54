"""Members who return after a lost connection: their events, their rights, and the others' events."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tests.collaboration.guarded import UNLIMITED, Guarded, Roles, settle
from tests.collaboration.site import SECRET, Site, token_of
from tests.support.page import Page, without_offsets
from tests.support.servers import until

from synkora.collaboration.access import AccessUnavailable, Role
from synkora.collaboration.blocks import Block
from synkora.collaboration.keyed_limit import MAX_PER_KEY
from synkora.collaboration.limits import Limits
from synkora.engine.close_reasons import Reason
from synkora.identity.tokens import sign
from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.memory import MemoryLog
from synkora.recovery.ports import Answered
from synkora.recovery.settings import RecoverySettings
from synkora.sockets.recovery import RecoveryOutcome

PRESENCE = ("user:joined", "user:left", "users:active", "users:count")


class Tab(Page):
    """A tab of the app that joins its projects only when it opens."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site.server)
        self._token = token_of(name)

    async def open(self, *projects: str) -> "Tab":
        await self.back()
        for project in projects or ("p",):
            self.emit("join-project", project)
        await settle()
        await self.read()
        self.events.clear()
        return self

    async def back(self) -> "Tab":
        await self.come(token=self._token)
        await settle()
        await self.read()
        return self

    def move_to(self, site: Site) -> None:
        self._server = site.server

    def take(self, *names: str) -> list[list[Any]]:
        """The events with these names. All events are cleared."""
        found = [event for event in self.events if event[0] in names]
        self.events.clear()
        return found

    def edits(self) -> list[list[Any]]:
        """The relayed edits of others. All events are cleared."""
        found = [event for event in self.events if event[0] not in (*PRESENCE, "connected", "error")]
        self.events.clear()
        return without_offsets(found)

    def create(self, task: str, project: str = "p") -> None:
        self.emit("task:create", {"projectId": project, "task": {"id": task}})


async def two(site: Site, *projects: str) -> tuple[Tab, Tab]:
    """Ann and Bob have joined. Their received events are cleared."""
    ann, bob = await Tab(site, "Ann").open(*projects), await Tab(site, "Bob").open(*projects)
    await ann.read()
    ann.events.clear()
    return ann, bob


def outcomes(site: Site) -> dict[RecoveryOutcome, int]:
    recovery = site.server.of("/")._core.recovery
    assert recovery is not None
    return dict(recovery.outcomes)


@pytest.fixture
def site() -> Site:
    return Site(recovery=True, leave_delay=1.0)


class TestEvents:
    async def test_a_tab_that_joins_once_misses_nothing(self, site: Site) -> None:
        ann, bob = await two(site)
        for number in range(5):
            await ann.lose()
            bob.create(f"while away {number}")
            await bob.read()
            await ann.back()
            assert ann.recovered
            bob.create(f"after that {number}")
            await bob.read()
            await ann.read()
        expected = [f"{when} {number}" for number in range(5) for when in ("while away", "after that")]
        assert ann.edits() == [["task:create", {"id": task}] for task in expected]

    async def test_own_edits_are_not_replayed(self, site: Site) -> None:
        ann, bob = await two(site)
        ann.create("mine")
        await ann.lose()
        await ann.back()
        assert ann.edits() == []
        await bob.read()
        assert bob.edits() == [["task:create", {"id": "mine"}]]

    async def test_a_binary_edit_comes_with_its_attachment(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.lose()
        bob.send('451-["canvas:update",{"projectId":"p","changes":{"_placeholder":true,"num":0}}]')
        bob.session.receive_binary(bob.transport, b"\x01\x02")
        await bob.read()
        await ann.back()
        assert ann.edits() == [["canvas:update", {"_placeholder": True, "num": 0}]]
        (message,) = [m for write in ann.transport.writes for m in write if m.attachments]
        assert message.attachments == (b"\x01\x02",)

    async def test_an_hour_away_replays_only_changes(self, site: Site) -> None:
        """Of each object the last state is replayed. Events without a key are all replayed."""
        ann, bob = await two(site)
        await ann.lose()
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
        await ann.back()
        assert ann.edits() == [
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
        ann, bob = await two(site)
        await ann.lose()
        for task in ({"id": 1, "title": "x"}, {"id": 1, "status": "DONE"}, {"title": "no id"}, "no object"):
            bob.emit("task:update", {"projectId": "p", "task": task})
        bob.emit("markdown:update", {"projectId": "p", "fileId": "f", "content": "x"})
        bob.emit("markdown:update", {"projectId": "p", "fileId": "f"})
        await bob.read()
        await ann.back()
        assert [event[1] for event in ann.edits()] == [
            {"id": 1, "title": "x"},
            {"id": 1, "status": "DONE"},
            {"title": "no id"},
            "no object",
            {"fileId": "f", "content": "x"},
            {"fileId": "f"},
        ]

    async def test_a_notice_is_not_missed(self, site: Site) -> None:
        ann, _ = await two(site)
        await ann.lose()
        site.collaboration.post_notice("p", "hello")
        await ann.back()
        assert [event[1]["message"] for event in ann.take("server:notice")] == ["hello"]

    async def test_cursors_and_the_servers_own_events_are_not_kept(self, site: Site) -> None:
        ann, bob = await two(site)
        recovery = site.server.of("/")._core.recovery
        assert recovery is not None
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
        ann, bob = await two(site)
        await ann.lose()
        for number in range(3):
            bob.create(str(number))
        await bob.read()
        await ann.back()
        assert ann.recovered is False
        assert ann.edits() == []
        bob.create("next")
        await bob.read()
        await ann.read()
        assert ann.edits() == [["task:create", {"id": "next"}]]
        ann.create("mine")
        await ann.read()
        await bob.read()
        assert bob.edits() == [["task:create", {"id": "mine"}]]


class TestPresence:
    async def test_a_short_loss_of_a_connection_is_not_announced(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.lose()
        await bob.read()
        assert site.collaboration.presence.count("p") == 2
        await ann.back()
        await bob.read()
        assert bob.take(*PRESENCE) == []
        (active,) = ann.take("users:active")
        assert [user["userName"] for user in active[1]["users"]] == ["Ann", "Bob"]

    async def test_a_returning_client_learns_of_joins_and_leaves(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.lose()
        await Tab(site, "Carl").open()
        bob.send("41")
        await settle()
        await ann.back()
        (active,), (count,) = [event for event in ann.events if event[0] == "users:active"], ann.take("users:count")
        assert [user["userName"] for user in active[1]["users"]] == ["Ann", "Carl"]
        assert count[1] == {"count": 2}

    async def test_a_half_open_connection_is_taken_over_unseen(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.back()
        assert ann.recovered
        await bob.read()
        assert bob.take(*PRESENCE) == []
        assert site.collaboration.connections == 2

    async def test_a_leave_and_a_join_right_after_the_return_are_no_leave(self, site: Site) -> None:
        """The board's hook sends both while it is disconnected. The client sends them before `connect` fires."""
        ann, bob = await two(site)
        await ann.lose()
        bob.create("missed")
        await bob.read()
        await ann.back()
        ann.emit("leave-project", "p")
        ann.emit("join-project", "p")
        bob.create("next")
        await bob.read()
        await ann.read()
        assert bob.take("user:left", "user:joined") == []
        assert ann.edits() == [["task:create", {"id": "missed"}], ["task:create", {"id": "next"}]]

    async def test_fault_12_a_client_that_does_not_return_leaves_once(self) -> None:
        """After the grace period, not before. The same connection can still return later."""
        site = Site(recovery=True, presence_grace=0.05)
        ann, bob = await two(site)
        await ann.lose()
        await bob.read()
        assert bob.take(*PRESENCE) == []
        await until(lambda: site.collaboration.presence.count("p") == 1)
        await asyncio.sleep(0.1)
        await bob.read()
        assert [event[0] for event in bob.events] == ["user:left", "users:active", "users:count"]
        assert bob.take("user:left")[0][1]["socketId"] == ann.sid
        sid = ann.sid
        bob.create("missed")
        await bob.read()
        await ann.back()
        assert (ann.recovered, ann.sid) == (True, sid)
        await bob.read()
        assert [event[1]["socketId"] for event in bob.take("user:joined")] == [sid]
        assert ann.edits() == [["task:create", {"id": "missed"}]]

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
        await bob.read()
        assert [event[0] for event in bob.take(*PRESENCE)] == ["user:left", "users:active", "users:count"]

    async def test_a_leave_before_the_loss_is_announced(self, site: Site) -> None:
        ann, bob = await two(site, "p", "q")
        ann.emit("leave-project", "p")
        await ann.lose()
        await bob.read()
        assert [event[0] for event in bob.take(*PRESENCE)] == ["user:left", "users:active", "users:count"]
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
                tab.move_to(after)
                tab.events.clear()
                await tab.back()
                assert tab.recovered
                (roster,) = (payload for _, payload in tab.take("users:active"))
                assert {user["userName"] for user in roster["users"]} == {"Ann", "Bob", "Carol"}
            for tab in (bob, carol):
                await tab.read()
                assert tab.take("user:joined", "user:left") == []

    async def test_fault_12_who_does_not_return_leaves_once(self, tmp_path: Path) -> None:
        before, after = self.site(tmp_path), self.site(tmp_path, grace=0.3)
        async with before.server.lifespan():
            ann, bob = await two(before, "p", "q")
        async with after.server.lifespan():
            bob.move_to(after)
            await bob.back()
            assert bob.take("user:left") == []
            await asyncio.sleep(0.4)
            await bob.read()
            assert sorted(payload["socketId"] for _, payload in bob.take("user:left")) == [ann.sid, ann.sid]
            assert after.collaboration.presence.count("p") == 1

    async def test_who_was_lost_too_long_ago_is_not_listed(self, tmp_path: Path) -> None:
        before, after = self.site(tmp_path), self.site(tmp_path, grace=0.2)
        async with before.server.lifespan():
            await two(before)
        await asyncio.sleep(0.2)
        async with after.server.lifespan():
            assert after.collaboration.presence.count("p") == 0

    async def test_without_a_grace_period_the_lists_begin_empty(self, tmp_path: Path) -> None:
        before, after = self.site(tmp_path), self.site(tmp_path, grace=0)
        async with before.server.lifespan():
            await two(before)
        async with after.server.lifespan():
            assert after.collaboration.presence.count("p") == 0


class TestAccess:
    async def test_fault_02_another_user_gets_nothing(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.lose()
        bob.create("secret")
        await bob.read()
        eve = Tab(site, "Eve")
        eve.pid, eve.offset = ann.pid, ann.offset
        await eve.back()
        assert (eve.recovered, eve.edits()) == (False, [])
        assert eve.sid != ann.sid
        await ann.back()
        assert ann.recovered

    async def test_fault_02_a_token_that_has_expired_is_refused(self, site: Site) -> None:
        """The same user may return with a new token."""
        ann, bob = await two(site)
        await ann.lose()
        bob.create("secret")
        await bob.read()
        expired = sign({"id": "ann", "name": "Ann"}, SECRET, expires_in=-3600)
        await ann.come(token=expired)
        assert (ann.refusal, ann.events) == ("Authentication failed", [])
        await ann.back()
        assert ann.recovered
        assert ann.edits() == [["task:create", {"id": "secret"}]]

    async def test_fault_02_a_kicked_member_is_out(self, site: Site) -> None:
        ann, bob = await two(site)
        site.collaboration.disconnect(ann.sid or "")
        await ann.read()
        bob.create("secret")
        await bob.read()
        await ann.back()
        assert (ann.recovered, ann.edits()) == (False, [])
        assert site.collaboration.presence.count("p") == 1

    async def test_fault_02_a_blocked_user_is_refused(self, site: Site) -> None:
        ann, bob = await two(site)
        await ann.lose()
        site.collaboration.blocks.add(Block("user", "ann", until=4e9, changed_at=1))
        bob.create("secret")
        await bob.read()
        await ann.back()
        assert ann.refusal == "Blocked by the operators of this server"
        assert ann.edits() == []

    async def test_fault_02_a_revoked_project_is_left_out(self) -> None:
        """The policy is asked again, without the cache. The other project is recovered."""
        roles = Roles(ann=Role.EDITOR, bob=Role.EDITOR)
        roles.roles |= {("ann", "q"): Role.EDITOR, ("bob", "q"): Role.EDITOR}
        site = Guarded(roles, recovery=True)
        ann, bob = await two(site, "p", "q")
        await ann.lose()
        roles.roles["ann", "p"] = None
        bob.create("secret", "p")
        bob.create("open", "q")
        await bob.read()
        await ann.back()
        assert ann.recovered
        errors = [event[1] for event in ann.events if event[0] == "error"]
        assert errors == [{"message": "You no longer have access to this project", "projectId": "p"}]
        assert ann.edits() == [["task:create", {"id": "open"}]]
        await bob.read()
        assert [event[0] for event in bob.take(*PRESENCE)] == ["user:left", "users:active", "users:count"]
        bob.create("later", "p")
        await bob.read()
        await ann.read()
        assert ann.edits() == []
        await site.close()

    async def test_fault_02_the_role_is_the_present_one(self) -> None:
        site = Guarded(roles := Roles(ann=Role.EDITOR, bob=Role.EDITOR), recovery=True)
        ann, bob = await two(site)
        await ann.lose()
        roles.roles["ann", "p"] = Role.VIEWER
        await ann.back()
        ann.create("refused")
        await settle()
        await ann.read()
        assert ["viewers may not change" in event[1]["message"] for event in ann.take("error")] == [True]
        await bob.read()
        assert bob.edits() == []
        await site.close()

    async def test_without_an_answer_the_client_returns_once_more(self) -> None:
        """It neither loses its project nor gets events without access."""
        site = Guarded(roles := Roles(ann=Role.EDITOR, bob=Role.EDITOR), recovery=True)
        ann, bob = await two(site)
        await ann.lose()
        bob.create("missed")
        await bob.read()
        roles.error = AccessUnavailable("the app is down")
        await ann.back()
        assert not ann.session.is_live
        assert (ann.sid, ann.events) == (None, [])
        roles.error = None
        await ann.back()
        assert ann.recovered
        assert ann.edits() == [["task:create", {"id": "missed"}]]
        await bob.read()
        assert bob.take(*PRESENCE) == []
        await site.close()

    async def test_very_many_returns_of_one_user_do_not_delay_others(self) -> None:
        """Questions about returns are limited per user."""
        roles = Roles(bob=Role.EDITOR)
        roles.roles |= {("ann", f"p{number}"): Role.EDITOR for number in range(60)}
        site = Guarded(roles, recovery=True)
        tabs = [await Tab(site, "Ann").open(f"p{number}") for number in range(60)]
        bob = await Tab(site, "Bob").open()
        for tab in (*tabs, bob):
            await tab.lose()
        roles.gate.clear()
        roles.asked.clear()
        for tab in (*tabs, bob):
            await tab.back()
        assert roles.asked["bob", "p"] == 1
        assert roles.asked.total() == 1 + MAX_PER_KEY
        roles.gate.set()
        await until(lambda: roles.asked.total() == 61)
        await settle()
        await site.close()

    async def test_the_limit_on_connections_counts_a_half_open_one_once(self) -> None:
        site = Guarded(Roles(ann=Role.EDITOR), limits=Limits(connections=1), recovery=True)
        ann = await Tab(site, "Ann").open()
        await ann.back()
        assert ann.recovered
        other = Tab(site, "Ann")
        await other.back()
        assert other.refusal == "Too many connections"
        await site.close()

    async def test_a_user_above_the_work_limit_gets_no_replay(self) -> None:
        """A replay counts like deliveries for the user, as joins do. The projects are restored."""
        site = Site(recovery=True, limits=Limits(user_byte_rate=300_000))
        ann, bob = await two(site)
        await ann.lose()
        bob.create("missed")
        await bob.read()
        for _ in range(4):
            await ann.lose()
            await ann.back()
        assert outcomes(site)[RecoveryOutcome.DECLINED]
        assert site.collaboration.presence.count("p") == 2

    async def test_the_log_is_not_read_for_such_a_user(self) -> None:
        """Neither the limit nor the debt ends with the last connection."""
        site = Site(recovery=True, limits=Limits(user_byte_rate=300_000))
        ann, _ = await two(site)
        recovery = site.server.of("/")._core.recovery
        assert recovery is not None
        with patch.object(recovery.log, "replay", wraps=recovery.log.replay) as replay:
            for _ in range(4):
                await ann.lose()
                await ann.back()
        declined = outcomes(site)[RecoveryOutcome.DECLINED]
        assert declined
        assert replay.call_count == 2 * (4 - declined)

    async def test_own_events_that_are_left_out_count_when_they_are_read(self) -> None:
        site = Site(recovery=True, limits=replace(UNLIMITED, user_byte_rate=20_000_000))
        ann = await Tab(site, "Ann").open()
        for number in range(500):
            ann.create(str(number))
        await asyncio.sleep(1.1)  # until the events themselves are paid for
        for _ in range(8):
            await ann.lose()
            await ann.back()
        assert outcomes(site)[RecoveryOutcome.RECOVERED] < 8
        assert outcomes(site)[RecoveryOutcome.DECLINED]

    async def test_one_connection_of_a_user_reads_at_a_time(self, site: Site) -> None:
        """Otherwise all of them read before the first read has been counted. Other users do not wait."""
        ann, bob = await two(site)
        other = await Tab(site, "Ann").open()
        for tab in (ann, bob, other):
            await tab.lose()
        recovery = site.server.of("/")._core.recovery
        assert recovery is not None
        asked: list[str] = []
        with patch.object(recovery.log, "replay", lambda sid, *rest: asked.append(sid)):
            returns = [asyncio.create_task(tab.back()) for tab in (ann, other, bob)]
            await settle()
            assert len(asked) == 2
        for each in returns:
            each.cancel()

    async def test_a_join_after_a_leave_looks_at_few_events(self, site: Site) -> None:
        """The server only wants to know whether anything has happened meanwhile."""
        ann, bob = await two(site)
        ann.emit("leave-project", "p")
        for number in range(50):
            bob.create(str(number))
        recovery = site.server.of("/")._core.recovery
        assert recovery is not None
        replay, looked_at = recovery.log.replay, list[int]()

        def watched(sid: str, joined: Any, after: Any, answered: Answered, most: int | None = None) -> None:
            replay(sid, joined, after, lambda missed: looked_at.append(missed.looked_at), most)

        with patch.object(recovery.log, "replay", watched):
            ann.emit("join-project", "p")
            await settle()
        assert looked_at == [11]

    async def test_an_edit_that_all_instances_share_counts_for_more(self) -> None:
        """Redis numbers and keeps it, which is most of the work."""
        site = Site(recovery=True, limits=replace(UNLIMITED, user_byte_rate=1_000_000))
        ann, bob = await two(site)
        for is_shared, fewest, most in ((True, 3, 10), (False, 30, 30)):
            with patch.object(MemoryLog, "is_shared", is_shared):
                await asyncio.sleep(2.1)  # until all before is paid for
                for number in range(30):
                    bob.create(str(number))
            await ann.read()
            assert fewest <= len(ann.edits()) <= most

    async def test_to_have_missed_too_much_counts_too(self) -> None:
        site = Site(recovery=RecoverySettings(replay_events=1), limits=Limits(user_byte_rate=3_000_000))
        ann, bob = await two(site)
        await ann.lose()
        for number in range(3):
            bob.create(str(number))
        await bob.read()
        for _ in range(3):
            await ann.back()
            await ann.lose()
        assert outcomes(site) == {RecoveryOutcome.TOO_MANY: 1, RecoveryOutcome.DECLINED: 2}


@pytest.mark.parametrize("turns", range(1, 20))
async def test_who_is_lost_again_while_returning_leaves_nothing(site: Site, turns: int) -> None:
    """In whichever turn of the loop the connection ends, also while a long replay is encoded."""
    ann, _ = await two(site)
    await ann.lose()
    for number in range(2000):
        site.server.to("p").emit("n", number)
    coming = asyncio.create_task(ann.back())
    for _ in range(turns):
        await asyncio.sleep(0)
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
    await coming
    await settle()
    assert site.collaboration.connections == 1
    assert site.collaboration.users == 1
    await ann.back()
    assert ann.recovered
    assert site.collaboration.connections == 2
    assert site.collaboration.presence.connections("p") == 2


async def test_an_announced_shutdown_is_not_replayed(site: Site) -> None:
    ann, _ = await two(site)
    await ann.lose()
    site.collaboration.announce_shutdown()
    await ann.back()
    assert ann.take("server:shutdown") == []


async def test_no_limit_is_needed_for_that() -> None:
    """Members without a limit on work return as well."""
    site = Guarded(Roles(ann=Role.EDITOR), limits=UNLIMITED, recovery=True)
    ann = await Tab(site, "Ann").open()
    await ann.lose()
    await ann.back()
    assert ann.recovered
    await site.close()
