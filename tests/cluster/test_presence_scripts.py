"""The Lua scripts of presence, one by one."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Self

import pytest
from tests.support.links import MakeLink, started
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.cluster.lease import InstanceLease, Timing
from synkora.cluster.presence_scripts import CHANGE, ENTER, REAP, RENEW_LEASE, Keys
from synkora.collaboration.presence import PresenceEntry
from synkora.protocol.json import encode
from synkora.redis.link import Link, Script

KEYS = Keys("synkora:")
LIFETIME = 100
SILENCE = 6000  # ms
PROJECT = "p"


class Redis:
    """The scripts as instances call them, and their announcements of one project."""

    def __init__(self, link: Link, server: RedisServer) -> None:
        self.link = link
        self.server = server
        self.announced: list[dict[str, Any]] = []
        link.subscribe(KEYS.channel(PROJECT), lambda message: self.announced.append(json.loads(message)))

    async def beat(self, uid: str, *, registers: bool = False) -> Any:
        return await self.link.run(
            RENEW_LEASE, (KEYS.instances, KEYS.instance(uid)), (uid, SILENCE, LIFETIME, int(registers))
        )

    async def change(self, uid: str, *joined: str, left: tuple[str, ...] = (), stays: bool = True) -> Any:
        args: list[bytes | str | int] = [uid, PROJECT, KEYS.channel(PROJECT), LIFETIME, int(stays), len(left), *left]
        for socket_id in joined:
            args += (socket_id, json.dumps({"socketId": socket_id}))
        return await self.link.run(CHANGE, (KEYS.instances, KEYS.instance(uid), KEYS.project(PROJECT)), args)

    async def enter(self, uid: str, *own: str, project: str = PROJECT, held: str = "", most: int = -1) -> Any:
        args: list[bytes | str | int] = [uid, project, KEYS.channel(project), LIFETIME, most]
        for socket_id in own:
            args += (socket_id, json.dumps({"socketId": socket_id}), int(socket_id == held))
        reply = await self.link.run(ENTER, (KEYS.instances, KEYS.instance(uid), KEYS.project(project)), args)
        return None if reply is None else json.loads(reply)

    async def reap(self, uid: str, *, link: Link | None = None, most: int = 1000, ids: Sequence[str] = ()) -> list[str]:
        """Remove an instance from the projects `ids`, and return what is left."""
        args: list[bytes | str | int] = [uid, SILENCE, LIFETIME, "reaper", KEYS.channel(""), most, 2, *ids]
        names = (KEYS.instances, KEYS.instance(uid), *map(KEYS.project, ids))
        return [left.decode() for left in await (link or self.link).run(REAP, names, args)]

    async def reap_all(self, uid: str, *, link: Link | None = None, most: int = 1000) -> int:
        """Remove an instance from all its projects, and return the number of calls."""
        calls, ids = 1, await self.reap(uid, link=link, most=most)
        while ids:
            calls, ids = calls + 1, await self.reap(uid, link=link, most=most, ids=ids)
        return calls

    async def registered(self) -> Self:
        for uid in ("one", "two"):
            await self.beat(uid, registers=True)
        return self

    def age(self, uid: str) -> None:
        """Let an instance have been silent for long."""
        self.server.do("ZADD", KEYS.instances, 1, uid)

    async def take(self) -> list[tuple[list[str], list[str]]]:
        """The leaves and joins of each announcement since the last call."""
        await self.link.call("PING")
        await asyncio.sleep(0)
        taken, self.announced = self.announced, []
        return [(each["left"], [who["socketId"] for who in each["joined"]]) for each in taken]


@pytest.fixture
async def scripts(link: Link, redis: RedisServer) -> Redis:
    """With the registered instances `one` and `two`."""
    return await Redis(link, redis).registered()


async def test_an_unregistered_instance_is_refused(scripts: Redis) -> None:
    """An instance without a lease could not be removed, so its connections are not added."""
    assert await scripts.change("stranger", "s1") is None
    assert await scripts.enter("stranger", "s1") is None
    assert await scripts.beat("stranger") is None
    assert await scripts.take() == []
    assert scripts.server.do("EXISTS", KEYS.project(PROJECT)) == 0


async def test_a_change_is_announced_if_it_is_one(scripts: Redis) -> None:
    await scripts.change("one", "s1", "s2")
    await scripts.change("one", left=("s1", "never"))
    await scripts.change("one", left=("s1",))
    await scripts.change("one", "s2", left=("s2",))
    assert await scripts.take() == [([], ["s1", "s2"]), (["s1"], []), (["s2"], ["s2"])]


async def test_each_version_is_above_that_before(scripts: Redis) -> None:
    """Each announcement names the previous version, so that a lost one is noticed. The clock of Redis may have been
    ahead.
    """
    await scripts.change("one", "s1")
    await scripts.change("two", "s2")
    first, second = scripts.announced
    assert first["before"] == 0
    assert second["before"] == first["version"] < second["version"]
    ahead = second["version"] + 10**12
    scripts.server.do("HSET", KEYS.project(PROJECT), "", ahead)
    await scripts.change("one", "s3")
    assert (scripts.announced[-1]["before"], scripts.announced[-1]["version"]) == (ahead, ahead + 1)


async def test_entering_makes_redis_right(scripts: Redis) -> None:
    """Surplus connections of the instance are removed, missing ones are added, and others do not change."""
    await scripts.change("one", "s1", "s2")
    await scripts.change("two", "s3")
    await scripts.take()
    entered = await scripts.enter("one", "s2", "s4")
    assert [who["socketId"] for who in entered["entries"]] == ["s3"]
    assert scripts.announced[0]["version"] == entered["version"]
    assert await scripts.take() == [(["s1"], ["s4"])]
    assert (await scripts.enter("one", "s2", "s4"))["version"] == entered["version"]
    assert await scripts.take() == []


async def test_entering_without_connections_leaves(scripts: Redis) -> None:
    await scripts.change("one", "s1")
    await scripts.enter("one")
    assert await scripts.take() == [([], ["s1"]), (["s1"], [])]
    assert scripts.server.do("EXISTS", KEYS.project(PROJECT), KEYS.instance("one")) == 0


async def test_the_list_is_left_out_where_it_is_not_used(scripts: Redis) -> None:
    """It may be large. Without connections of its own, an instance may still use the list."""
    await scripts.change("two", "s2")
    assert (await scripts.enter("one", most=-2))["entries"] == []
    assert [who["socketId"] for who in (await scripts.enter("one"))["entries"]] == ["s2"]


async def test_entering_removes_connections_without_an_instance(scripts: Redis) -> None:
    """For example after the list of instances was lost: no other script removes them."""
    await scripts.change("two", "s2")
    scripts.server.do("ZREM", KEYS.instances, "two")
    entered = await scripts.enter("one", "s1")
    assert entered["entries"] == []
    assert await scripts.take() == [([], ["s2"]), (["s2"], ["s1"])]


async def test_a_beat_names_the_silent_ones(scripts: Redis) -> None:
    assert (await scripts.beat("one"))[0] == []
    scripts.age("one")
    scripts.age("two")
    assert (await scripts.beat("one"))[0] == [b"two"]


async def test_two_reapers_at_once_announce_once(scripts: Redis, make_link: MakeLink) -> None:
    other = await started(make_link())
    await scripts.change("two", "s1", "s2")
    await scripts.take()
    scripts.age("two")
    await asyncio.gather(scripts.reap_all("two"), scripts.reap_all("two", link=other))
    ((left, joined),) = await scripts.take()
    assert (sorted(left), joined) == (["s1", "s2"], [])
    assert scripts.server.do("ZRANGE", KEYS.instances, 0, -1) == [b"one"]


async def test_an_instance_that_renews_its_lease_is_not_reaped(scripts: Redis) -> None:
    """Even if the renewal comes just before the removal."""
    await scripts.change("two", "s1")
    scripts.age("two")
    ids = await scripts.reap("two")
    assert ids == [PROJECT]
    await scripts.beat("two", registers=True)
    assert await scripts.reap("two", ids=ids) == []
    assert scripts.server.do("HEXISTS", KEYS.project(PROJECT), "s1") == 1


async def test_others_stay_where_one_is_reaped(scripts: Redis) -> None:
    """Only connections of the dead instance are removed."""
    await scripts.change("one", "s1")
    await scripts.change("two", "s2")
    await scripts.take()
    scripts.age("two")
    await scripts.reap_all("two")
    assert await scripts.take() == [(["s2"], [])]


async def test_an_instance_that_returns_while_it_is_reaped_starts_again(scripts: Redis) -> None:
    """Each call reports this to the instance. The removal stops with its registration."""
    for number in range(3):
        await scripts.enter("two", f"s{number}", project=f"p{number}")
    scripts.age("two")
    left = await scripts.reap("two", ids=await scripts.reap("two"), most=1)
    assert len(left) == 2
    assert await scripts.change("two", "s9") is None
    assert await scripts.beat("two") is None
    assert (await scripts.beat("one"))[0] == [b"two"]  # any instance continues the removal
    await scripts.beat("two", registers=True)
    assert await scripts.reap("two", ids=left) == []
    assert scripts.server.do("SCARD", KEYS.instance("two")) == 2


async def test_reaping_ends_with_nothing_left(scripts: Redis) -> None:
    for number in range(5):
        await scripts.enter("two", f"s{number}", project=f"p{number}")
    scripts.age("two")
    assert await scripts.reap_all("two", most=1) == 6  # the first call only returns ids
    await until(lambda: scripts.server.do("KEYS", "*") == [KEYS.instances])


async def test_every_key_has_a_lifetime(scripts: Redis) -> None:
    await scripts.change("one", "s1")
    await scripts.enter("two", "s2")
    keys = scripts.server.do("KEYS", "*")
    assert len(keys) == 4
    assert all(0 < scripts.server.do("TTL", key) <= LIFETIME for key in keys)


async def test_entering_adopts_connections_that_returned_from_another_instance(scripts: Redis) -> None:
    """The entry stays unchanged. The old instance can no longer remove it."""
    await scripts.change("one", "s1", "s2")
    await scripts.take()
    entered = await scripts.enter("two", "s1", "s3")
    assert [who["socketId"] for who in entered["adopted"]] == ["s1"]
    assert [who["socketId"] for who in entered["entries"]] == ["s2"]
    assert await scripts.take() == [([], ["s1", "s3"])]
    await scripts.change("one", left=("s1", "s2"))
    assert await scripts.take() == [(["s2"], [])]


async def test_a_change_keeps_the_entry_of_another_instances_connection(scripts: Redis) -> None:
    entry = b'{"socketId":"s1","joinedAt":"before"}'
    scripts.server.do("HSET", KEYS.project(PROJECT), "s1", b"one:" + entry)
    await scripts.change("two", "s1")
    assert scripts.server.do("HGET", KEYS.project(PROJECT), "s1") == b"two:" + entry


async def test_a_held_connection_is_not_taken_back_from_another_instance(scripts: Redis) -> None:
    """If its client has returned there. Otherwise the connection stays."""
    await scripts.change("one", "s1", "s2")
    await scripts.enter("two", "s1")
    await scripts.take()
    entered = await scripts.enter("one", "s1", "s2", held="s1")
    assert [who["socketId"] for who in entered["entries"]] == ["s1"]
    assert await scripts.take() == []


class Told(Redis):
    """The scripts as instances with webhooks call them. Sockets with the same letter are one user."""

    names = (KEYS.users(PROJECT), KEYS.webhooks, KEYS.webhook_state)

    def json(self, socket_id: str) -> str:
        entry = PresenceEntry(socket_id, f'user "{socket_id[0]}"', "N", "2026-01-02T03:04:05.000Z")
        return encode(entry).decode()

    async def change(self, uid: str, *joined: str, left: tuple[str, ...] = (), stays: bool = True) -> Any:
        args: list[bytes | str | int] = [uid, PROJECT, KEYS.channel(PROJECT), LIFETIME, int(stays), len(left), *left]
        for socket_id in joined:
            args += (socket_id, self.json(socket_id))
        return await self.link.run(
            CHANGE, (KEYS.instances, KEYS.instance(uid), KEYS.project(PROJECT), *self.names), args
        )

    async def enter(self, uid: str, *own: str, project: str = PROJECT, held: str = "", most: int = -1) -> Any:
        args: list[bytes | str | int] = [uid, PROJECT, KEYS.channel(PROJECT), LIFETIME, most]
        for socket_id in own:
            args += (socket_id, self.json(socket_id), int(socket_id == held))
        return await self.link.run(
            ENTER, (KEYS.instances, KEYS.instance(uid), KEYS.project(PROJECT), *self.names), args
        )

    async def reap(self, uid: str, *, link: Link | None = None, most: int = 1000, ids: Sequence[str] = ()) -> list[str]:
        args: list[bytes | str | int] = [uid, SILENCE, LIFETIME, "reaper", KEYS.channel(""), most, 2, *ids]
        names = (KEYS.instances, KEYS.instance(uid), *map(KEYS.project, ids), *map(KEYS.users, ids), *self.names[1:])
        return [left.decode() for left in await (link or self.link).run(REAP, names, args)]

    def told(self) -> list[str]:
        """The events since the last call: `+` and `-` with the user's letter, or with `p` for the project."""
        signs = {"project.occupied": "+p", "project.vacant": "-p", "user.entered": "+", "user.left": "-"}
        events = [json.loads(fields[1]) for _, fields in self.server.do("XRANGE", KEYS.webhooks, "-", "+")]
        self.server.do("XTRIM", KEYS.webhooks, "MAXLEN", 0)
        assert {event["data"]["projectId"] for event in events} <= {PROJECT}
        return [signs[event["type"]] + event["data"].get("userId", "")[6:-1] for event in events]


