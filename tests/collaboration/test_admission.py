"""Who may join a project, and what happens until the policy has answered."""

import asyncio
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from tests.collaboration.guarded import (
    EDIT,
    FAILURES,
    UNLIMITED,
    Guarded,
    Roles,
    acks,
    ask,
    errors,
    first_error,
    heard,
    names,
    sent_while_waiting,
    settle,
    task,
)
from tests.collaboration.site import MemoryClient

from synkora.collaboration.access import AccessUnavailable, Role
from synkora.collaboration.admission import MAX_BUFFERED_PER_USER
from synkora.collaboration.limits import Limits
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import Limit
from synkora.engine.turn_budget import TurnBudget

#: All that can go wrong with a policy.


def waiting(*users: str, role: Role | None = Role.EDITOR, **options: Any) -> Guarded:
    """A site whose policy does not answer until its gate is opened."""
    roles = Roles(**dict.fromkeys(users, role))
    roles.gate.clear()
    return Guarded(roles, **options)


async def waiting_with_bob() -> tuple[Guarded, MemoryClient]:
    site = waiting("ann", "bob")
    site.roles.gate.set()
    bob = await site.join("Bob")
    site.roles.gate.clear()
    return site, bob


async def ann_waits_for_bob() -> tuple[Guarded, MemoryClient, MemoryClient]:
    """The same, with Ann's pending join."""
    site, bob = await waiting_with_bob()
    ann = site.come("Ann")
    ann.emit("join-project", "p")
    return site, bob, ann


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


# What is sent while the answer is awaited


async def test_events_sent_right_after_the_join_arrive_in_order() -> None:
    """A page does not wait for an answer before its first edit. Here all events come in one turn, and later ones."""
    site, bob, ann = await ann_waits_for_bob()
    for number in range(5):
        ann.emit("task:create", task(number))
    await settle()
    ann.emit("task:create", task(5))
    assert bob.take() == []
    await site.answer()
    events = bob.take_events()
    assert events[0][0] == "user:joined"
    assert [event[1] for event in events if event[0] == "task:create"] == [0, 1, 2, 3, 4, 5]
    assert errors(ann) == []


async def test_attachments_are_held_as_well() -> None:
    """Buffered binary data is relayed with its event."""
    site, bob, ann = await ann_waits_for_bob()
    ann.send('451-["task:create",{"projectId":"p","task":{"_placeholder":true,"num":0}}]')
    ann.session.receive_binary(ann.transport, b"\x00\x01")
    await settle()
    await site.answer()
    messages = [part for write in bob.transport.writes for part in write if b"task:create" in part.packet]
    assert [message.attachments for message in messages] == [(b"\x00\x01",)]


@pytest.mark.parametrize("failure", [None, AccessUnavailable()])
async def test_events_sent_right_after_a_refused_join_are_dropped(failure: AccessUnavailable | None) -> None:
    """For lack of access, or of an answer. The sender gets a refusal of the join and of the edit."""
    site = Guarded(Roles(bob=Role.OWNER))
    bob = await site.join("Bob")
    site.roles.gate.clear()
    site.roles.error = failure
    eve = site.come("Eve")
    eve.emit("join-project", "p")
    await ask(eve, "task:create", task(1))
    await site.answer()
    assert bob.take() == []
    assert [error["event"] for error in errors(eve)] == ["join-project", "task:create"]


async def test_a_viewers_edit_behind_the_join_is_refused_as_any_other() -> None:
    """The message is the same as for a later edit. Events that viewers may send are relayed."""
    site = waiting("ann", role=Role.VIEWER)
    site.roles.roles["bob", "p"] = Role.OWNER
    bob = site.come("Bob")
    bob.emit("join-project", "p")
    ann = site.come("Ann")
    ann.emit("join-project", "p")
    ann.emit("task:create", task(1))
    await ask(ann, "canvas:cursor", {"projectId": "p", "position": 1})
    await site.answer()
    held = errors(ann)
    await ask(ann, "task:create", task(2))
    assert held == errors(ann)
    assert [error["event"] for error in held] == ["task:create"]
    assert {"task:create", "canvas:cursor"} & set(names(bob)) == {"canvas:cursor"}


