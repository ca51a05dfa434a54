"""Rechecks: members' access is checked repeatedly."""

import asyncio

import pytest
from tests.collaboration.guarded import (
    FAILURES,
    UNLIMITED,
    MakeGuarded,
    Roles,
    ask,
    errors,
    first_error,
    heard,
    names,
    settle,
    task,
)
from tests.collaboration.site import Site
from tests.support.servers import until

from synkora.collaboration.access import AccessUnavailable, Role
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import IncidentKind
from synkora.identity.sign_in import SignedIn

#: All that can go wrong with a policy.


async def test_a_member_that_loses_access_is_informed_and_removed(guarded: MakeGuarded) -> None:
    """The others get the leave. The former member's events are refused, and it gets no more events."""
    site = guarded(Roles(ann=Role.OWNER, bob=Role.EDITOR), recheck=0.02)
    ann, bob = await site.join("Ann"), await site.join("Bob")
    ann.take()
    bob.take()
    del site.roles.roles["bob", "p"]
    assert await first_error(bob) == {"message": "You no longer have access to this project", "projectId": "p"}
    events = await heard(ann, lambda events: any(event[0] == "users:count" for event in events))
    assert [event[0] for event in events] == ["user:left", "users:active", "users:count"]
    assert [user["userId"] for user in events[1][1]["users"]] == ["ann"]
    ann.emit("task:create", task(1))
    await ask(bob, "task:create", task(2))
    assert [event[1]["message"] for event in bob.take_events()] == ["task:create: join the project first"]
    assert "task:create" not in names(ann)
    bob.emit("join-project", "p")
    assert (await first_error(bob))["message"] == "You do not have access to this project"
    assert bob.session.is_live


async def test_a_user_that_regains_access_may_rejoin(guarded: MakeGuarded) -> None:
    """After the cached refusal has expired, without a restart. The user is rechecked from then on."""
    site = guarded(Roles(ann=Role.OWNER), recheck=0.02)
    ann = await site.join("Ann")
    site.roles.roles.clear()
    await first_error(ann)
    site.roles.roles["ann", "p"] = Role.OWNER
    site.collaboration.access._answers.clear()
    ann.emit("join-project", "p")
    await heard(ann, lambda events: any(event[0] == "users:count" for event in events))
    site.roles.roles.clear()
    await first_error(ann)


async def test_a_member_that_becomes_a_viewer_stays_without_writing(guarded: MakeGuarded) -> None:
    site = guarded(Roles(ann=Role.OWNER, bob=Role.EDITOR), recheck=0.02)
    ann, bob = await site.join("Ann"), await site.join("Bob")
    member = next(each for each in site.collaboration._members.values() if each.user.id == "bob")
    bob.emit("task:create", task(1))
    await heard(ann, lambda events: ["task:create", 1] in events)
    site.roles.roles["bob", "p"] = Role.VIEWER
    await until(lambda: member.projects["p"] is Role.VIEWER)
    bob.take()
    bob.emit("task:create", task(2))
    assert (await first_error(bob))["message"] == "task:create: viewers may not change the project"
    site.roles.roles["bob", "p"] = Role.EDITOR
    await until(lambda: member.projects["p"] is Role.EDITOR)
    bob.emit("task:create", task(3))
    events = await heard(ann, lambda events: ["task:create", 3] in events)
    assert ["task:create", 2] not in events
    assert "user:left" not in [event[0] for event in events]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
async def test_members_stay_while_the_policy_is_unavailable(guarded: MakeGuarded, failure: BaseException) -> None:
    """With their role. Later answers count without a restart."""
    site = guarded(Roles(ann=Role.OWNER, bob=Role.VIEWER), recheck=0.02)
    ann, bob = await site.join("Ann"), await site.join("Bob")
    site.roles.error = failure
    asked = site.roles.asked["bob", "p"]
    await until(lambda: site.roles.asked["bob", "p"] > asked + 2)
    bob.emit("task:create", task(1))
    assert (await first_error(bob))["message"] == "task:create: viewers may not change the project"
    ann.emit("task:create", task(2))
    await heard(bob, lambda events: ["task:create", 2] in events)
    site.roles.error = None
    del site.roles.roles["bob", "p"]
    assert (await first_error(bob))["message"] == "You no longer have access to this project"


