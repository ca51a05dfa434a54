"""The rights of each role in a project."""

from typing import Any

import pytest
from tests.collaboration.guarded import Guarded, Roles, acks, ask, errors, names, sent_while_waiting

from synkora.collaboration.access import AccessUnavailable, Role
from synkora.collaboration.events import CATALOGUE, Event
from synkora.collaboration.limits import EventClass

EDITS = [event for event in CATALOGUE if event.edits]
SIGNS = [event for event in CATALOGUE if not event.edits]
WRITERS = [Role.OWNER, Role.EDITOR]


def name_of(event: Event) -> str:
    return event.name


def payload_of(event: Event) -> dict[str, Any]:
    return {"projectId": "p", **dict.fromkeys((event.whole,) if event.whole else event.fields, "x")}


def site_with(role: Role) -> Guarded:
    return Guarded(Roles(ann=role, bob=Role.VIEWER))


async def refused_outside(event: Event, role: Role) -> list[dict[str, Any]]:
    """Ann's errors for an event of a project that only Bob has joined. Bob gets nothing."""
    site = site_with(role)
    bob = await site.join("Bob")
    ann = site.come("Ann")
    await ask(ann, event.name, payload_of(event))
    assert bob.take() == []
    return errors(ann)


async def told_of(event: Event, role: Role) -> tuple[list[str], list[dict[str, Any]]]:
    """The viewer's events and the sender's errors after an event."""
    site = site_with(role)
    ann, bob = await site.join_both()
    await ask(ann, event.name, payload_of(event))
    return names(bob), errors(ann)


def test_edits_are_the_events_that_change_a_project() -> None:
    """The app's eight events that change data. Cursors, selections and typing are none."""
    assert [event.name for event in EDITS] == [
        "task:create",
        "task:update",
        "task:delete",
        "task:move",
        "canvas:update",
        "markdown:update",
        "spreadsheet:cell-update",
        "spreadsheet:batch-update",
    ]
    assert [event.name for event in SIGNS] == [
        "canvas:cursor",
        "markdown:cursor",
        "spreadsheet:selection",
        "typing:start",
        "typing:stop",
    ]


@pytest.mark.parametrize("event", CATALOGUE, ids=name_of)
def test_edits_are_never_volatile(event: Event) -> None:
    """An edit must not be dropped for a slow client."""
    assert event.edits is not event.volatile
    assert event.event_class is (EventClass.EDIT if event.edits else EventClass.VOLATILE)


@pytest.mark.parametrize("role", WRITERS)
@pytest.mark.parametrize("event", CATALOGUE, ids=name_of)
async def test_owners_and_editors_send_everything(event: Event, role: Role) -> None:
    """Each event of the catalogue reaches the others, including a viewer."""
    assert await told_of(event, role) == ([event.name], [])


@pytest.mark.parametrize("event", SIGNS, ids=name_of)
async def test_viewers_send_cursors_selections_and_typing(event: Event) -> None:
    assert await told_of(event, Role.VIEWER) == ([event.name], [])


@pytest.mark.parametrize("event", EDITS, ids=name_of)
async def test_a_viewers_edit_is_refused_with_a_message_and_not_relayed(event: Event) -> None:
    """The error names the event and the project."""
    message = f"{event.name}: viewers may not change the project"
    assert await told_of(event, Role.VIEWER) == (
        [],
        [{"message": message, "event": event.name, "projectId": "p"}],
    )


@pytest.mark.parametrize("event", EDITS, ids=name_of)
async def test_a_role_in_one_project_counts_for_that_one_alone(event: Event) -> None:
    site = Guarded(Roles(ann=Role.VIEWER, bob=Role.OWNER))
    site.roles.roles["ann", "q"] = Role.EDITOR
    bob = await site.join("Bob")
    ann = await site.join("Ann")
    await ask(ann, "join-project", "q")
    bob.take()
    ann.take()
    ann.emit(event.name, payload_of(event))
    await ask(ann, event.name, {**payload_of(event), "projectId": "q"})
    assert bob.take() == []
    assert [error["projectId"] for error in errors(ann)] == ["p"]


