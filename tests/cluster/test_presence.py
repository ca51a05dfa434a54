"""Presence over several instances and a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from tests.cluster.instances import Instance, lifetimes
from tests.contracts.presence import PresenceContract
from tests.support.links import QUICK as LINK
from tests.support.links import MakeLink
from tests.support.logs import capture_logs
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.cluster.lease import Timing
from synkora.cluster.presence_sync import PresenceSync
from synkora.cluster.project_sizes import UNKNOWN
from synkora.cluster.project_sync import SyncEvent, SyncState
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.collaboration.projects import PRESENCE_GRACE
from synkora.redis.link import Link, LinkSettings

# An instance is late by less than `silence` though the machine is busy; the other times are those that tests wait for.
QUICK = Timing(beat=0.05, silence=1.5, lifetime=60, timeout=0.3, absence=0.6, watch=0, doubt=0.3)

Gather = Callable[..., Awaitable[list[Instance]]]


@pytest.fixture
async def gather(make_link: MakeLink) -> AsyncIterator[Gather]:
    gathered: list[Instance] = []

    async def make(number: int = 2, timing: Timing = QUICK, **link: LinkSettings) -> list[Instance]:
        made = [Instance(make_link(**link), timing) for _ in range(number)]
        gathered.extend(made)
        for instance in made:
            assert await instance.link.start(PATIENCE)
            await until(lambda instance=instance: instance.presence._lease.is_valid)
        return made

    yield make
    for instance in gathered:
        if instance.is_alive:
            await instance.presence.close()


async def met(*instances: Instance, project: str = "p") -> None:
    """One client on each instance, in one project, who know of each other."""
    for instance, letter in zip(instances, "abc", strict=False):
        instance.join(project, f"{letter}1")
    await everyone_sees(set("abc"[: len(instances)]), *instances, project=project)
    for instance in instances:
        instance.witness.take()


async def everyone_sees(letters: set[str], *instances: Instance, project: str = "p") -> None:
    """Wait until the clients of the instances know these connections, each named by its letter."""
    truth = {f"{letter}1" for letter in letters}
    await until(lambda: all(instance.sees(project) == truth for instance in instances))


class TestPresenceSync(PresenceContract):
    @pytest.fixture
    def presence(self, link: Link) -> Presence:
        return PresenceSync(link)


class TestPresenceSyncWhileRedisIsAway(PresenceContract):
    @pytest.fixture
    async def presence(self, make_link: MakeLink) -> Presence:
        return PresenceSync(make_link())


async def test_the_connections_of_other_instances_count_where_no_member_is(gather: Gather) -> None:
    """Edits need no join: without a member here, an edit would cost its sender nothing."""
    one, two = await gather()
    await one.enter("p", "a1")
    await one.enter("p", "b1")
    assert two.presence.connections("p") == UNKNOWN
    await until(lambda: two.presence.connections("p") == 2)
    two.join("p", "c1")
    assert two.presence.connections("p") == 2  # its list has not come
    await everyone_sees({"a", "b", "c"}, one, two)
    assert two.presence.connections("p") == one.presence.connections("p") == 3


async def test_every_join_is_announced_once_to_every_member(gather: Gather) -> None:
    one, two = await gather()
    await one.enter("p", "a1")
    two.join("p", "b1")
    await everyone_sees({"a", "b"}, one, two)
    one.join("p", "c1")
    await everyone_sees({"a", "b", "c"}, one, two)
    one.leave("p", "a1")
    await everyone_sees({"b", "c"}, one, two)
    assert one.witness.take() == ["+a1", "+b1", "+c1", "-a1"]
    assert two.witness.take() == ["+b1", "+c1", "-a1"]


async def test_a_new_member_gets_the_complete_list(gather: Gather) -> None:
    """After the reply of Redis, with the users of all instances once, in the order of their joins."""
    one, two = await gather()
    for socket in ("x1", "a1", "x2"):
        one.join("p", socket)
    await until(lambda: one.presence.is_complete("p"))
    two.join("p", "x3")
    assert not two.presence.is_complete("p")
    await until(lambda: two.witness.completions == 1)
    assert [each.userId for each in two.witness.known["p"].values()].count("user-x") == 3
    assert two.presence.count("p") == one.presence.count("p") == 2


async def test_projects_of_other_instances_cost_nothing(gather: Gather, redis: RedisServer) -> None:
    """An instance subscribes to a project from the first local member to the last."""
    one, two = await gather()
    await one.enter("p", "a1")
    assert redis.do("PUBSUB", "NUMSUB", "synkora:presence:p")[1] == 1
    one.leave("p", "a1")
    await until(lambda: redis.do("PUBSUB", "NUMSUB", "synkora:presence:p")[1] == 0)
    assert one.presence._projects == two.presence._projects == {}
    assert lifetimes(redis).keys() == {"synkora:instances"}


@pytest.mark.parametrize(
    "project", ["*", "a b\r\nc", "synkora:project:p", "{p}", "%s", "\x00", "🚀" * 200, '"\\', ":", "-1"]
)
async def test_a_project_may_have_any_name(gather: Gather, project: str) -> None:
    one, two = await gather()
    await met(one, two, project=project)
    two.leave(project, "b1")
    await everyone_sees({"a"}, one, project=project)


async def test_names_are_told_as_they_are(gather: Gather) -> None:
    """Including characters that JSON escapes."""
    one, two = await gather()
    await two.enter("p", "b1")
    one.join("p", '🚀"\\\n%s:')
    await until(lambda: len(two.sees("p")) == len(one.sees("p")) == 2)
    assert two.witness.known["p"] == one.witness.known["p"]


async def test_a_thousand_joins_are_few_calls(gather: Gather, redis: RedisServer) -> None:
    """Joins of one turn are one call, and joins during a call are the next one."""
    one, two = await gather(timing=Timing(beat=30))
    await met(one, two)
    redis.do("CONFIG", "RESETSTAT")
    for number in range(1000):
        one.join("p", f"c{number}")
        if number % 100 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(two.sees("p")) == 1002)
    stats = redis.do("INFO", "commandstats").decode().splitlines()
    calls = sum(int(line.partition("calls=")[2].partition(",")[0]) for line in stats if line.startswith("cmdstat_eval"))
    assert 1 <= calls <= 11


async def test_an_instance_that_dies_is_noticed(gather: Gather, redis: RedisServer) -> None:
    """Its users leave everywhere, once, and nothing remains, although all others notice simultaneously."""
    one, two, dead = await gather(3)
    await met(one, two, dead)
    await _die(dead)
    await everyone_sees({"a", "b"}, one, two)
    assert one.witness.take() == two.witness.take() == ["-c1"]
    await until(lambda: redis.do("ZCARD", "synkora:instances") == 2)
    assert f"synkora:instance:{dead.link.uid}" not in lifetimes(redis)


async def test_names_that_another_program_has_written_do_not_keep_dead_instances(
    gather: Gather, redis: RedisServer
) -> None:
    """Whatever bytes they have."""
    one, two, dead = await gather(3)
    await met(one, two, dead)
    redis.do("ZADD", "synkora:instances", "1", b"\xff")
    redis.do("SADD", f"synkora:instance:{one.link.uid}", b"\xff")
    await _die(dead)
    await everyone_sees({"a", "b"}, one, two)


@pytest.mark.parametrize("announces", [True, False])
async def test_an_instance_that_announced_its_stop_is_not_logged_as_lost(gather: Gather, *, announces: bool) -> None:
    """Its clients may return, so that its lease ends by itself, as that of a dead instance does."""
    one, other = await gather()
    await met(one, other)
    if announces:
        one.stopped.append(other.link.uid)
    with capture_logs() as logs:
        await other.presence.close(may_return=True)
        await everyone_sees({"a"}, one)
    lost = [line["instance"] for line in logs if line["event"] == "instance_gone"]
    assert lost == ([] if announces else [other.link.uid])


def test_the_clients_of_a_dead_instance_have_the_grace_period_and_leave_within_ten_seconds() -> None:
    """Its last heartbeat may be one interval old when it dies, and the others look once in an interval."""
    timing = Timing()
    assert timing.silence - timing.beat > PRESENCE_GRACE
    assert timing.silence + timing.beat < 9.5


async def test_a_dead_instance_is_removed_in_batches(
    gather: Gather, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is never blocked for all members. If the removing instance dies, others continue."""
    monkeypatch.setattr("synkora.cluster.lease._REAPED_AT_ONCE", 2)
    one, dead = await gather()
    for number in range(20):
        one.join(f"p{number}", "a1")
        dead.join(f"p{number}", "b1")
        dead.join(f"p{number}", "b2")
    await until(lambda: all(len(one.sees(f"p{number}")) == 3 for number in range(20)))
    await _die(dead)
    await until(lambda: all(len(one.sees(f"p{number}")) == 1 for number in range(20)))
    assert one.witness.take().count("-b1") == 20
    await until(lambda: redis.do("ZCARD", "synkora:instances") == 1)