async def test_members_that_left_are_not_rechecked(guarded: MakeGuarded) -> None:
    site = guarded(Roles(ann=Role.OWNER, bob=Role.OWNER, carol=Role.OWNER), recheck=0.02)
    ann, bob, _ = await site.join("Ann"), await site.join("Bob"), await site.join("Carol")
    ann.emit("leave-project", "p")
    bob.session.transport_closed(bob.transport, Reason.TRANSPORT_CLOSE)
    before = site.roles.asked.copy()
    await until(lambda: site.roles.asked["carol", "p"] > before["carol", "p"] + 3)
    assert site.roles.asked["ann", "p"] == before["ann", "p"]
    assert site.roles.asked["bob", "p"] == before["bob", "p"]


@pytest.mark.parametrize("how", ["leave", "disconnect"])
async def test_a_leave_during_a_check_is_not_undone(guarded: MakeGuarded, how: str) -> None:
    """The answer comes too late: no error, and no second leave."""
    site = guarded(Roles(ann=Role.OWNER, bob=Role.OWNER), recheck=0.02)
    ann, bob = await site.join("Ann"), await site.join("Bob")
    asked = site.roles.asked["bob", "p"]
    site.roles.gate.clear()
    await until(lambda: site.roles.asked["bob", "p"] > asked)
    del site.roles.roles["bob", "p"]
    bob.take()
    if how == "leave":
        bob.emit("leave-project", "p")
    else:
        bob.session.transport_closed(bob.transport, Reason.TRANSPORT_CLOSE)
    await settle()
    ann.take()
    await site.answer()
    assert errors(bob) == []
    assert ann.take() == []


async def test_very_many_connections_of_one_user_do_not_delay_the_rechecks_of_others(guarded: MakeGuarded) -> None:
    """One question is asked for all of them, and its answer counts for all."""
    site = guarded(Roles(ann=Role.OWNER, eve=Role.EDITOR), recheck=0.02, answer_timeout=60)
    crowd = [await site.join("Eve") for _ in range(60)]
    await site.join("Ann")
    site.roles.gates["eve"] = asyncio.Event()
    asked = site.roles.asked.copy()
    await until(lambda: site.roles.asked["eve", "p"] > asked["eve", "p"])
    await until(lambda: site.roles.asked["ann", "p"] > asked["ann", "p"] + 3)
    assert site.roles.asked["eve", "p"] == asked["eve", "p"] + 1
    del site.roles.roles["eve", "p"]
    site.roles.gates["eve"].set()
    for eve in crowd:
        assert (await first_error(eve))["message"] == "You no longer have access to this project"
    assert site.collaboration.presence.count("p") == 1
    await until(lambda: len(site.collaboration._admission._rechecks._members) == 1)


@pytest.mark.parametrize("role", [Role.EDITOR, None])
async def test_an_answer_from_before_a_removal_does_not_count_for_a_later_join(
    guarded: MakeGuarded, role: Role | None
) -> None:
    """Neither an older role nor an older refusal. The new membership is rechecked in its turn."""
    site = guarded(Roles(bob=Role.EDITOR), recheck=0.02)
    bob = await site.join("Bob")
    member = next(iter(site.collaboration.members.values()))
    site.roles.gate.clear()
    asked = site.roles.asked["bob", "p"]
    await until(lambda: site.roles.asked["bob", "p"] > asked)
    old, site.roles.gate = site.roles.gate, asyncio.Event()
    site.roles.gate.set()
    site.roles.roles["bob", "p"] = Role.VIEWER
    assert site.collaboration.remove("p", "bob") == 1
    bob.emit("join-project", "p")
    await until(lambda: member.projects)
    site.roles.gate.clear()
    bob.take()
    site.roles.roles["bob", "p"] = role
    old.set()
    await settle()
    assert member.projects == {"p": Role.VIEWER}
    assert errors(bob) == []
    site.roles.roles["bob", "p"] = None
    await site.answer()
    assert (await first_error(bob))["message"] == "You no longer have access to this project"


