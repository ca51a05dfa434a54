"""The bound on the projects that one user edits, whose events the log keeps."""

from dataclasses import replace
from typing import Any

import pytest
from tests.collaboration.guarded import UNLIMITED, settle
from tests.collaboration.site import MemoryClient, Site
from tests.collaboration.tabs import Tab, one_lost
from tests.support.clocks import Clock, clock

from synkora.collaboration import edited_projects
from synkora.engine.incidents import Limit

__all__ = ["clock"]

TIMED = [edited_projects]
LIMITS = replace(UNLIMITED, user_byte_rate=1e12)


@pytest.fixture
def few_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edited_projects, "MOST_PROJECTS", 3)


@pytest.mark.parametrize("joins", [False, True])
async def test_one_user_in_very_many_projects_does_not_displace_the_projects_of_others(joins: bool) -> None:
    """The log keeps the events of 10,000 projects: the missed edit of the quietest one is still there."""
    site = Site(recovery=True, limits=LIMITS)
    ann, bob = await one_lost(site)
    await bob.create("missed")
    refused: list[dict[str, Any]] = []
    for connection in range(3):  # a further connection does not clear the count
        eve = await Tab(site, "Eve").come()
        for number in range(3500):
            project = f"{connection}-{number}"
            if joins:
                eve.emit("join-project", project)
            eve.emit("task:create", {"projectId": project, "task": 1})
            if joins:
                eve.emit("leave-project", project)
        refused += [event[1] for event in await eve.take("error")]
        await eve.lose()
    assert await ann.restore() == [["task:create", {"id": "missed"}]]
    assert len(refused) == 10_000
    assert refused[0]["message"] == "Too many projects for one user: 500 within 7200 seconds"
    assert refused[0]["event"] == "task:create"
    assert 0 < refused[0]["retryAfter"] <= 7200
    assert site.server.incidents.limits[Limit.USER_WORK] == len(refused)


async def refusals(client: MemoryClient, *projects: str, event: str = "task:create") -> int:
    """How many of a client's events in these projects are refused."""
    for project in projects:
        client.emit(event, {"projectId": project, "task": 1, "position": 1})
    await settle()
    return sum(event[0] == "error" for event in client.take_events())


async def test_a_user_may_go_on_in_the_projects_that_are_counted(few_projects: None, clock: Clock) -> None:
    """Over all connections. Other users may edit any project."""
    site = Site(recovery=True, limits=LIMITS)
    ann, tab, bob = await site.meet("Ann", "Ann", "Bob")
    assert await refusals(ann, "1", "2", "1", "2", "1") == 0
    assert await refusals(tab, "2", "3", "4", "1") == 1
    assert await refusals(bob, "4", "5", "6") == 0


async def test_the_count_begins_again_when_the_log_drops_the_events(few_projects: None, clock: Clock) -> None:
    """Also for the projects that the user goes on editing."""
    site = Site(recovery=True, limits=LIMITS, log_age=60)
    (ann,) = await site.meet("Ann")
    assert await refusals(ann, "1", "2", "3", "4") == 1
    clock.now += 59
    assert await refusals(ann, "5") == 1
    clock.now += 1
    assert await refusals(ann, "5", "1", "2", "3") == 1


async def test_what_the_log_does_not_keep_does_not_count(few_projects: None, clock: Clock) -> None:
    site = Site(recovery=True, limits=LIMITS)
    (ann,) = await site.meet("Ann")
    for number in range(5):
        ann.emit("join-project", f"{number}")
    assert await refusals(ann, *"01234", event="canvas:cursor") == 0
    assert await refusals(ann, *"01234") == 2


@pytest.mark.parametrize("options", [{"recovery": False, "limits": LIMITS}, {"recovery": True, "limits": UNLIMITED}])
async def test_there_is_no_bound_without_a_log_or_a_limit(
    few_projects: None, clock: Clock, options: dict[str, Any]
) -> None:
    (ann,) = await Site(**options).meet("Ann")
    assert await refusals(ann, *"12345") == 0


async def test_very_many_users_and_projects_are_not_remembered(
    few_projects: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count begins again for everyone."""
    monkeypatch.setattr(edited_projects, "_MAX_PAIRS", 4)
    site = Site(recovery=True, limits=LIMITS)
    ann, bob = await site.meet("Ann", "Bob")
    assert await refusals(ann, "1", "2", "3", "4") == 1
    assert await refusals(bob, "1", "2") == 0
    assert await refusals(ann, "4", "5", "6") == 0