@pytest.mark.parametrize("first", ["task:create", "join-project"])
async def test_an_event_that_is_refused_for_too_many_at_a_time_does_not_wait_for_the_answer(first: str) -> None:
    """A client that sends it again would double the edit for others; a refused join leads into no project."""
    site, bob = await waiting_with_bob()
    site.server.of("/")._core.most_running = 1
    ann = site.come("Ann")
    ann.emit("task:create", {"projectId": "q", "task": 1})
    ann.emit(*{"task:create": EDIT, "join-project": ("join-project", "p")}[first])
    await settle()
    assert [(error["message"], error["event"]) for error in errors(ann)] == [
        ("Too many events at a time: 1 are being handled", first)
    ]
    await site.answer()
    ann.emit("task:create", task(2))
    await settle()
    assert [event for event in bob.take_events() if event[0] != "users:active"] == [["task:create", 2]]
    assert site.collaboration.presence.count("p") == 1


async def test_no_more_than_a_hundred_events_are_held() -> None:
    """Further ones are refused with a message. The buffered ones arrive."""
    site, bob, ann = await ann_waits_for_bob()
    for number in range(103):
        ann.emit("task:create", task(number))
    refusal = {
        "message": "Too many events before the project was joined: wait for users:active",
        "event": "task:create",
    }
    await settle()
    assert errors(ann) == [refusal] * 3
    await site.answer()
    assert [event[1] for event in bob.take_events() if event[0] == "task:create"] == list(range(100))


async def test_connections_of_one_user_hold_so_much_together() -> None:
    """Each user may buffer a megabyte during an outage of the policy, whatever other users buffer."""
    site = waiting("ann", "bob")
    large = {"projectId": "p", "task": "x" * 900_000}
    crowd = [site.come("Ann") for _ in range(6)]
    for ann in crowd:
        ann.emit("task:create", large)
    await settle()
    assert [len(errors(ann)) for ann in crowd] == [0, 0, 0, 0, 1, 1]
    bob = site.come("Bob")
    await ask(bob, "task:create", large)
    assert errors(bob) == []
    crowd[0].session.transport_closed(crowd[0].transport, crowd[0].session._end_reason)
    crowd[5].emit("task:create", large)
    await settle()
    assert errors(crowd[5]) == []
    await site.answer()
    assert not site.collaboration._admission._buffered_memory


async def test_buffered_events_count_with_their_memory() -> None:
    """A buffered event takes two kilobytes, however small it is."""
    site = waiting("ann")
    crowd = [site.come("Ann") for _ in range(50)]
    for ann in crowd:
        for number in range(100):
            ann.emit("task:create", task(number))
    await settle()
    refused = sum(len(errors(ann)) for ann in crowd)
    held = 50 * 100 - refused
    assert 0.9 * MAX_BUFFERED_PER_USER < 2_100 * held < 1.1 * MAX_BUFFERED_PER_USER
    await site.answer()  # thousands of tasks end here
    assert not site.collaboration._admission._buffered_memory


async def test_buffered_bytes_are_limited_over_all_projects() -> None:
    """Large messages to many pending projects do not fill the server's memory."""
    site = waiting("ann")
    ann = site.come("Ann")
    for project in "abcd":
        ann.emit("join-project", project)
        ann.emit("task:create", {"projectId": project, "task": "x" * 400_000})
    await settle()
    assert [error["event"] for error in errors(ann)] == ["task:create", "task:create"]


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


# What waited for the answer, and the user's limit


async def many_wait(connections: int, events: int, **limits: Any) -> tuple[Guarded, MemoryClient, list[MemoryClient]]:
    """Bob is in the project, and connections of Ann wait for the answer with so many edits each."""
    site = waiting("ann", limits=replace(UNLIMITED, **{"user_byte_rate": 200_000_000, **limits}))
    site.roles.roles["bob", "p"] = Role.OWNER
    site.roles.gates["bob"] = asyncio.Event()
    site.roles.gates["bob"].set()
    bob = await site.join("Bob")
    await settle()
    bob.take()
    crowd = [site.come("Ann") for _ in range(connections)]
    for ann in crowd:
        for number in range(events):
            ann.emit("task:create", task(number))
    await settle()
    return site, bob, crowd