@pytest.mark.parametrize("which", [0, 1])
async def test_a_tab_whose_session_the_app_has_ended_is_out_alone(guarded: MakeGuarded, which: int) -> None:
    """The user's other tab, with a session of its own, stays. It is out, too, when the user has no access."""
    site = guarded(roles := Roles(ann=Role.OWNER), recheck=0.02)
    tabs = [site.come("Ann", tab=number) for number in range(2)]
    ended, staying = tabs[which], tabs[1 - which]
    for tab in tabs:
        await ask(tab, "join-project", "p")
    assert site.collaboration.presence.connections("p") == 2
    roles.ended.add(site.collaboration.members[ended.id].signed_in.token)
    assert (await first_error(ended))["message"] == "You no longer have access to this project"
    asked = roles.asked["ann", "p"]
    await until(lambda: roles.asked["ann", "p"] > asked + 3)
    assert site.collaboration.members[staying.id].projects == {"p": Role.OWNER}
    del roles.roles["ann", "p"]
    assert (await first_error(staying))["message"] == "You no longer have access to this project"


async def test_a_session_without_an_answer_does_not_prevent_the_questions_of_others(guarded: MakeGuarded) -> None:
    """For example one that is too long for the app. The answer to another session of the user counts for both."""

    class Deaf(Roles):
        async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
            if "deaf" in (signed_in.user.email or ""):
                raise AccessUnavailable("too long")
            return await super().role(signed_in, project_id)

    site = guarded(roles := Deaf(ann=Role.OWNER), recheck=0.02)
    first = await site.join("Ann")
    deaf = site.come("Ann", email="deaf@example.com")
    await ask(deaf, "join-project", "p")
    first.emit("leave-project", "p")
    first.emit("join-project", "p")
    await settle()
    assert site.collaboration.presence.connections("p") == 2
    del roles.roles["ann", "p"]
    for tab in (first, deaf):
        assert (await first_error(tab))["message"] == "You no longer have access to this project"


async def test_a_user_whose_only_session_the_app_cannot_read_is_out(guarded: MakeGuarded) -> None:
    """It joined by the answer to another session, and no question would ever remove it. The log tells of it."""
    site = guarded(roles := Roles(ann=Role.OWNER, bob=Role.OWNER), recheck=0.02)
    short, bob = await site.join("Ann"), await site.join("Bob")
    long = site.come("Ann", email="long@example.com")
    await settle()
    token = site.collaboration.members[long.id].signed_in.token
    roles.too_long.add(token)
    await ask(long, "join-project", "p")
    short.emit("leave-project", "p")
    await settle()
    assert (await first_error(long))["message"] == "You no longer have access to this project"
    assert site.collaboration.members[bob.id].projects == {"p": Role.OWNER}
    assert site.server.incidents.totals[IncidentKind.ACCESS_CHECK_FAILED]


async def test_a_thousand_members_are_asked_about_fifty_at_a_time(guarded: MakeGuarded) -> None:
    """The policy is not overloaded, and each member is rechecked."""
    users = [f"user{number}" for number in range(120)]
    site = guarded(Roles(**dict.fromkeys(users, Role.VIEWER)), recheck=0.05, limits=UNLIMITED)
    for user in users:
        site.come(user).emit("join-project", "p")
    await until(lambda: site.collaboration.presence.count("p") == len(users))
    await until(lambda: site.roles.asked.total() > len(users))
    site.roles.gate.clear()
    await until(lambda: len(site.collaboration.access._answers._asking) == 50)
    await until(lambda: len(site.collaboration._admission._rechecks._checks._tasks) > 50)
    assert len(site.collaboration.access._answers._asking) == 50
    site.roles.gate.set()
    before = site.roles.asked.copy()
    await until(lambda: all(site.roles.asked[user, "p"] > before[user, "p"] for user in users))


async def test_the_rechecks_of_one_user_leave_room_for_others(guarded: MakeGuarded) -> None:
    """Few of one user run at a time, in however many projects the user is."""
    site = guarded(Roles(ann=Role.OWNER), recheck=0.05, limits=UNLIMITED, answer_timeout=600)
    projects = [f"p{number}" for number in range(60)]
    site.roles.roles |= {("eve", project): Role.OWNER for project in projects}
    eve, ann = await site.meet("Eve", "Ann")
    for project in projects:
        eve.emit("join-project", project)
    await until(lambda: len(site.collaboration.members[eve.id].projects) == len(projects))
    site.roles.gates["eve"] = asyncio.Event()
    await until(lambda: len(site.collaboration._admission._rechecks._checks._tasks) == len(projects))
    ann.emit("join-project", "p")
    await until(lambda: site.roles.asked["ann", "p"] > 2)
    site.roles.gates["eve"].set()


async def test_open_access_is_not_rechecked() -> None:
    site = Site()
    await site.meet("Ann", project="p")
    assert len(site.collaboration._admission._rechecks._checks._due) == 0
