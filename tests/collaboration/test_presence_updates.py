"""How often lists are sent, what is delayed, and that everyone ends with the correct one."""

import asyncio
import json
from typing import Any

import pytest
from tests.collaboration.site import MemoryClient, Site, turn
from tests.support.processes import PATIENCE
from tests.support.servers import until

from synkora.collaboration import presence_updates, unsent_presence
from synkora.collaboration.unsent_presence import MEMBER_RATE
from synkora.engine.state_updates import Bundle
from synkora.sockets.internals import adapter_of

PROJECT = "proj_456"


def names(events: list[list[object]]) -> list[object]:
    return [event[0] for event in events]


async def crowd(site: Site, size: int) -> list[MemoryClient]:
    """Members with the longest possible entries in a list."""
    clients = [site.come(f"Member {number}", picture=f"https://example.com/{'x' * 1000}") for number in range(size)]
    for client in clients:
        await client.act("join-project", PROJECT)
    for client in clients:
        client.take()
    return clients


async def newest_list(client: MemoryClient) -> set[str]:
    async with asyncio.timeout(PATIENCE):
        while True:
            for event in reversed(client.take_events()):
                if event[0] == "users:active":
                    return {user["userName"] for user in event[1]["users"]}
            await asyncio.sleep(0.01)


async def lose_track(client: MemoryClient) -> None:
    """Wait until a client that does not read has missed so many events that all are dropped."""
    outbox = client.session.outbox
    await until(lambda: outbox._backlog is not None and outbox._backlog.lost)


async def rosters_may_be_sent(site: Site) -> None:
    """Wait until the project's changes have been sent, and rosters are below their rate."""
    updates, loop = site.collaboration.projects._updates, asyncio.get_running_loop()
    unsent = updates._unsent[PROJECT]
    await until(
        lambda: (
            unsent.batch is None
            and unsent.roster_pace.due <= loop.time()
            and not any(outbox.queue for outbox in updates._members(unsent).values())
        )
    )


async def test_repeated_joins_and_leaves_cause_few_lists(site: Site) -> None:
    """Joins and leaves are announced each time, the list rarely, and the final state is correct."""
    alice, other, *_ = await crowd(site, 20)
    mallory = site.come("Mallory")
    began, got = asyncio.get_running_loop().time(), []
    for _ in range(15):
        for event in ("join-project", "leave-project"):
            await mallory.act(event, PROJECT)
        got += alice.take_events()
    lasted = asyncio.get_running_loop().time() - began
    assert names(got).count("user:joined") == names(got).count("user:left") == 15
    assert names(got).count("users:count") == 30
    sizes = [len(json.dumps(event)) for event in got if event[0] == "users:active"]
    assert sizes
    assert sum(sizes) <= MEMBER_RATE * (lasted + 0.5) + 2 * max(sizes)
    assert len(sizes) < 5
    other.emit("leave-project", PROJECT)
    async with asyncio.timeout(PATIENCE):
        while await newest_list(alice) != {f"Member {number}" for number in range(20) if number != 1}:
            pass


async def test_a_leave_is_announced_immediately_in_a_small_project(site: Site) -> None:
    """Cheap announcements never wait, even if they are frequent."""
    (alice,) = await site.meet("Alice", project=PROJECT)
    bob = site.come("Bob")
    for _ in range(20):
        await bob.act("join-project", PROJECT)
        alice.take()
        await bob.act("leave-project", PROJECT)
        assert names(alice.take_events()) == ["user:left", "users:active", "users:count"]


async def test_a_new_member_gets_the_list_while_others_wait(site: Site) -> None:
    alice, bob, *_ = await crowd(site, 20)
    for client in (alice, bob):
        for event in ("leave-project", "join-project", "leave-project"):
            await client.act(event, PROJECT)
    dave = site.come("Dave")
    await dave.act("join-project", PROJECT)
    events = [event for event in dave.take_events() if event[0].startswith("user")]
    assert names(events) == ["users:active", "users:count"]
    assert len(events[0][1]["users"]) == 19


