"""Members who return after a lost connection: their rights, and the limits on their work."""

import asyncio
from dataclasses import replace
from unittest.mock import patch

import pytest
from tests.collaboration.guarded import UNLIMITED, Guarded, MakeGuarded, Roles, settle
from tests.collaboration.site import SECRET, Site
from tests.collaboration.tabs import PRESENCE, Tab, one_lost, two
from tests.support.clocks import Clock
from tests.support.page import held_reads, outcomes, recovery_of
from tests.support.servers import until

from synkora.collaboration import limits, user_work
from synkora.collaboration.access import AccessUnavailable, Role
from synkora.collaboration.blocks import Block
from synkora.collaboration.keyed_limit import MAX_PER_KEY
from synkora.collaboration.limits import Limits
from synkora.identity.tokens import sign
from synkora.recovery.memory import MemoryLog
from synkora.recovery.settings import RecoverySettings
from synkora.sockets.socket_recovery import RecoveryOutcome


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the limits."""
    clock = Clock()
    for module in (limits, user_work):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
def site() -> Site:
    return Site(recovery=True, leave_delay=1.0)


async def test_fault_02_another_user_gets_nothing(site: Site) -> None:
    ann, bob = await one_lost(site)
    await bob.create("secret")
    eve = Tab(site, "Eve")
    eve.pid, eve.offset = ann.pid, ann.offset
    await eve.come()
    assert (eve.recovered, await eve.edits()) == (False, [])
    assert eve.sid != ann.sid
    await ann.come()
    assert ann.recovered


async def test_fault_02_a_token_that_has_expired_is_refused(site: Site) -> None:
    """The same user may return with a new token."""
    ann, bob = await one_lost(site)
    await bob.create("secret")
    expired = sign({"id": "ann", "name": "Ann"}, SECRET, expires_in=-3600)
    await ann.come(token=expired)
    assert (ann.refusal, ann.events) == ("Authentication failed", [])
    assert await ann.restore() == [["task:create", {"id": "secret"}]]


async def test_fault_02_a_kicked_member_is_out(site: Site) -> None:
    ann, bob = await two(site)
    site.collaboration.disconnect(ann.sid or "")
    await ann.read()
    await bob.create("secret")
    await ann.come()
    assert (ann.recovered, await ann.edits()) == (False, [])
    assert site.collaboration.presence.count("p") == 1


async def test_fault_02_a_blocked_user_is_refused(site: Site) -> None:
    ann, bob = await one_lost(site)
    site.collaboration.blocks.add(Block("user", "ann", until=4e9, changed_at=1))
    await bob.create("secret")
    await ann.come()
    assert ann.refusal == "Blocked by the operators of this server"
    assert await ann.edits() == []


async def one_lost_in_two(guarded: MakeGuarded) -> tuple[Roles, Guarded, Tab, Tab]:
    """Ann, whose connection is lost, and Bob, in two projects."""
    roles = Roles(ann=Role.EDITOR, bob=Role.EDITOR)
    roles.roles |= {("ann", "q"): Role.EDITOR, ("bob", "q"): Role.EDITOR}
    site = guarded(roles, recovery=True)
    return roles, site, *await one_lost(site, "p", "q")


async def test_fault_02_a_revoked_project_is_left_out(guarded: MakeGuarded) -> None:
    """The policy is asked again, without the cache. The other project is recovered."""
    roles, _, ann, bob = await one_lost_in_two(guarded)
    roles.roles["ann", "p"] = None
    await bob.create("secret", "p")
    await bob.create("open", "q")
    await ann.come()
    assert ann.recovered
    errors = [event[1] for event in ann.events if event[0] == "error"]
    assert errors == [{"message": "You no longer have access to this project", "projectId": "p"}]
    assert await ann.edits() == [["task:create", {"id": "open"}]]
    assert [event[0] for event in await bob.take(*PRESENCE)] == ["user:left", "users:active", "users:count"]
    await bob.create("later", "p")
    assert await ann.edits() == []


async def test_a_user_who_is_removed_while_returning_is_out(guarded: MakeGuarded) -> None:
    """The policy may have answered before the removal. Other projects, and later returns, are not affected."""
    roles, site, ann, bob = await one_lost_in_two(guarded)
    roles.gate.clear()
    coming = asyncio.create_task(ann.come())
    await until(lambda: roles.asked["ann", "p"] == 2)
    site.collaboration.remove("p", "ann")
    await site.answer()
    await coming
    assert [event[1]["projectId"] for event in await ann.take("error")] == ["p"]
    for project in ("p", "q"):
        await bob.create(f"in {project}", project)
    assert await ann.edits() == [["task:create", {"id": "in q"}]]
    assert site.collaboration.presence.count("p") == 1
    ann.emit("join-project", "p")
    await settle()
    await ann.lose()
    await bob.create("missed", "p")
    assert await ann.restore() == [["task:create", {"id": "missed"}]]
    assert not site.collaboration._admission._removed


@pytest.mark.parametrize("is_answered", [False, True])
async def test_a_user_who_is_removed_during_the_last_read_of_a_return_gets_nothing_of_the_project(
    guarded: MakeGuarded, is_answered: bool
) -> None:
    """Neither what was missed before nor what follows the removal. The other project is recovered."""
    _, site, ann, bob = await one_lost_in_two(guarded)
    await bob.create("missed", "p")
    await bob.create("missed too", "q")
    with held_reads(site.server) as reads:
        await ann.come()
        reads.pop()()
        await until(lambda: reads)
        answer = reads.pop()
        if is_answered:
            answer()
        assert site.collaboration.remove("p", "ann") == 1
        await bob.create("after the removal", "p")
        await bob.create("later", "q")
        if not is_answered:
            answer()
        await settle()
    await ann.read()
    assert ann.recovered
    assert await ann.edits() == [["task:create", {"id": "missed too"}], ["task:create", {"id": "later"}]]
    assert recovery_of(site.server).replays.sum == (1 if is_answered else 2)


async def test_fault_02_the_role_is_the_present_one(guarded: MakeGuarded) -> None:
    site = guarded(roles := Roles(ann=Role.EDITOR, bob=Role.EDITOR), recovery=True)
    ann, bob = await one_lost(site)
    roles.roles["ann", "p"] = Role.VIEWER
    await ann.come()
    await ann.create("refused")
    await settle()
    assert ["viewers may not change" in event[1]["message"] for event in await ann.take("error")] == [True]
    assert await bob.edits() == []


async def test_without_an_answer_the_client_returns_once_more(guarded: MakeGuarded) -> None:
    """It neither loses its project nor gets events without access."""
    site = guarded(roles := Roles(ann=Role.EDITOR, bob=Role.EDITOR), recovery=True)
    ann, bob = await one_lost(site)
    await bob.create("missed")
    roles.error = AccessUnavailable("the app is down")
    await ann.come()
    assert not ann.session.is_live
    assert (ann.sid, ann.events) == (None, [])
    roles.error = None
    assert await ann.restore() == [["task:create", {"id": "missed"}]]
    assert await bob.take(*PRESENCE) == []


async def test_very_many_returns_of_one_user_do_not_delay_others(guarded: MakeGuarded) -> None:
    """Questions about returns are limited per user."""
    roles = Roles(bob=Role.EDITOR)
    roles.roles |= {("ann", f"p{number}"): Role.EDITOR for number in range(60)}
    site = guarded(roles, recovery=True)
    tabs = [await Tab(site, "Ann").open(f"p{number}") for number in range(60)]
    bob = await Tab(site, "Bob").open()
    for tab in (*tabs, bob):
        await tab.lose()
    roles.gate.clear()
    roles.asked.clear()
    for tab in (*tabs, bob):
        await tab.come()
    assert roles.asked["bob", "p"] == 1
    assert roles.asked.total() == 1 + MAX_PER_KEY
    roles.gate.set()
    await until(lambda: roles.asked.total() == 61)
    await settle()


async def test_a_return_to_very_many_projects_asks_about_few_at_a_time(guarded: MakeGuarded) -> None:
    """A return that fails asks no more."""
    projects = [f"p{number}" for number in range(50)]
    roles = Roles()
    roles.roles |= {("ann", project): Role.EDITOR for project in projects}
    site = guarded(roles, recovery=True)
    tabs = [await Tab(site, "Ann").open(*projects[number::2]) for number in range(2)]
    for tab in tabs:
        await tab.lose()
    for error in (AccessUnavailable("the app is down"), None):
        roles.asked.clear()
        roles.gate.clear()
        roles.error = error
        for tab in tabs:
            await tab.come()
        await settle()
        assert roles.asked.total() == MAX_PER_KEY
        await site.answer()
        if error is not None:
            assert roles.asked.total() < len(projects)
    await until(lambda: site.collaboration.connections == len(tabs))
    assert roles.asked.total() == len(projects)
    for tab in tabs:
        await tab.read()
        assert tab.recovered


async def test_the_limit_on_connections_counts_a_half_open_one_once(guarded: MakeGuarded) -> None:
    site = guarded(Roles(ann=Role.EDITOR), limits=Limits(connections=1), recovery=True)
    ann = await Tab(site, "Ann").open()
    await ann.come()
    assert ann.recovered
    other = Tab(site, "Ann")
    await other.come()
    assert other.refusal == "Too many connections"


async def test_a_user_above_the_work_limit_gets_no_replay() -> None:
    """A replay counts like deliveries for the user, as joins do. The projects are restored."""
    site = Site(recovery=True, limits=Limits(user_byte_rate=300_000))
    ann, bob = await one_lost(site)
    await bob.create("missed")
    for _ in range(4):
        await ann.lose()
        await ann.come()
    assert outcomes(site.server)[RecoveryOutcome.DECLINED]
    assert site.collaboration.presence.count("p") == 2


async def test_the_log_is_not_read_for_such_a_user() -> None:
    """Neither the limit nor the debt ends with the last connection."""
    site = Site(recovery=True, limits=Limits(user_byte_rate=300_000))
    ann, _ = await two(site)
    recovery = recovery_of(site.server)
    with patch.object(recovery.log, "replay", wraps=recovery.log.replay) as replay:
        for _ in range(4):
            await ann.lose()
            await ann.come()
    declined = outcomes(site.server)[RecoveryOutcome.DECLINED]
    assert declined
    assert replay.call_count == 2 * (4 - declined)


async def test_own_events_that_are_left_out_count_when_they_are_read() -> None:
    site = Site(recovery=True, limits=replace(UNLIMITED, user_byte_rate=20_000_000))
    ann = await Tab(site, "Ann").open()
    for number in range(500):
        await ann.create(str(number))
    await asyncio.sleep(1.1)  # until the events themselves are paid for
    for _ in range(8):
        await ann.lose()
        await ann.come()
    assert outcomes(site.server)[RecoveryOutcome.RECOVERED] < 8
    assert outcomes(site.server)[RecoveryOutcome.DECLINED]


async def test_one_connection_of_a_user_reads_at_a_time(site: Site) -> None:
    """Otherwise all of them read before the first read has been counted. Other users do not wait."""
    ann, bob = await two(site)
    other = await Tab(site, "Ann").open()
    for tab in (ann, bob, other):
        await tab.lose()
    recovery = recovery_of(site.server)
    asked: list[str] = []
    with patch.object(recovery.log, "replay", lambda sid, *rest: asked.append(sid)):
        returns = [asyncio.create_task(tab.come()) for tab in (ann, other, bob)]
        await settle()
        assert len(asked) == 2
    for each in returns:
        each.cancel()


async def test_a_join_after_a_leave_reads_no_events(site: Site) -> None:
    """The server only wants to know whether anything has happened meanwhile."""
    ann, bob = await two(site)
    ann.emit("leave-project", "p")
    for number in range(50):
        await bob.create(str(number))
    recovery = recovery_of(site.server)
    with patch.object(recovery.log, "replay", wraps=recovery.log.replay) as replay:
        ann.emit("join-project", "p")
        await settle()
    assert replay.call_count == 0


async def test_an_edit_that_all_instances_share_counts_for_more(clock: Clock) -> None:
    """Redis numbers and keeps it, which is most of the work."""
    site = Site(recovery=True, limits=replace(UNLIMITED, user_byte_rate=1_000_000))
    ann, bob = await two(site)
    for is_shared, fewest, most in ((True, 3, 10), (False, 30, 30)):
        with patch.object(MemoryLog, "is_shared", is_shared):
            clock.now += 60  # until all before is paid for
            for number in range(30):
                await bob.create(str(number))
        assert fewest <= len(await ann.edits()) <= most


async def test_to_have_missed_too_much_counts_too(clock: Clock) -> None:
    site = Site(recovery=RecoverySettings(replay_events=1), limits=Limits(user_byte_rate=3_000_000))
    ann, bob = await one_lost(site)
    for number in range(3):
        await bob.create(str(number))
    for _ in range(3):
        await ann.come()
        await ann.lose()
    assert outcomes(site.server) == {RecoveryOutcome.TOO_MANY: 1, RecoveryOutcome.DECLINED: 2}


async def test_no_limit_is_needed_for_that(guarded: MakeGuarded) -> None:
    """Members without a limit on work return as well."""
    site = guarded(Roles(ann=Role.EDITOR), limits=UNLIMITED, recovery=True)
    ann = await Tab(site, "Ann").open()
    await ann.lose()
    await ann.come()
    assert ann.recovered


@pytest.mark.parametrize("ends_while_reading", [True, False])
async def test_returns_that_are_broken_off_count_too(
    guarded: MakeGuarded, clock: Clock, ends_while_reading: bool
) -> None:
    """What was found for a client counts also if the client left meanwhile, or during the question about access."""
    roles = Roles(ann=Role.EDITOR, bob=Role.EDITOR)
    site = guarded(roles, recovery=True, limits=replace(UNLIMITED, user_byte_rate=1_000_000))
    ann, bob = await one_lost(site)
    for number in range(80):
        await bob.create(str(number))
    clock.now += 60  # until all before is paid for
    roles.error = AccessUnavailable("the app is down")
    for _ in range(8):
        with held_reads(site.server) as reads:
            await ann.come()
            if ends_while_reading:
                await ann.lose()
            for read in reads:
                read()
            await settle()
    roles.error = None
    await ann.come()
    assert outcomes(site.server) == {RecoveryOutcome.DECLINED: 1, RecoveryOutcome.REFUSED: 8}