async def test_an_instance_that_was_considered_dead_is_found_again(gather: Gather, redis: RedisServer) -> None:
    """The others get leaves and joins of its users. Its own clients get none."""
    one, paused = await gather()
    await met(one, paused)
    redis.do("ZADD", "synkora:instances", 1, paused.link.uid)
    one.hurry()
    await until(lambda: one.witness.heard == ["-b1", "+b1"] or redis.do("ZCARD", "synkora:instances") == 2)
    await everyone_sees({"a", "b"}, one, paused)
    assert paused.witness.take() == []


async def test_stopping_removes_all_connections_at_once(gather: Gather, redis: RedisServer) -> None:
    """The others need not wait until the instance is considered dead. Its own clients get no announcement."""
    one, stopping = await gather()
    await met(one, stopping)
    await stopping.presence.close()
    await everyone_sees({"a"}, one)
    assert (one.witness.take(), stopping.witness.take()) == (["-b1"], [])
    stopping.leave("p", "b1")
    assert redis.do("ZCARD", "synkora:instances") == 1


async def test_a_redis_that_lost_its_memory_gets_the_presence_again(gather: Gather, redis: RedisServer) -> None:
    """Nobody leaves, since all instances are running."""
    one, two = await gather()
    await met(one, two)
    redis.do("FLUSHALL")
    await until(lambda: redis.do("HLEN", "synkora:project:p") == 3)
    two.join("p", "c1")
    await everyone_sees({"a", "b", "c"}, one, two)
    assert one.witness.take() == two.witness.take() == ["+c1"]


