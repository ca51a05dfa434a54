"""Joins and leaves: recipients, order and number of events."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.collaboration.guarded import names
from tests.collaboration.site import MemoryClient, Site, turn
from tests.support.servers import until

from synkora.collaboration.local_presence import LocalPresence
from synkora.collaboration.presence import PresenceEntry

PROJECT = "proj_456"


def active(client: MemoryClient) -> list[list[str]]:
    """The users of each list since the last call."""
    events = client.take_events()
    return [[user["userName"] for user in event[1]["users"]] for event in events if event[0] == "users:active"]


async def test_a_join_is_sent_in_order(site: Site) -> None:
    alice, bob = await site.meet("Alice", "Bob")
    await alice.act("join-project", PROJECT)
    assert names(alice) == ["users:active", "users:count"]
    await bob.act("join-project", PROJECT)
    joined, count = alice.take_events()
    assert joined[1].pop("timestamp") == joined[1].pop("joinedAt")
    assert joined == ["user:joined", {"socketId": bob.id, "userId": "bob", "userName": "Bob"}]
    assert count == ["users:count", {"count": 2}]
    assert names(bob) == ["users:active", "users:count"]


async def test_a_leave_is_sent_in_order(site: Site) -> None:
    """The others get the leave, the list and the count. The member that left gets nothing, and may rejoin."""
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    await bob.act("leave-project", PROJECT)
    left, users, count = alice.take_events()
    left[1].pop("timestamp")
    assert left == ["user:left", {"socketId": bob.id, "userId": "bob", "userName": "Bob"}]
    assert [user["userName"] for user in users[1]["users"]] == ["Alice"]
    assert count == ["users:count", {"count": 1}]
    assert names(bob) == []


async def test_a_leave_is_announced_after_a_delay() -> None:
    """A member that left gets no more events. The others are informed later."""
    site = Site(leave_delay=1)
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    alice.take()
    bob.emit("leave-project", PROJECT)
    await alice.act("task:create", {"projectId": PROJECT, "task": 1})
    assert names(alice) == names(bob) == []
    assert site.collaboration.presence.count(PROJECT) == 2
    await until(lambda: site.collaboration.presence.count(PROJECT) == 1)
    await turn()
    assert names(alice) == ["user:left", "users:active", "users:count"]


async def test_a_leave_and_a_join_within_the_delay_are_not_announced() -> None:
    """A page that changes its tab gets list, count and later events again. The others get nothing."""
    site = Site(leave_delay=3600)
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    alice.take()
    for _ in range(3):
        await bob.act("leave-project", PROJECT)
        await bob.act("join-project", PROJECT)
        assert names(bob) == ["users:active", "users:count"]
    assert names(alice) == []
    assert len(site.collaboration.projects._leaving) == 0
    await alice.act("task:create", {"projectId": PROJECT, "task": 1})
    assert names(bob) == ["task:create"]


@pytest.mark.parametrize("end", ["disconnect", "drain"])
async def test_a_leave_that_waits_is_announced_when_its_connection_ends(end: str) -> None:
    site = Site(leave_delay=3600)
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    alice.take()
    bob.emit("leave-project", PROJECT)
    if end == "disconnect":
        bob.send("41")
    else:
        site.collaboration.projects.exit_for_drain([site.collaboration.members[bob.id]])
    await turn()
    assert names(alice) == ["user:left", "users:active", "users:count"]
    assert len(site.collaboration.projects._leaving) == 0


async def test_a_join_contains_the_picture(site: Site) -> None:
    """`userImage` is present if the user has one."""
    (alice,) = await site.meet("Alice", project=PROJECT)
    site.come("Bob", picture="https://example.com/b.png").emit("join-project", PROJECT)
    await turn()
    assert alice.take_events()[0][1]["userImage"] == "https://example.com/b.png"


async def test_many_joins_in_one_turn_make_one_list(site: Site) -> None:
    """Each joiner gets one complete list and one count. Each is encoded once for everybody."""
    crowd = await site.crowd(50, PROJECT)
    lists, counts = set(), set()
    for position, client in enumerate(crowd):
        *joined, roster, count = client.take()
        assert [message.packet[:15] for message in joined] == [b'42["user:joined'] * (len(crowd) - position - 1)
        assert roster.packet.startswith(b'42["users:active"')
        assert roster.packet.count(b"userId") == len(crowd)
        assert count.packet == b'42["users:count",{"count":50}]'
        lists.add(id(roster))
        counts.add(id(count))
    assert len(lists) == len(counts) == 1


async def test_many_leaves_in_one_turn_make_one_list(site: Site) -> None:
    """The remaining members get each leave, one list and one count."""
    clients = await site.meet(*(f"User {number}" for number in range(20)), project=PROJECT)
    for client in clients:
        client.take()
    for client in clients[2:]:
        client.emit("leave-project", PROJECT)
    await turn()
    first, second = clients[0].take(), clients[1].take()
    assert [message.packet[3:16] for message in first[:18]] == [b'"user:left",{'] * 18
    assert [message.packet[3:16] for message in first[18:]] == [b'"users:active', b'"users:count"']
    assert [id(message) for message in first] == [id(message) for message in second]


async def test_projects_of_one_turn_are_separate(site: Site) -> None:
    alice, bob = await site.meet("Alice", "Bob")
    alice.emit("join-project", "p1")
    bob.emit("join-project", "p2")
    await alice.act("join-project", "p2")
    events = alice.take_events()
    assert [event[0] for event in events] == ["users:active", "users:count", "users:active", "users:count"]
    assert [event[1]["count"] for event in events] == [1, 1, 2, 2]


async def test_a_repeated_join_is_answered_and_not_announced(site: Site) -> None:
    """Each join of a later turn is answered by the list. The others get nothing."""
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    for _ in range(2):
        await bob.act("join-project", PROJECT)
        assert active(bob) == [["Alice", "Bob"]]
    assert names(alice) == []
    await bob.act("leave-project", PROJECT)
    assert active(alice) == [["Alice"]]


async def test_joining_twice_in_one_turn(site: Site) -> None:
    """The hooks of one page that join together get one list, and the others get one join."""
    alice, bob = [*await site.meet("Alice", project=PROJECT), *await site.meet("Bob")]
    bob.emit("join-project", PROJECT)
    await bob.act("join-project", PROJECT)
    assert names(bob) == ["users:active", "users:count"]
    assert names(alice) == ["user:joined", "users:count"]


async def test_leaving_without_a_join_announces_nothing(site: Site) -> None:
    alice, bob = [*await site.meet("Alice", project=PROJECT), *await site.meet("Bob")]
    bob.emit("leave-project", PROJECT)
    await bob.act("leave-project", "nobody is here")
    assert names(alice) == names(bob) == []


async def test_leaving_and_coming_back_in_one_turn(site: Site) -> None:
    """The member is in the project and gets its list once. The others get both events in order."""
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    bob.emit("leave-project", PROJECT)
    await bob.act("join-project", PROJECT)
    assert names(alice) == ["user:left", "user:joined", "users:active", "users:count"]
    assert names(bob) == ["users:active", "users:count"]


async def test_joining_and_leaving_in_one_turn(site: Site) -> None:
    """The member is not in the list, and gets none."""
    alice, bob = [*await site.meet("Alice", project=PROJECT), *await site.meet("Bob")]
    bob.emit("join-project", PROJECT)
    await bob.act("leave-project", PROJECT)
    assert names(bob) == []
    assert active(alice) == [["Alice"]]


async def test_joining_and_disconnecting_in_one_turn(site: Site) -> None:
    """Nothing remains of a disconnected member, and its leave is announced."""
    alice, bob = [*await site.meet("Alice", project=PROJECT), *await site.meet("Bob")]
    bob.emit("join-project", PROJECT)
    bob.send("41")
    await turn()
    assert names(alice) == ["user:joined", "user:left", "users:active", "users:count"]
    assert names(bob) == []
    assert site.collaboration.presence.count(PROJECT) == 1


async def test_nothing_remains_after_the_last_leave(site: Site) -> None:
    clients = await site.meet("Alice", "Bob", project=PROJECT)
    clients[0].emit("leave-project", PROJECT)
    clients[1].send("41")
    await turn()
    assert site.collaboration.presence.project_count == 0
    assert len(site.server.of("/")._core.adapter.rooms) == 0


@pytest.mark.parametrize("whose", ["own", "another's"])
async def test_a_project_named_like_a_connection_is_refused(site: Site, whose: str) -> None:
    alice, bob = await site.meet("Alice", "Bob")
    target = alice.id if whose == "own" else bob.id
    alice.emit("join-project", target)
    await alice.act("canvas:update", {"projectId": target, "changes": 1})
    assert [event[1]["message"] for event in alice.take_events()] == [
        "Project ID is a connection's id",
        "Project ID is a connection's id",
    ]
    assert names(bob) == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["join", "leave", "go", "turn"])), max_size=25))
async def test_every_member_ends_with_the_true_count(steps: list[tuple[int, str]]) -> None:
    """In any order of joins, leaves and turns, the last count of each member is correct, and so is a requested list."""
    site = Site()
    clients: dict[int, MemoryClient] = {}
    inside: dict[int, str] = {}
    for number, step in steps:
        if step == "turn":
            await turn()
        elif step == "go":
            if number in clients:
                clients.pop(number).send("41")
                inside.pop(number, None)
        else:
            name = f"User {number % 3}"  # two of the four are one user
            if number not in clients:
                clients[number] = site.come(name)
            clients[number].emit(f"{step}-project", PROJECT)
            if step == "join":
                inside[number] = name
            else:
                inside.pop(number, None)
    await turn()
    users = set(inside.values())
    assert site.collaboration.connections == len(clients)
    assert site.collaboration.presence.count(PROJECT) == len(users)
    for number in inside:
        counts = [event[1]["count"] for event in clients[number].take_events() if event[0] == "users:count"]
        assert counts[-1] == len(users)
        clients[number].emit("join-project", PROJECT)
        await turn()
        assert [set(names) for names in active(clients[number])] == [users]


class PartialPresence(LocalPresence):
    """Knows a list only when told to, as presence does that depends on other instances."""

    def __init__(self) -> None:
        super().__init__()
        self.is_known = False

    def is_complete(self, project_id: str) -> bool:
        return self.is_known


async def meet_partially(*names: str) -> tuple[list[MemoryClient], PartialPresence, Callable[[], None]]:
    """Members of a project with an unknown list, and the function that makes the list known."""
    presence = PartialPresence()
    site = Site(presence=presence)
    clients = await site.meet(*names)

    def complete() -> None:
        presence.is_known = True
        projects.completed(PROJECT)

    projects = site.collaboration.projects
    return clients, presence, complete


async def test_a_list_that_is_not_known_is_waited_for() -> None:
    """Members that joined meanwhile get list and count once, when they are known. Joins are announced immediately."""
    (alice, bob), _, complete = await meet_partially("Alice", "Bob")
    for client in (alice, bob, alice):
        await client.act("join-project", PROJECT)
    assert (names(alice), names(bob)) == (["user:joined"], [])
    complete()
    await turn()
    assert names(alice) == names(bob) == ["users:active", "users:count"]
    await bob.act("leave-project", PROJECT)
    assert names(alice) == ["user:left", "users:active", "users:count"]


async def test_a_member_that_has_left_does_not_wait_for_the_list() -> None:
    (alice, bob), _, complete = await meet_partially("Alice", "Bob")
    alice.emit("join-project", PROJECT)
    await bob.act("join-project", PROJECT)
    await bob.act("leave-project", PROJECT)
    assert (names(alice), names(bob)) == (["user:joined", "user:left"], [])
    complete()
    await turn()
    assert (names(alice), names(bob)) == (["users:active", "users:count"], [])


async def test_members_of_other_servers_are_announced_in_the_same_way(site: Site) -> None:
    (alice,) = await site.meet("Alice", project=PROJECT)
    elsewhere = PresenceEntry("s-elsewhere", "zoe", "Zoe", "2026-01-02T03:04:05.000Z", "https://example.com/z.png")
    site.collaboration.presence.add_connection(PROJECT, elsewhere)
    await turn()
    joined, count = alice.take_events()
    assert joined == [
        "user:joined",
        {
            "socketId": "s-elsewhere",
            "userId": "zoe",
            "userName": "Zoe",
            "joinedAt": "2026-01-02T03:04:05.000Z",
            "timestamp": "2026-01-02T03:04:05.000Z",
            "userImage": "https://example.com/z.png",
        },
    ]
    assert count == ["users:count", {"count": 2}]
    site.collaboration.presence.remove_connection(PROJECT, "s-elsewhere")
    await turn()
    left, users, count = alice.take_events()
    left[1].pop("timestamp")
    assert left == ["user:left", {"socketId": "s-elsewhere", "userId": "zoe", "userName": "Zoe"}]
    assert [user["userName"] for user in users[1]["users"]] == ["Alice"]
    assert count == ["users:count", {"count": 1}]


async def test_a_connection_of_the_previous_process_with_two_sessions_leaves_all_of_its_projects() -> None:
    """It had returned with another session, and had left a project since."""
    site = Site(presence_grace=3600)
    for project_ids in (("p", "q"), ("q", "r")):
        site.collaboration.projects.expect(PresenceEntry("sid", "ann", "Ann", "", None), project_ids, time.time())
    presence = site.collaboration.presence
    assert [presence.connections(project_id) for project_id in "pqr"] == [1, 1, 1]
    site.collaboration.projects.drop_lost("sid")
    assert [presence.connections(project_id) for project_id in "pqr"] == [0, 0, 0]