async def test_many_lists_are_sent_over_several_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some members get their list later if all lists are too much for one turn. Each gets one correct list."""
    monkeypatch.setattr(presence_updates, "ROSTER_CHUNK", 1000)
    monkeypatch.setattr(presence_updates, "ROSTER_RATE", 200_000)
    clients = await site.crowd(30, PROJECT)
    got = [names(client.take_events()).count("users:active") for client in clients]
    assert 0 < sum(got) < 30
    for client, already in zip(clients, got, strict=True):
        if not already:
            assert len(await newest_list(client)) == 30


async def test_expensive_changes_are_sent_together(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sent later, in one message and in order. No member gets its own change. A new member gets the list."""
    alice, bob, carol = await site.meet("Alice", "Bob", "Carol", project=PROJECT)
    monkeypatch.setattr(presence_updates, "CHANGES_RATE", 2)
    first, second, third = [site.come(f"New {number}") for number in range(3)]
    await first.act("join-project", PROJECT)
    assert names(alice.take_events()) == ["user:joined", "users:count"]
    bob.take()
    for client in (second, third):
        await client.act("join-project", PROJECT)
    carol.emit("leave-project", PROJECT)
    carol.emit("join-project", PROJECT)
    await second.act("leave-project", PROJECT)
    assert alice.take_events() == []
    start = len(alice.transport.writes)
    async with asyncio.timeout(PATIENCE):
        while len(alice.transport.writes) == start:
            await asyncio.sleep(0.01)
    await turn()
    told = [(event[0], event[1].get("userName")) for event in alice.take_events()]
    assert told == [
        ("user:joined", "New 1"),
        ("user:joined", "New 2"),
        ("user:left", "Carol"),
        ("user:joined", "Carol"),
        ("user:left", "New 1"),
        ("users:active", None),
        ("users:count", None),
    ]
    bundles = [
        [message for write in client.transport.writes for message in write if isinstance(message, Bundle)]
        for client in (alice, bob)
    ]
    assert len(bundles[0]) == 1
    assert bundles[0] == bundles[1]
    for client, gone in ((carol, []), (third, ["Carol", "New 1"])):
        events = [event for event in client.take_events() if event[0].startswith("user")]
        *left, roster, count = events[-len(gone) - 2 :]
        assert [(event[0], event[1]["userName"]) for event in left] == [("user:left", name) for name in gone]
        assert {user["userName"] for user in roster[1]["users"]} == {"Alice", "Bob", "Carol", "New 0", "New 2"}
        assert count == ["users:count", {"count": 5}]


async def test_a_client_that_does_not_read_stays_and_finally_gets_the_list(site: Site) -> None:
    """Missed joins and leaves are replaced by one current list and one count."""
    alice, sloth = await site.meet("Alice", "Sloth", project=PROJECT)
    sloth.transport.writable = False
    many = await crowd(site, 100)
    await lose_track(sloth)
    for client in many:
        client.send("41")
        await turn()
    await site.meet("Bob", "Carol", project=PROJECT)
    await alice.act("canvas:update", {"projectId": PROJECT, "changes": 1})
    await rosters_may_be_sent(site)
    sloth.transport.writable = True
    sloth.session.transport_ready(sloth.transport)
    events = sloth.take_events()
    assert names(events)[-3:] == ["canvas:update", "users:active", "users:count"]
    assert {user["userName"] for user in events[-2][1]["users"]} == {"Alice", "Sloth", "Bob", "Carol"}
    assert events[-1][1] == {"count": 4}
    assert sloth.session.is_live


async def test_a_member_that_has_left_gets_no_list(site: Site) -> None:
    """Missed changes of a left project are irrelevant."""
    (sloth,) = await site.meet("Sloth", project=PROJECT)
    sloth.transport.writable = False
    await crowd(site, 100)
    await lose_track(sloth)
    await sloth.act("leave-project", PROJECT)
    sloth.transport.writable = True
    sloth.session.transport_ready(sloth.transport)
    assert not [event for event in names(sloth.take_events()) if str(event).startswith("user")]


