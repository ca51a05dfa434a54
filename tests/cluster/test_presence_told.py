"""Presence events for users on several instances."""

from collections.abc import AsyncIterator

import pytest
from tests.collaboration.site import MemoryClient, Site, turn
from tests.support.links import MakeLink, started
from tests.support.servers import until

from synkora.cluster.presence_sync import PresenceSync

PROJECT = "proj_456"
Pair = tuple[Site, Site]


@pytest.fixture
async def sites(make_link: MakeLink) -> AsyncIterator[Pair]:
    presences = []
    for _ in range(2):
        link = await started(make_link())
        presence = PresenceSync(link)
        presence.start()
        presences.append(presence)
    await until(lambda: all(presence._lease.is_valid for presence in presences))
    yield Site(presence=presences[0]), Site(presence=presences[1])
    for presence in presences:
        await presence.close()


async def hears(client: MemoryClient, *expected: str) -> list[object]:
    """The payloads of the next events, which must have these names."""
    seen: list[list[object]] = []

    def came() -> bool:
        seen.extend(client.take_events())
        return len(seen) >= len(expected)

    await until(came)
    assert [event[0] for event in seen] == list(expected)
    return [event[1] for event in seen]


async def arrive(site: Site, name: str) -> MemoryClient:
    (client,) = await site.meet(name)
    return client


async def test_joins_and_leaves_are_announced_like_on_one_instance(sites: Pair) -> None:
    """The same events in the same order. Each user appears once, with any number of tabs."""
    alice, bob = await arrive(sites[0], "Alice"), await arrive(sites[1], "Bob")
    alice.emit("join-project", PROJECT)
    await hears(alice, "users:active", "users:count")
    bob.emit("join-project", PROJECT)
    active, count = await hears(bob, "users:active", "users:count")
    assert isinstance(active, dict)
    assert [user["userName"] for user in active["users"]] in (["Alice", "Bob"], ["Bob", "Alice"])
    assert count == {"count": 2}
    joined, count = await hears(alice, "user:joined", "users:count")
    assert isinstance(joined, dict)
    assert (joined["socketId"], joined["userId"]) == (bob.id, "bob")
    assert count == {"count": 2}

    tab = await arrive(sites[0], "Bob")
    tab.emit("join-project", PROJECT)
    await hears(tab, "users:active", "users:count")
    time = joined_at(sites[0], tab)
    assert await hears(bob, "user:joined", "users:count") == [
        {"socketId": tab.id, "userId": "bob", "userName": "Bob", "joinedAt": time, "timestamp": time},
        {"count": 2},
    ]
    await hears(alice, "user:joined", "users:count")

    bob.send("41")
    left, active, count = await hears(alice, "user:left", "users:active", "users:count")
    assert isinstance(left, dict)
    assert left["socketId"] == bob.id
    assert isinstance(active, dict)
    assert [user["userName"] for user in active["users"]] == ["Alice", "Bob"]
    assert count == {"count": 2}


def joined_at(site: Site, client: MemoryClient) -> str:
    presence = site.collaboration.presence
    assert isinstance(presence, PresenceSync)
    known = presence._projects[PROJECT].replica.presence.get(client.id)
    assert known is not None
    return known.joinedAt


async def test_a_crowd_on_another_instance_is_counted_a_few_times(sites: Pair) -> None:
    """Each join is announced once. Counts and lists are few, as there are few messages."""
    here = await arrive(sites[0], "Alice")
    here.emit("join-project", PROJECT)
    await hears(here, "users:active", "users:count")
    crowd = [sites[1].come(f"User {number}") for number in range(50)]
    await turn()
    for client in crowd:
        client.take()
        client.emit("join-project", PROJECT)
    told = await told_until(here, 51)
    assert told.count("user:joined") == 50
    assert told.count("users:count") < 10
    await told_until(crowd[-1], 51)

    for client in crowd:
        client.send("41")
    told = await told_until(here, 1)
    assert told.count("user:left") == 50
    assert told.count("users:active") + told.count("users:count") < 20


async def told_until(client: MemoryClient, count: int) -> list[object]:
    """The names of a member's events, up to the first count."""
    seen: list[list[object]] = []

    def came() -> bool:
        seen.extend(client.take_events())
        return ["users:count", {"count": count}] in seen

    await until(came)
    return [event[0] for event in seen]
