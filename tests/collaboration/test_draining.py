"""Draining members to another server: groups, announcements, and late events."""

import json
from typing import Any

from tests.collaboration.guarded import Guarded, Roles, settle
from tests.collaboration.site import MemoryClient, Site, token_of, turn

from synkora.collaboration.access import Role
from synkora.collaboration.draining import SHUTDOWN_MESSAGE, ClientDrain
from synkora.engine.close_reasons import Reason

PROJECT, OTHER = "proj_1", "proj_2"
SHUTDOWN = ["server:shutdown", {"message": SHUTDOWN_MESSAGE}]


async def part(draining: ClientDrain, *clients: MemoryClient) -> None:
    draining.announce([client.session for client in clients])
    for client in clients:
        client.session.drain(Reason.SERVER_SHUTTING_DOWN)
    await turn()


def told(client: MemoryClient, event: str) -> list[Any]:
    """The payloads of the events with one name since the last call."""
    return [args[0] for name, *args in client.take_events() if name == event]


async def test_members_of_a_project_are_drained_together(site: Site) -> None:
    """A client of several projects leaves with the first one's group. A client without a project is in no group."""
    alice, bob, carol, _ = await site.meet("Alice", "Bob", "Carol", "Dave")
    for client, projects in ((alice, [PROJECT, OTHER]), (bob, [PROJECT]), (carol, [OTHER])):
        for project in projects:
            client.emit("join-project", project)
    await turn()
    groups = site.collaboration.begin_drain().groups
    assert groups == [[alice.session, bob.session], [carol.session]]


async def test_a_drained_member_gets_the_announcement_and_others_see_the_leave(site: Site) -> None:
    """Each drained member leaves once, with one list for all. The drained members get no events about each other."""
    alice, bob, carol = await site.meet("Alice", "Bob", "Carol", project=PROJECT)
    await part(site.collaboration.begin_drain(), alice, bob)
    assert alice.take_events() == bob.take_events() == [SHUTDOWN]
    events = carol.take_events()
    assert [args[0]["socketId"] for name, *args in events if name == "user:left"] == [alice.id, bob.id]
    assert [name for name, *_ in events] == ["user:left", "user:left", "users:active", "users:count"]
    for client in (alice, bob):
        client.session.transport_closed(client.transport, Reason.TRANSPORT_CLOSE)
    await turn()
    assert carol.take_events() == []
    assert site.collaboration.connections == 1
    assert site.collaboration.disconnects == {Reason.SERVER_SHUTTING_DOWN: 2}


async def test_edits_that_were_on_the_way_are_relayed_and_cursors_are_not(site: Site) -> None:
    """An edit must not be lost. A cursor would reappear after its removal."""
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    await part(site.collaboration.begin_drain(), alice)
    bob.take()
    alice.emit("canvas:cursor", {"projectId": PROJECT, "position": {"x": 1}})
    await alice.act("task:create", {"projectId": PROJECT, "task": 1})
    assert bob.take_events() == [["task:create", 1]]


async def test_a_member_that_signs_in_during_the_drain_gets_the_announcement(site: Site) -> None:
    """Over an existing session, which is drained alone."""
    draining = site.collaboration.begin_drain()
    (alice,) = await site.meet("Alice", project=PROJECT)
    await part(draining, alice)
    assert told(alice, "server:shutdown") == [{"message": SHUTDOWN_MESSAGE}]


async def test_a_client_that_never_signed_in_gets_no_announcement(site: Site) -> None:
    (alice,) = await site.meet("Alice")
    draining = site.collaboration.begin_drain()
    alice.send("41")
    await turn()
    alice.take()
    await part(draining, alice)
    assert alice.take_events() == []


async def test_a_drained_member_cannot_rejoin() -> None:
    """Neither by a pending join nor by a new one: others get one leave and no join."""
    roles = Roles(ann=Role.EDITOR, bob=Role.EDITOR)
    site = Guarded(roles)
    bob = await site.join("bob")
    roles.roles["ann", "q"] = Role.EDITOR
    ann = await site.join("ann", "q")
    roles.gate.clear()
    await ann.act("join-project", "p")
    await part(site.collaboration.begin_drain(), ann)
    roles.gate.set()
    bob.take()
    await settle()
    for project in ("p", "q"):
        ann.emit("join-project", project)  # the first is remembered by now
    await settle()
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
    await settle()
    assert bob.take_events() == []
    assert [site.collaboration.presence.count(project) for project in ("p", "q")] == [1, 0]


async def test_a_drained_client_that_signs_in_joins_nothing(site: Site) -> None:
    (bob,) = await site.meet("Bob", project=PROJECT)
    (alice,) = await site.meet("Alice")
    alice.send("41")
    await part(site.collaboration.begin_drain(), alice)
    alice.send("40" + json.dumps({"token": token_of("Alice")}))
    await turn()
    await alice.act("join-project", PROJECT)
    assert site.collaboration.connections == 2
    assert bob.take_events() == []