@pytest.fixture
async def told(link: Link, redis: RedisServer) -> Told:
    return await Told(link, redis).registered()


async def test_a_user_enters_and_leaves_once_over_all_instances(told: Told) -> None:
    await told.change("one", "a1", "b1")
    assert told.told() == ["+p", "+a", "+b"]
    await told.change("two", "a2")
    await told.enter("two", "a2", "a3")
    await told.change("one", left=("a1",))
    assert told.told() == []
    await told.change("two", left=("a2", "a3"))
    assert told.told() == ["-a"]
    await told.change("one", left=("b1", "b1"))
    assert told.told() == ["-b", "-p"]
    assert told.server.do("EXISTS", KEYS.users(PROJECT), KEYS.project(PROJECT)) == 0


async def test_one_change_may_hold_all(told: Told) -> None:
    """The project stays occupied if somebody enters in the change in which the last user leaves."""
    await told.change("one", "a1")
    told.told()
    await told.change("one", "b1", "c1", left=("a1",))
    assert told.told() == ["+b", "+c", "-a"]
    await told.change("one", "b1", left=("b1",))
    assert told.told() == []


async def test_a_connection_that_moves_to_another_instance_is_no_news(told: Told) -> None:
    await told.change("one", "a1")
    told.told()
    await told.change("two", "a1")
    await told.change("one", left=("a1",))
    await told.enter("one")
    await told.change("two", "a2")
    await told.enter("two", "a2")
    assert told.told() == []
    await told.enter("two")
    assert told.told() == ["-a", "-p"]


