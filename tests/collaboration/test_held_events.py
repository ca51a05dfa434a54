"""What a client sends into a project before the policy has answered its join."""

import asyncio
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from tests.collaboration.guarded import (
    EDIT,
    UNLIMITED,
    Guarded,
    Roles,
    ann_waits_for_bob,
    ask,
    errors,
    names,
    settle,
    task,
    waiting,
    waiting_with_bob,
)
from tests.collaboration.site import MemoryClient
from tests.support.processes import PATIENCE

from synkora.collaboration import admission
from synkora.collaboration.access import AccessUnavailable, Role
from synkora.collaboration.admission import MAX_BUFFERED_PER_USER
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import Limit
from synkora.engine.turn_budget import TurnBudget

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


async def test_an_answer_gets_old_where_events_never_cease_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user could keep a role for ever: more events come than there are turns for them."""
    monkeypatch.setattr(admission, "GRANTED_TTL", 0.2)
    site, bob, (ann,) = await many_wait(1, 3)
    site.collaboration.access._answers._granted_ttl = 0.1
    budget_of(site, ann).share = 1e-9
    site.roles.gate.set()
    got: list[object] = []
    async with asyncio.timeout(PATIENCE):
        while not got:
            await asyncio.sleep(0)
            got += edits(bob)
        del site.roles.roles["ann", "p"]
        while not (refused := errors(ann)):
            ann.emit("task:create", task(0))
            await asyncio.sleep(0)
    assert {error["message"] for error in refused} == {"task:create: join the project first"}
    assert site.roles.asked["ann", "p"] == 2


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