def budget_of(site: Guarded, ann: MemoryClient) -> TurnBudget:
    work = site.collaboration.members[ann.id].rate_limiter.work
    assert work is not None
    return work.budget


def go_on(budget: TurnBudget) -> None:
    budget.share = inf
    budget._begin_turn()


def edits(client: MemoryClient) -> list[object]:
    return [event[1] for event in client.take_events() if event[0] == "task:create"]


async def test_what_waited_is_relayed_in_the_users_share_of_each_turn() -> None:
    """One answer decides about the edits of all connections of a user, who may have a thousand more in the project."""
    site, bob, crowd = await many_wait(4, 10)
    budget_of(site, crowd[0]).share = 1e-9  # one piece of work a turn
    site.roles.gate.set()
    got: list[int] = []
    while sum(got) < 40:
        await asyncio.sleep(0)
        got.append(len(edits(bob)))
        assert len(got) < 1000
    assert max(got) <= 2  # a write may have those of two turns
    assert not site.collaboration._admission._buffered_memory
    assert not any(site.collaboration.members[ann.id].pending for ann in crowd)


async def test_what_waited_is_refused_above_the_users_limit() -> None:
    """As if it had arrived after the answer: one answer may set free more than the user's connections may send."""
    site, bob, crowd = await many_wait(5, 20, user_byte_rate=1_200_000)
    work = site.collaboration.members[crowd[0].id].rate_limiter.work
    assert work is not None
    work.count_delivery(1_200_000, 2)
    await site.answer()
    refused = [error for ann in crowd for error in errors(ann)]
    assert {error["message"] for error in refused} == {"Too much for one user: slow down"}
    assert all(error["retryAfter"] > 0 for error in refused)
    assert (len(edits(bob)), len(refused)) == (0, 100)
    assert site.collaboration._incidents.limits[Limit.USER_WORK] >= 1


async def test_later_events_wait_behind_those_that_wait_for_their_turn() -> None:
    site, bob, (ann,) = await many_wait(1, 3)
    budget = budget_of(site, ann)
    ann.emit("join-project", "p")
    budget.share = 1e-9
    site.roles.gate.set()
    while "users:active" not in names(ann):
        await asyncio.sleep(0)
    budget.share = 0
    first = edits(bob)
    ann.emit("task:create", task(3))
    await settle()
    first += edits(bob)
    assert len(first) < 3
    go_on(budget)
    await settle()
    ann.emit("task:create", task(4))
    await settle()
    assert first + edits(bob) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("end", ["disconnect", "remove"])
async def test_what_waits_for_its_turn_is_dropped_with_the_connection_or_the_access(end: str) -> None:
    site, bob, (ann,) = await many_wait(1, 3)
    budget = budget_of(site, ann)
    budget.share = 0
    await site.answer()
    if end == "disconnect":
        ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
    else:
        site.collaboration.remove("p", "ann")
    go_on(budget)
    await settle()
    assert edits(bob) == []
    assert not site.collaboration._admission._buffered_memory
    if end == "remove":
        assert [error["message"] for error in errors(ann)] == ["task:create: join the project first"] * 3


async def test_projects_whose_events_wait_for_their_turn_count_once() -> None:
    """A member of the project counts once, also while the project's events wait."""
    site, _, (ann,) = await many_wait(1, 3, projects=2)
    budget = budget_of(site, ann)
    ann.emit("join-project", "p")
    site.roles.roles["ann", "q"] = Role.OWNER
    budget.share = 1e-9
    site.roles.gate.set()
    while "users:active" not in names(ann):
        await asyncio.sleep(0)
    budget.share = 0
    await ask(ann, "join-project", "q")
    go_on(budget)
    await settle()
    assert errors(ann) == []


async def test_a_join_that_fails_after_the_answer_leaves_nothing_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    site, _, (ann,) = await many_wait(1, 3)

    def fail(*_: object) -> None:
        raise RuntimeError("of the test")

    monkeypatch.setattr(site.collaboration._admission, "_enter", fail)
    ann.emit("join-project", "p")
    await site.answer()
    await settle()
    assert "Internal server error" in [error["message"] for error in errors(ann)]
    assert not any(member.pending for member in site.collaboration.members.values())