async def test_a_redis_that_returns_empty_gets_the_presence_again(gather: Gather, redis: RedisServer) -> None:
    """Changes are announced immediately on their own instance, and on others afterwards."""
    one, two = await gather(timing=Timing(beat=0.05, silence=1.5, absence=30, doubt=0.6))
    await met(one, two)
    redis.kill()
    await until(lambda: not (one.link.is_up or two.link.is_up))
    one.join("p", "c1")
    one.leave("p", "a1")
    one.join("alone", "d1")
    assert one.witness.take() == ["+c1", "-a1", "+d1"]
    assert one.presence.is_complete("alone")
    redis.start()
    await everyone_sees({"b", "c"}, one, two)
    assert (one.witness.take(), sorted(two.witness.take())) == ([], ["+c1", "-a1"])
    await until(lambda: redis.do("EXISTS", "synkora:project:alone") == 1)


async def test_very_many_members_do_not_end_the_link(gather: Gather, redis: RedisServer) -> None:
    """When Redis is back, together they are more than a link holds: projects are told a few at a time."""
    redis.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000000 0 0")
    settings = replace(LINK, max_waiting=2_000_000, timeout=10)
    one, two = await gather(settings=settings)
    ids = [f"{number}-" + "🚀" * 190 for number in range(2000)]
    for project in ids:
        for socket in ("a1", "b1", "c1"):
            one.join(project, socket)
        two.join(project, "d1")
    await until(lambda: len(redis.do("KEYS", "synkora:project:*")) == 2000)
    await until(lambda: all(two.sees(project) == {"a1", "b1", "c1", "d1"} for project in ids))
    reconnects = one.link.reconnects
    for times, forgets in enumerate((False, True), 1):
        if forgets:
            redis.do("FLUSHALL")
        redis.do("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda times=times: one.link.reconnects == reconnects + times)
        await until(lambda: len(redis.do("KEYS", "synkora:project:*")) == 2000)
        await until(lambda: all(project.state is SyncState.SYNCED for project in one.presence._projects.values()))
    assert one.link.reconnects == reconnects + 2
    assert all(two.sees(project) == {"a1", "b1", "c1", "d1"} for project in ids)


async def test_the_lists_of_large_projects_do_not_end_the_link(gather: Gather, redis: RedisServer) -> None:
    """Redis ends a connection with too much unread. The lists of large projects are asked for one after the other."""
    redis.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 2000000 0 0")
    one, two = await gather(timing=replace(QUICK, timeout=30))
    ids = [f"p{number}" for number in range(40)]
    sockets = {f"a{number}" for number in range(90)}
    for project in ids:
        one.inside[project] = {
            socket: PresenceEntry(socket, "user-a", "A", "2026-01-02T03:04:05Z", "https://" + "x" * 1000)
            for socket in sockets
        }
        for socket in sockets:
            one.join(project, socket)
    await until(lambda: all(each.state is SyncState.SYNCED for each in one.presence._projects.values()))
    for project in ids:
        two.join(project, "b1")
    await until(lambda: all(two.sees(project) == {*sockets, "b1"} for project in ids))
    assert (one.link.reconnects, two.link.reconnects) == (0, 0)
    for project in ids:
        two.leave(project, "b1")
    await until(lambda: all(one.sees(project) == sockets for project in ids))


async def test_the_others_are_removed_if_redis_stays_away(gather: Gather, redis: RedisServer) -> None:
    """They stay listed for a time, are then removed, and rejoin when Redis is back."""
    one, two = await gather()
    await met(one, two)
    redis.kill()
    await until(lambda: not one.link.is_up)
    assert one.sees("p") == {"a1", "b1"}
    await everyone_sees({"a"}, one)
    await everyone_sees({"b"}, two)
    redis.start()
    await everyone_sees({"a", "b"}, one, two)
    assert (one.witness.take(), two.witness.take()) == (["-b1", "+b1"], ["-a1", "+a1"])


async def test_a_frozen_redis_delays_no_client(gather: Gather, redis: RedisServer) -> None:
    """The list is sent without the others after the timeout. When Redis continues, all know each other."""
    one, two = await gather()
    await met(one, two)
    redis.pause()
    try:
        one.join("q", "a1")
        two.join("q", "b1")
        assert not one.presence.is_complete("q")
        await until(lambda: one.witness.completions == two.witness.completions == 2)
    finally:
        redis.resume()
    await everyone_sees({"a", "b"}, one, two, project="q")
    await everyone_sees({"a", "b"}, one, two)


async def test_no_instance_is_considered_dead_after_an_outage_of_redis(gather: Gather, redis: RedisServer) -> None:
    """After an outage of any length, the first instance to reconnect waits for the others."""
    timing = Timing(beat=0.05, silence=0.5, absence=30, watch=1.5, doubt=30)
    late = LinkSettings(beat_interval=0.05, missed_beats=6, timeout=1, first_delay=1.6, longest_delay=1.6)
    one, three = await gather(2, timing)
    (two,) = await gather(1, timing, settings=late)
    await met(one, two, three)
    clock = asyncio.get_running_loop().time
    redis.pause()
    try:
        await until(lambda: not (one.link.is_up or two.link.is_up))
        resume_at = clock() + timing.silence
        await _die(three)
        await until(lambda: clock() > resume_at)
    finally:
        redis.resume()
    await everyone_sees({"a", "b"}, one, two)
    assert one.witness.take() == two.witness.take() == ["-c1"]


async def test_a_leave_during_an_outage_is_announced_after_the_outage(gather: Gather, redis: RedisServer) -> None:
    """Redis still has the old members, and is corrected, also for projects without remaining members."""
    one, two = await gather(timing=Timing(beat=0.05, silence=5, absence=30, doubt=0.3))
    await met(one, two)
    await met(one, two, project="q")
    redis.do("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: not two.link.is_up)
    two.leave("p", "b1")
    two.leave("q", "b1")
    two.join("q", "c1")
    await everyone_sees({"a"}, one)
    await everyone_sees({"a", "c"}, one, two, project="q")
    assert sorted(one.witness.take()) == ["+c1", "-b1", "-b1"]
    await until(lambda: redis.do("HLEN", "synkora:project:p") == 2)


async def test_nothing_remains(gather: Gather, redis: RedisServer) -> None:
    """Every key has a lifetime that is renewed only while the key is needed."""
    one, dead = await gather(timing=Timing(beat=0.1, silence=30, lifetime=2))
    await met(one, dead)
    dead.join("only here", "b1")
    await until(lambda: redis.do("EXISTS", "synkora:project:only here") == 1)
    assert all(0 < seconds <= 2 for seconds in lifetimes(redis).values())
    await _die(dead)
    await until(lambda: redis.do("EXISTS", "synkora:project:only here", f"synkora:instance:{dead.link.uid}") == 0)
    expected = {"synkora:instances", "synkora:project:p", f"synkora:instance:{one.link.uid}"}
    assert lifetimes(redis).keys() == expected


async def test_evicted_presence_is_written_again(gather: Gather, redis: RedisServer) -> None:
    """A key evicted under memory pressure is noticed when its lifetime is renewed."""
    one, two = await gather(timing=Timing(beat=0.05, silence=5, lifetime=1, doubt=1))
    await met(one, two)
    redis.do("DEL", "synkora:project:p")
    await until(lambda: redis.do("HLEN", "synkora:project:p") == 3)
    assert one.witness.take() == two.witness.take() == []


async def test_refused_changes_are_retried(gather: Gather, redis: RedisServer) -> None:
    """Lists are sent, the reason is reported, and other projects continue."""
    one, two = await gather(timing=Timing(beat=0.05, silence=1.5, timeout=30))
    redis.do("SET", "synkora:project:p", "in the way")
    await one.enter("p", "a1")
    assert one.presence.problem is not None
    await met(one, two, project="q")
    redis.do("DEL", "synkora:project:p")
    two.join("p", "b1")
    await everyone_sees({"a", "b"}, one, two)
    await until(lambda: one.presence.problem is None)


async def test_refused_changes_do_not_accumulate(gather: Gather, redis: RedisServer) -> None:
    """Projects without members are forgotten. Their leaves are made when Redis accepts changes again."""
    one, two = await gather()
    await met(one, two)
    redis.do("CONFIG", "SET", "min-replicas-to-write", 1)
    for number in range(20):
        project = f"p{number}"
        one.join(project, "a2")
        await until(lambda project=project: one.presence.is_complete(project))
        one.leave(project, "a2")
    two.leave("p", "b1")
    await until(lambda: one.presence._projects.keys() == {"p"})
    await until(lambda: two.presence._projects == {})
    assert one.sees("p") == {"a1", "b1"}
    redis.do("CONFIG", "SET", "min-replicas-to-write", 0)
    await everyone_sees({"a"}, one)


@pytest.mark.parametrize("message", [b"", b"{", b"[]", b'{"author":1}', b"\xff", b"[" * 100_000])
async def test_invalid_messages_are_counted_and_ignored(gather: Gather, redis: RedisServer, message: bytes) -> None:
    one, two = await gather()
    await met(one, two)
    redis.do("PUBLISH", "synkora:presence:p", message)
    two.join("p", "c1")
    await everyone_sees({"a", "b", "c"}, one, two)


async def test_an_unreadable_list_is_requested_again(gather: Gather, redis: RedisServer) -> None:
    """Members get what this instance knows, and the others when the list can be read."""
    one, two = await gather()
    await one.enter("p", "a1")
    redis.do("HSET", "synkora:project:p", "x1", f"{one.link.uid}:no JSON")
    with capture_logs() as logs:
        await two.enter("p", "b1")
        await until(lambda: [line["event"] for line in logs].count("snapshot_unreadable") >= 2)
    assert two.sees("p") == {"b1"}
    redis.do("HDEL", "synkora:project:p", "x1")
    await everyone_sees({"a", "b"}, one, two)
    assert two.witness.take() == ["+b1", "+a1"]


async def _die(instance: Instance) -> None:
    instance.kill()
    await instance.link.close()


async def test_a_project_on_several_instances_is_counted_on_one(gather: Gather) -> None:
    """Each knows the total. If the counting instance leaves, another one counts."""
    instances = await gather(3)
    await met(*instances)
    left = list(instances)
    while left:
        occupancies = [instance.presence.occupancy("p") for instance in left]
        assert [occupancy[:2] for occupancy in occupancies] == [(len(left), len(left))] * len(left)
        assert [occupancy.is_reporter for occupancy in occupancies].count(True) == 1
        gone = left.pop(next(at for at, occupancy in enumerate(occupancies) if occupancy.is_reporter))
        gone.leave("p", next(iter(gone.inside["p"])))
        await until(lambda: all(instance.presence.count("p") == len(left) for instance in left))
        assert gone.presence.local_projects == []


async def test_a_return_to_another_instance_is_not_announced(gather: Gather) -> None:
    """Neither on return nor when the old instance gives the connection up. Afterwards the new instance removes it."""
    one, two, three = await gather(3)
    await met(one, two, three)
    one.join("p", "x1")
    await everyone_sees({"a", "b", "c", "x"}, one, two, three)
    for instance in (one, two, three):
        instance.witness.take()
    one.lose("p", "x1")
    two.join("p", "x1")
    await until(lambda: "x1" in one.presence._projects["p"].replica.moved)
    one.leave("p", "x1")
    one.join("p", "d1")
    await everyone_sees({"a", "b", "c", "d", "x"}, one, two, three)
    two.leave("p", "x1")
    await everyone_sees({"a", "b", "c", "d"}, one, two, three)
    for instance in (one, two, three):
        assert instance.witness.take() == ["+d1", "-x1"]


async def test_a_project_whose_last_connection_has_moved_leaves_nothing(gather: Gather) -> None:
    """The listener is told, and drops what it keeps of the project; the call to Redis gets no list."""
    one, two = await gather()
    await one.enter("p", "x1")
    one.lose("p", "x1")
    await two.enter("p", "x1")
    await until(lambda: "x1" in one.presence._projects["p"].replica.moved)
    completions = one.witness.completions
    one.leave("p", "x1")
    assert one.presence._projects == {}
    assert one.witness.completions == completions + 1
    one.presence._call_all()
    assert one.presence._in_flight < 1000
    await until(lambda: one.presence._calls == 0)
    assert two.sees("p") == {"x1"}


async def test_others_stay_listed_where_the_own_connections_have_moved(gather: Gather) -> None:
    """This instance asks for the list again while it has no other connection in the project."""
    one, two = await gather()
    await one.enter("p", "x1")
    await two.enter("p", "b1")
    await everyone_sees({"x", "b"}, one, two)
    one.lose("p", "x1")
    two.join("p", "x1")
    await until(lambda: "x1" in one.presence._projects["p"].replica.moved)
    project = one.presence._projects["p"]
    project.move(SyncEvent.LOSE_TRACK)
    one.presence._plan_call("p")
    await until(lambda: project.state is SyncState.SYNCED and "p" not in one.presence._doubts)
    assert one.presence.connections("p") == 2
    one.join("p", "y1")
    await everyone_sees({"x", "b", "y"}, one, two)
    assert one.presence.count("p") == 3


async def test_a_return_to_an_instance_without_other_members_is_not_announced(gather: Gather) -> None:
    """That instance learns of the project with the return."""
    one, two = await gather()
    one.join("p", "a1")
    await one.enter("p", "x1")
    one.witness.take()
    one.lose("p", "x1")
    await two.enter("p", "x1")
    await until(lambda: "x1" in one.presence._projects["p"].replica.moved)
    one.leave("p", "x1")
    one.join("p", "b1")
    await everyone_sees({"a", "b", "x"}, one, two)
    assert one.witness.take() == ["+b1"]
    entries = [instance.witness.known["p"]["x1"].joinedAt for instance in (one, two)]
    assert len(set(entries)) == 1


async def test_nobody_hears_of_a_client_that_returns_while_the_instance_learns_of_the_project(gather: Gather) -> None:
    """Its entry stays, although the instance did not know it yet."""
    one, two = await gather()
    one.join("p", "a1")
    await one.enter("p", "x1")
    one.lose("p", "x1")
    one.witness.take()
    two.join("q", "c1")  # so that the time of x1 differs
    two.join("p", "b1")
    while two.presence._projects["p"].state is SyncState.NEW:
        await asyncio.sleep(0)
    assert two.presence._projects["p"].state is SyncState.ENTERING
    two.join("p", "x1")
    await until(lambda: "x1" in one.presence._projects["p"].replica.moved)
    one.leave("p", "x1")
    await everyone_sees({"a", "b", "x"}, one, two)
    assert one.witness.take() == ["+b1"]
    own = two.presence._projects["p"].replica.own
    await until(lambda: own["x1"] == one.presence._projects["p"].replica.presence.get("x1"))


async def test_the_last_client_of_an_instance_may_move(gather: Gather, redis: RedisServer) -> None:
    """The instance forgets the project when it gives the client up."""
    one, two = await gather()
    await one.enter("p", "x1")
    one.lose("p", "x1")
    two.join("p", "x1")
    await until(lambda: "x1" in one.presence._projects["p"].replica.moved)
    one.leave("p", "x1")
    await until(lambda: not one.presence._projects)
    await until(lambda: not redis.do("EXISTS", f"synkora:instance:{one.link.uid}"))
    assert two.sees("p") == {"x1"}
    assert one.presence.project_count == 0


async def test_a_client_of_a_dead_instance_is_adopted(gather: Gather) -> None:
    """It returned before the instance was considered dead, so nothing is announced."""
    one, two, dead = await gather(3)
    await met(one, two, dead)
    two.witness.take()
    dead.kill()
    one.join("p", "c1")
    await until(lambda: one.presence._projects["p"].state is SyncState.SYNCED)
    await one.presence._lease.reap(dead.link.uid)
    one.join("p", "d1")
    await everyone_sees({"a", "b", "c", "d"}, one, two)
    assert two.witness.take() == ["+d1"]
