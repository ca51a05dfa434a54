"""Who may join a project, who leaves before the policy has answered, and who is removed."""

from dataclasses import replace

import pytest
from tests.collaboration.guarded import (
    FAILURES,
    UNLIMITED,
    Guarded,
    Roles,
    acks,
    ann_waits_for_bob,
    ask,
    errors,
    first_error,
    heard,
    names,
    sent_while_waiting,
    settle,
    task,
    waiting,
    waiting_with_bob,
)

from synkora.collaboration.access import AccessUnavailable, Role
from synkora.collaboration.limits import Limits
from synkora.engine.close_reasons import Reason

# Joining


async def test_a_user_with_access_joins() -> None:
    """The joiner gets the list and the count, in this order."""
    site = Guarded(Roles(ann=Role.OWNER))
    ann = site.come("Ann")
    await ask(ann, "join-project", "p")
    assert names(ann) == ["connected", "users:active", "users:count"]


async def test_a_user_without_access_gets_a_message_and_stays_invisible() -> None:
    """The message names the event and the project. Members learn neither of the join nor of later events."""
    site = Guarded(Roles(ann=Role.OWNER))
    ann = await site.join("Ann")
    eve = site.come("Eve")
    await ask(eve, "join-project", "p")
    assert errors(eve) == [
        {"message": "You do not have access to this project", "event": "join-project", "projectId": "p"}
    ]
    await ask(eve, "task:create", task(1))
    assert errors(eve) == [{"message": "task:create: join the project first", "event": "task:create"}]
    assert ann.take() == []
    assert site.collaboration.presence.count("p") == 1


async def test_a_cached_answer_admits_a_second_tab_immediately() -> None:
    site = Guarded(Roles(ann=Role.OWNER))
    await site.join("Ann")
    site.roles.gate.clear()
    second = site.come("Ann")
    await ask(second, "join-project", "p")
    assert names(second) == ["connected", "users:active", "users:count"]
    assert site.roles.asked.total() == 1


async def test_a_hundred_tabs_that_join_at_once_ask_once() -> None:
    site = waiting("ann")
    tabs = [site.come("Ann") for _ in range(100)]
    for tab in tabs:
        tab.emit("join-project", "p")
    await settle()
    await site.answer()
    assert site.roles.asked == {("ann", "p"): 1}
    assert all(names(tab)[-1] == "users:count" for tab in tabs)


async def test_a_join_is_refused_if_the_policy_takes_too_long() -> None:
    """The message says that the client may try again. A later attempt succeeds."""
    site = waiting("ann", answer_timeout=0.02)
    ann = site.come("Ann")
    ann.emit("join-project", "p")
    error = await first_error(ann)
    assert error == {
        "message": "Project access cannot be checked right now: try again",
        "event": "join-project",
        "projectId": "p",
    }
    site.roles.gate.set()
    await ask(ann, "join-project", "p")
    assert names(ann) == ["users:active", "users:count"]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_join_is_refused_if_the_policy_fails(failure: BaseException) -> None:
    site = Guarded(Roles(ann=Role.OWNER))
    site.roles.error = failure
    ann = site.come("Ann")
    await ask(ann, "join-project", "p")
    assert [error["message"] for error in errors(ann)] == ["Project access cannot be checked right now: try again"]
    site.roles.error = None
    await ask(ann, "join-project", "p")
    assert names(ann) == ["users:active", "users:count"]


async def test_joining_is_acknowledged_once_it_is_done() -> None:
    """With an ack the client has joined. A refused join has no ack."""
    site = waiting("ann")
    ann, eve = await sent_while_waiting(site, '427["join-project","p"]')
    assert (acks(ann), acks(eve)) == ([[]], [])


async def test_a_sockets_own_room_is_not_a_project() -> None:
    """Even if the policy allows it: events for one socket are not for others."""
    site = Guarded(Roles())
    ann, eve = site.come("Ann"), site.come("Eve")
    await settle()
    site.roles.roles["eve", ann.id] = Role.OWNER
    await ask(eve, "join-project", ann.id)
    assert [error["message"] for error in errors(eve)] == ["Project ID is a connection's id"]


# Leaving while the answer is awaited


async def test_a_member_that_leaves_before_the_answer_is_not_admitted() -> None:
    """Nothing is announced. A buffered edit is relayed for a writer, and refused for a user without access."""
    site, bob = await waiting_with_bob()
    ann, eve = site.come("Ann"), site.come("Eve")
    for client in (ann, eve):
        client.emit("join-project", "p")
        client.emit("task:create", task(1))
        client.emit("leave-project", "p")
    await settle()
    await site.answer()
    assert bob.take_events() == [["task:create", 1]]
    assert names(ann) == ["connected"]
    assert errors(eve) == [{"message": "task:create: join the project first", "event": "task:create"}]
    assert site.collaboration.presence.count("p") == 1


async def test_a_member_that_leaves_later_but_before_the_answer_is_not_admitted() -> None:
    site = waiting("ann")
    ann = site.come("Ann")
    await ask(ann, "join-project", "p")
    ann.emit("leave-project", "p")
    site.roles.error = AccessUnavailable()
    await site.answer()
    assert names(ann) == ["connected"]
    assert site.collaboration.presence.project_count == 0