async def test_the_users_of_a_dead_instance_leave_once(told: Told) -> None:
    """A user with a connection to another instance does not leave. Several instances may notice the death."""
    await told.change("one", "a1", "b1")
    await told.change("two", "b2")
    told.told()
    told.age("one")
    await asyncio.gather(told.reap_all("one"), told.reap_all("one"))
    assert told.told() == ["-a"]
    told.age("two")
    await told.reap_all("two")
    assert told.told() == ["-b", "-p"]


async def test_the_connections_of_an_instance_without_a_lease_are_replaced(told: Told) -> None:
    await told.change("one", "a1", "b1")
    told.told()
    told.server.do("ZREM", KEYS.instances, "one")
    await told.enter("two", "c1")
    assert told.told() == ["+c", "-a", "-b"]


async def test_changes_by_an_instance_without_webhooks_are_told_with_the_next_change(told: Told) -> None:
    """While instances are replaced, some may have other settings."""
    await told.change("one", "a1", "b1")
    told.told()
    plain = (KEYS.instances, KEYS.instance("two"), KEYS.project(PROJECT))
    args = ("two", PROJECT, KEYS.channel(PROJECT), LIFETIME, 1, 0, "c1", told.json("c1"), "a1", told.json("a1"))
    await told.link.run(CHANGE, plain, args)
    await told.link.run(CHANGE, plain, ("two", PROJECT, KEYS.channel(PROJECT), LIFETIME, 1, 1, "a1"))
    assert told.told() == []
    await told.change("one", "d1")
    assert told.told() == ["+c", "+d", "-a"]
    await told.change("one", left=("b1", "d1"))
    assert told.told() == ["-b", "-d"]