@pytest.mark.parametrize("role", Role)
async def test_members_see_each_other(role: Role) -> None:
    """Presence is the same for every role: at the join, meanwhile, and at the leave."""
    site = site_with(role)
    bob = await site.join("Bob")
    ann = site.come("Ann")
    await ask(ann, "join-project", "p")
    events = ann.take_events()
    assert [user["userId"] for user in events[1][1]["users"]] == ["bob", "ann"]
    assert names(bob) == ["user:joined", "users:count"]
    await ask(ann, "leave-project", "p")
    assert names(bob) == ["user:left", "users:active", "users:count"]


@pytest.mark.parametrize("role", WRITERS)
@pytest.mark.parametrize("event", EDITS, ids=name_of)
async def test_a_writer_can_edit_without_a_join(event: Event, role: Role) -> None:
    """A page that joins only on mount is no member after a reconnect. Its edits still reach the members."""
    site = site_with(role)
    bob = await site.join("Bob")
    ann = site.come("Ann")
    for _ in range(2):
        await ask(ann, event.name, payload_of(event))
    assert names(bob) == [event.name, event.name]
    assert names(ann) == ["connected"]
    assert site.roles.asked["ann", "p"] == 1
    assert site.collaboration.presence.count("p") == 1


async def test_edits_without_a_join_keep_their_order() -> None:
    """Buffered edits come first, then later ones. A join among them changes nothing."""
    site = site_with(Role.EDITOR)
    bob = await site.join("Bob")
    site.roles.gate.clear()
    ann = site.come("Ann")
    for number in range(3):
        ann.emit("task:create", {"projectId": "p", "task": number})
    ann.emit("join-project", "p")
    await ask(ann, "task:create", {"projectId": "p", "task": 3})
    assert bob.take() == []
    await site.answer()
    await ask(ann, "task:create", {"projectId": "p", "task": 4})
    assert [event[1] for event in bob.take_events() if event[0] == "task:create"] == list(range(5))
    assert site.collaboration.presence.count("p") == 2


@pytest.mark.parametrize("event", EDITS, ids=name_of)
async def test_a_viewer_without_a_join_is_refused(event: Event) -> None:
    message = f"{event.name}: viewers may not change the project"
    assert await refused_outside(event, Role.VIEWER) == [{"message": message, "event": event.name, "projectId": "p"}]


@pytest.mark.parametrize("event", EDITS, ids=name_of)
async def test_a_user_without_access_cannot_edit(event: Event) -> None:
    site = site_with(Role.OWNER)
    bob = await site.join("Bob")
    eve = site.come("Eve")
    for _ in range(2):
        await ask(eve, event.name, payload_of(event))
        assert errors(eve) == [{"message": f"{event.name}: join the project first", "event": event.name}]
    assert bob.take() == []
    assert site.roles.asked["eve", "p"] == 1


async def test_an_edit_is_refused_while_the_policy_is_unavailable() -> None:
    """The message says that the edit was not relayed and may be repeated."""
    site = site_with(Role.OWNER)
    bob = await site.join("Bob")
    ann = site.come("Ann")
    site.roles.error = AccessUnavailable("the app is down")
    await ask(ann, "task:create", {"projectId": "p", "task": 1})
    assert bob.take() == []
    message = "Project access cannot be checked right now: try again"
    assert errors(ann) == [{"message": message, "event": "task:create", "projectId": "p"}]


async def test_an_edit_that_waits_is_acknowledged_when_it_is_decided() -> None:
    """The ack comes with the relay. A refused edit has no ack."""
    site = site_with(Role.OWNER)
    bob = await site.join("Bob")
    site.roles.gate.clear()
    ann, eve = await sent_while_waiting(site, '427["task:create",{"projectId":"p","task":1}]')
    assert (acks(ann), acks(eve)) == ([[]], [])
    assert names(bob) == ["task:create"]


@pytest.mark.parametrize("event", SIGNS, ids=name_of)
async def test_a_cursor_without_a_join_is_refused(event: Event) -> None:
    error = {"message": f"{event.name}: join the project first", "event": event.name}
    assert await refused_outside(event, Role.OWNER) == [error]