async def test_a_member_that_joins_again_while_the_answer_is_awaited_is_admitted_once() -> None:
    """Two hooks of a page join, or one leaves and rejoins: the others get one join."""
    site, bob = await waiting_with_bob()
    ann = site.come("Ann")
    for name in ("join-project", "join-project", "leave-project", "join-project"):
        ann.emit(name, "p")
    await ask(ann, "task:create", task(1))
    ann.emit("leave-project", "p")
    ann.emit("join-project", "p")
    ann.emit("task:create", task(2))
    await site.answer()
    assert [event for event in bob.take_events() if event[0] == "task:create"] == [
        ["task:create", 1],
        ["task:create", 2],
    ]
    assert names(ann) == ["connected", "users:active", "users:count"]
    assert site.collaboration.presence.count("p") == 2


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_member_that_disconnects_before_the_answer_is_not_admitted(at_once: bool) -> None:
    site, bob, ann = await ann_waits_for_bob()
    ann.emit("task:create", task(1))
    if not at_once:
        await settle()
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
    await settle()
    await site.answer()
    assert bob.take() == []
    assert site.collaboration.presence.count("p") == 1
    assert site.collaboration.connections == 1


# The most projects


async def test_a_connection_may_be_in_a_limited_number_of_projects() -> None:
    """One more is refused with a message, a repeated join does not count, and a leave makes room."""
    site = Guarded(Roles(), limits=Limits(projects=3))
    site.roles.roles = {("ann", project): Role.OWNER for project in "abcd"}
    ann = site.come("Ann")
    for project in "abca":
        await ask(ann, "join-project", project)
    assert errors(ann) == []
    await ask(ann, "join-project", "d")
    assert errors(ann) == [{"message": "Too many projects: 3 is the most for one connection", "event": "join-project"}]
    ann.emit("leave-project", "a")
    await ask(ann, "join-project", "d")
    assert errors(ann) == []
    assert site.collaboration.presence.project_count == 3


async def test_projects_that_are_being_joined_count_from_the_first_moment() -> None:
    """A hundred joins in one turn do not bypass the limit."""
    site = waiting("ann", limits=Limits(projects=3, other_rate=0))
    ann = site.come("Ann")
    for number in range(100):
        ann.emit("join-project", f"p{number}")
    await settle()
    assert len(errors(ann)) == 97
    assert site.roles.asked.total() == 3


async def test_refused_joins_do_not_count() -> None:
    """A user with access to one project can still ask for others, one after the other."""
    site = Guarded(Roles(ann=Role.OWNER), limits=Limits(projects=1))
    ann = site.come("Ann")
    for project in ("a", "b", "p"):
        await ask(ann, "join-project", project)
    assert len(errors(ann)) == 2
    assert site.collaboration.presence.count("p") == 1


async def test_an_edit_that_requires_a_question_counts_as_a_join() -> None:
    """Edits to projects without a join have the same rate of questions as joins."""
    roles = Roles()
    site = Guarded(roles, limits=replace(UNLIMITED, other_rate=1))
    client = site.come("Eve")
    for number in range(10):
        await ask(client, "task:delete", {"projectId": f"p{number}", "taskId": "t"})
    assert roles.asked.total() == 3
    messages = [error["message"] for error in errors(client)]
    assert messages == ["task:delete: join the project first"] * 3 + ["Too many events: slow down"] * 7


# Removal


async def test_a_removed_user_has_left_at_once() -> None:
    """With all tabs, and only the project. The others learn of it, and the policy is asked before another join."""
    site = Guarded(Roles(ann=Role.EDITOR, bob=Role.EDITOR), leave_delay=5)
    ann, bob = await site.join_both()
    again = await site.join("Ann")
    ann.take()
    assert site.collaboration.remove("p", "ann") == 2
    events = await heard(bob, lambda events: any(event[0] == "user:left" for event in events))
    assert [event[1]["userId"] for event in events if event[0] == "user:left"] == ["ann", "ann"]
    for tab in (ann, again):
        assert errors(tab) == [{"message": "You no longer have access to this project", "projectId": "p"}]
    site.roles.roles["ann", "p"] = None
    await ask(ann, "join-project", "p")
    assert [error["message"] for error in errors(ann)] == ["You do not have access to this project"]
    assert site.collaboration.remove("p", "ann") == site.collaboration.remove("other", "bob") == 0
    await site.close()


async def test_a_removed_user_is_not_admitted_by_an_earlier_question() -> None:
    """The answer was given before the removal. It is not cached either."""
    site, bob, ann = await ann_waits_for_bob()
    await ask(ann, "task:create", task(1))
    ann.take()
    assert site.collaboration.remove("p", "ann") == 0
    await site.answer()
    assert [error["message"] for error in errors(ann)] == [
        "You no longer have access to this project",
        "task:create: join the project first",
    ]
    assert bob.take() == []
    asked = site.roles.asked["ann", "p"]
    await ask(ann, "join-project", "p")
    assert site.roles.asked["ann", "p"] == asked + 1