async def test_the_known_users_live_as_long_as_their_project(told: Told) -> None:
    await told.change("one", "a1")
    keys = (KEYS.project(PROJECT), KEYS.users(PROJECT))
    assert all(0 < told.server.do("TTL", key) <= LIFETIME for key in keys)
    for key in keys:
        told.server.do("EXPIRE", key, 5)
    lease = InstanceLease(told.link, KEYS, Timing(lifetime=LIFETIME), webhooks=True)
    versions: list[str] = []
    await told.beat(told.link.uid, registers=True)
    await lease.renew([PROJECT], lambda project, _: versions.append(project))
    assert versions == [PROJECT]
    assert all(5 < told.server.do("TTL", key) <= LIFETIME for key in keys)


@pytest.mark.parametrize(("events", "size"), [(10_000, 1), (400, 10_000)])
async def test_the_queue_is_bounded(told: Told, events: int, size: int) -> None:
    """In its number of events, and in bytes. The oldest are dropped."""
    script = Script("for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'event', string.rep('x', ARGV[2])) end")
    await told.link.run(script, (KEYS.webhooks,), (events, size))
    told.server.do("HSET", KEYS.webhook_state, "bytes", events * size)
    await told.change("one", "a1")
    length, dropped = (told.server.do("XLEN", KEYS.webhooks), told.server.do("HGET", KEYS.webhook_state, "dropped"))
    assert length + int(dropped) == events + 2
    entries = told.server.do("XRANGE", KEYS.webhooks, "-", "+")
    assert length <= 10_000
    assert int(told.server.do("HGET", KEYS.webhook_state, "bytes")) == sum(len(each[1][1]) for each in entries) <= 4e6
    assert json.loads(entries[-1][1][1])["type"] == "user.entered"