async def test_larger_changes_are_sent_less_often(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few connections that repeatedly join and leave do not cause a message to everyone each time."""
    alice, *_ = await site.meet("Alice", "Bob", "Carol", project=PROJECT)
    monkeypatch.setattr(presence_updates, "CHANGES_BYTES", 1_000)
    mallory = site.come("Mallory")
    for _ in range(20):
        for event in ("join-project", "leave-project"):
            await mallory.act(event, PROJECT)
    assert names(alice.take_events()).count("user:joined") < 5
    async with asyncio.timeout(PATIENCE):
        while "user:joined" not in names(alice.take_events()):
            await asyncio.sleep(0.01)


async def test_the_list_replaces_larger_changes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that joins and leaves before it is announced takes no memory, and its members cause no messages."""
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    monkeypatch.setattr(presence_updates, "CHANGES_RATE", 4)
    monkeypatch.setattr(unsent_presence, "MAX_BATCHED", 2000)
    crowd_of_one = [site.come(f"Mallory {number}") for number in range(10)]
    crowd_of_one[0].emit("join-project", PROJECT)
    await turn()
    alice.take()
    for _ in range(5):
        for event in ("leave-project", "join-project"):
            for client in crowd_of_one:
                client.emit(event, PROJECT)
            await turn()
    await bob.act("leave-project", PROJECT)
    start = len(alice.transport.writes)
    assert await newest_list(alice) == {"Alice", *(f"Mallory {number}" for number in range(10))}
    assert sum(message.size for write in alice.transport.writes[start:] for message in write) < 6000


async def test_many_who_leave_and_come_back_before_it_is_announced_get_a_list(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One roster serves all of them. Otherwise the server would encode the changes again for each."""
    alice, bob, *others = await site.meet("Alice", "Bob", *(f"User {number}" for number in range(20)), project=PROJECT)
    monkeypatch.setattr(presence_updates, "MEMBER_RATE", 1)
    await others.pop().act("leave-project", PROJECT)  # no list to everyone any more
    monkeypatch.setattr(presence_updates, "CHANGES_RATE", 40)
    await others.pop().act("leave-project", PROJECT)
    for event in ("leave-project", "join-project"):
        for client in others:
            client.emit(event, PROJECT)
        await turn()
    await bob.act("leave-project", PROJECT)
    for client in (alice, *others):
        client.take()
    starts = [len(client.transport.writes) for client in (alice, *others)]
    present = {"Alice", *(f"User {number}" for number in range(18))}
    for client in others:
        assert await newest_list(client) == present
    bundles = {
        id(message): message
        for client, start in zip((alice, *others), starts, strict=True)
        for write in client.transport.writes[start:]
        for message in write
        if isinstance(message, Bundle)
    }
    assert len(bundles) == 1
    assert names(alice.take_events()) == [*["user:left"] * 18, *["user:joined"] * 18, "user:left", "users:count"]


class CountedRoom(dict[str, Any]):
    """The members of a room; `looks` counts how often all are looked at."""

    looks = 0

    def items(self) -> Any:
        self.looks += 1
        return super().items()


async def test_very_many_slow_clients_get_their_lists_one_after_the_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may read again all at once. Each is found at once, and gets one correct list."""
    sloths = await site.meet(*(f"Sloth {number}" for number in range(20)), project=PROJECT)
    for sloth in sloths:
        sloth.transport.writable = False
    many = await crowd(site, 100)
    for sloth in sloths:
        await lose_track(sloth)
        sloth.take()
    for client in many:
        client.send("41")
        await turn()
    await rosters_may_be_sent(site)
    monkeypatch.setattr(presence_updates, "ROSTER_CHUNK", 1)
    monkeypatch.setattr(presence_updates, "ROSTER_RATE", 100_000)
    rooms = adapter_of(site.server.of("/")).rooms
    room = rooms._rooms[PROJECT] = CountedRoom(rooms._rooms[PROJECT])
    for sloth in sloths:
        sloth.transport.writable = True
        sloth.session.transport_ready(sloth.transport)
    assert room.looks <= 1
    got = [names(sloth.take_events()) for sloth in sloths]
    assert 0 < sum("users:active" in events for events in got) < 20
    for sloth, events in zip(sloths, got, strict=True):
        if "users:active" not in events:
            assert await newest_list(sloth) == {f"Sloth {number}" for number in range(20)}
