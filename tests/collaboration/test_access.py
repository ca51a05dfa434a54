"""Access checks: questions, cached answers, and failures of the policy."""

import asyncio
import gc
from typing import Any

import pytest
from tests.collaboration.guarded import MovedClock, Roles, signed_in
from tests.support.servers import until

from synkora.collaboration import access as access_port
from synkora.collaboration import access_answers, keyed_limit
from synkora.collaboration.access import Access, AccessUnavailable, OpenAccess, Role, SessionRefused
from synkora.collaboration.limits import Limits

ANN = signed_in("ann")
EVE = signed_in("eve")
DEFAULT_PROJECTS = Limits().projects


@pytest.mark.parametrize(("role", "may_write"), [(Role.OWNER, True), (Role.EDITOR, True), (Role.VIEWER, False)])
def test_all_but_viewers_may_write(role: Role, may_write: bool) -> None:
    """As in the app: owners and editors read and write, viewers read."""
    assert role.may_write is may_write


async def test_open_access_lets_every_user_write_without_a_question() -> None:
    access = Access(OpenAccess())
    assert access.is_open
    assert access.cached(EVE, "anything") is Role.EDITOR
    assert await access.role(EVE, "anything") is Role.EDITOR
    await access.close()


@pytest.mark.parametrize(
    ("role", "kept", "over"), [(Role.EDITOR, 29.5, 30.5), (Role.VIEWER, 29.5, 30.5), (None, 4.5, 5.5)]
)
def test_answers_are_remembered_for_30_seconds_and_refusals_for_5(role: Role | None, kept: float, over: float) -> None:
    """Until then, the policy is not asked again."""
    loop = MovedClock()

    async def ask() -> list[int]:
        roles = Roles(ann=role)
        access = Access(roles)
        counts = []
        for loop.ahead in (0, kept, over):
            assert await access.role(ANN, "p") is role
            counts.append(roles.asked.total())
        return counts

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(ask()) == [1, 1, 2]


def test_a_cached_answer_is_used_until_it_expires() -> None:
    """So a second tab of a page joins immediately. A cached refusal never admits a user."""
    loop = MovedClock()

    async def look() -> None:
        access = Access(Roles(ann=Role.VIEWER))
        assert access.cached(ANN, "p") is None
        await access.role(ANN, "p")
        await access.role(EVE, "p")
        assert access.cached(ANN, "p") is Role.VIEWER
        assert access.cached(ANN, "another") is None
        assert access.cached(EVE, "p") is None
        loop.ahead = 30.5
        assert access.cached(ANN, "p") is None

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(look())


def test_a_policy_has_three_seconds() -> None:
    """Then it counts as unavailable, and no answer is cached: the next question goes to the policy."""
    loop = MovedClock()

    async def ask() -> None:
        roles = Roles(ann=Role.EDITOR)
        roles.gate.clear()
        access = Access(roles)
        question = asyncio.create_task(access.role(ANN, "p"))
        await asyncio.sleep(0.01)
        loop.ahead = 2.5
        await asyncio.sleep(0.01)
        assert not question.done()
        loop.ahead = 3.5
        with pytest.raises(AccessUnavailable, match="no answer within 3 s"):
            await question
        roles.gate.set()
        assert await access.role(ANN, "p") is Role.EDITOR
        assert roles.asked.total() == 2

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(ask())


async def test_a_hundred_simultaneous_questions_are_one_question() -> None:
    roles = Roles(ann=Role.OWNER)
    roles.gate.clear()
    access = Access(roles)
    questions = [asyncio.create_task(access.role(ANN, "p")) for _ in range(100)]
    await asyncio.sleep(0.01)
    roles.gate.set()
    assert await asyncio.gather(*questions) == [Role.OWNER] * 100
    assert roles.asked == {("ann", "p"): 1}


async def test_each_user_and_each_project_is_a_question_of_its_own() -> None:
    roles = Roles(ann=Role.OWNER)
    access = Access(roles)
    questions = ((ANN, "p"), (EVE, "p"), (ANN, "q"))
    answers = await asyncio.gather(*(access.role(user, project) for user, project in questions))
    assert answers == [Role.OWNER, None, None]
    assert roles.asked == {("ann", "p"): 1, ("eve", "p"): 1, ("ann", "q"): 1}


async def test_a_cancelled_caller_does_not_cancel_the_question_of_others() -> None:
    """The others get the answer, and it is cached."""
    roles = Roles(ann=Role.OWNER)
    roles.gate.clear()
    access = Access(roles)
    leaving = asyncio.create_task(access.role(ANN, "p"))
    staying = asyncio.create_task(access.role(ANN, "p"))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.sleep(0.01)
    roles.gate.set()
    assert await staying is Role.OWNER
    assert leaving.cancelled()
    assert access.cached(ANN, "p") is Role.OWNER


async def test_a_fresh_question_ignores_and_replaces_the_cached_answer() -> None:
    roles = Roles(ann=Role.OWNER)
    access = Access(roles)
    assert await access.role(ANN, "p") is Role.OWNER
    roles.roles.clear()
    assert await access.role(ANN, "p") is Role.OWNER
    assert await access.role(ANN, "p", fresh=True) is None
    assert access.cached(ANN, "p") is None
    assert await access.role(ANN, "p") is None
    assert roles.asked.total() == 2


@pytest.mark.parametrize(
    "error",
    [
        AccessUnavailable("the app is down"),
        RuntimeError("with a secret in it"),
        OSError(111, "Connection refused"),
        TimeoutError(),
        KeyError("projectId"),
        StopAsyncIteration(),
        RecursionError(),
        asyncio.InvalidStateError(),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_error_of_a_policy_means_unavailable(error: BaseException) -> None:
    """All callers get the same result, and nothing is cached. The next question is answered when the policy works
    again.
    """
    roles = Roles(ann=Role.OWNER)
    roles.error = error
    access = Access(roles)
    answers = await asyncio.gather(*(access.role(ANN, "p") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [AccessUnavailable] * 3
    assert "secret" not in str(answers[0])
    roles.error = None
    assert await access.role(ANN, "p") is Role.OWNER


async def test_an_error_that_is_not_awaited_is_not_reported() -> None:
    """The loop does not report an unretrieved exception for a question whose asker has left."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    roles = Roles()
    roles.gate.clear()
    roles.error = RuntimeError()
    access = Access(roles)
    question = asyncio.create_task(access.role(ANN, "p"))
    await asyncio.sleep(0.01)
    question.cancel()
    await asyncio.sleep(0.01)
    roles.gate.set()
    await until(lambda: not access._answers._asking)
    del question
    gc.collect()
    assert complaints == []


async def test_no_more_answers_are_kept_than_there_is_room_for() -> None:
    """The oldest are removed first, however many projects a user invents."""
    roles = Roles(ann=Role.OWNER)
    access = Access(roles, max_cached=10)
    await access.role(ANN, "p")
    for number in range(30):
        await access.role(EVE, f"p{number}")
    assert len(access._answers._answers) == 10
    assert access.cached(ANN, "p") is None
    await access.role(EVE, "p29")
    assert roles.asked["eve", "p29"] == 1


async def test_lifetimes_can_be_chosen() -> None:
    access = Access(Roles(ann=Role.OWNER), granted_ttl=0.02)
    await access.role(ANN, "p")
    await until(lambda: access.cached(ANN, "p") is None)


async def test_closing_releases_the_policys_connections() -> None:
    roles = Roles()
    await Access(roles).close()
    assert roles.closed


async def test_answers_are_counted_and_timed() -> None:
    """By outcome. Cached answers and shared questions are not counted."""

    class Away(Roles):
        async def role(self, *_: Any) -> Role | None:
            raise AccessUnavailable("away")

    access = Access(Roles(ann=Role.VIEWER))
    await asyncio.gather(*(access.role(ANN, "p") for _ in range(3)))
    await access.role(ANN, "p")
    await access.role(EVE, "p")
    assert access.outcomes == {"granted": 1, "denied": 1}
    assert sum(access.durations.counts) == 2
    broken = Access(Away())
    with pytest.raises(AccessUnavailable):
        await broken.role(ANN, "p")
    assert broken.outcomes == {"unavailable": 1}


def eve_asks(count: int, **options: Any) -> tuple[Roles, Access, list[asyncio.Task[Role | None]]]:
    """Questions about Eve and as many projects, to a policy that does not answer yet."""
    roles = Roles(ann=Role.OWNER)
    roles.gate.clear()
    access = Access(roles, **options)
    return roles, access, [asyncio.create_task(access.role(EVE, f"p{number}")) for number in range(count)]


async def test_a_user_with_endless_questions_does_not_delay_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few questions about one user run at a time. Questions about other users do not wait for them."""
    monkeypatch.setattr(keyed_limit, "MAX_PER_KEY", 2)
    roles, access, questions = eve_asks(5)
    await asyncio.sleep(0.01)
    assert roles.asked.total() == 2
    honest = asyncio.create_task(access.role(ANN, "p"))
    await asyncio.sleep(0.01)
    assert roles.asked["ann", "p"] == 1
    roles.gate.set()
    assert await honest is Role.OWNER
    assert await asyncio.gather(*questions) == [None] * 5
    del questions
    await until(lambda: not access._limit._slots)


def test_too_many_questions_about_a_user_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """They fail immediately. Those that wait too long for their turn fail, too."""
    monkeypatch.setattr(keyed_limit, "MAX_PER_KEY", 1)
    monkeypatch.setattr(access_port, "MAX_WAITING_PER_USER", 1)
    loop = MovedClock()

    async def ask() -> int:
        roles, _, questions = eve_asks(3, answer_timeout=60)
        with pytest.raises(AccessUnavailable, match="too many questions"):
            await questions[2]
        loop.ahead = 61
        for question in questions[:2]:
            with pytest.raises(AccessUnavailable, match="no answer"):
                await question
        return roles.asked.total()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(ask()) == 1


async def test_as_many_questions_wait_as_a_connection_has_projects() -> None:
    """So a page that joins all of them at once is not refused."""
    access = Access(Roles(ann=Role.OWNER))
    projects = [f"p{number}" for number in range(DEFAULT_PROJECTS)]
    assert await asyncio.gather(*(access.role(ANN, project) for project in projects)) == [None] * DEFAULT_PROJECTS


async def test_very_many_users_with_many_questions_do_not_stop_rechecks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further joins are refused. A removed user must not stay by the questions of others."""
    monkeypatch.setattr(access_answers, "MAX_QUESTIONS", 3)
    roles, access, questions = eve_asks(3)
    await until(lambda: roles.asked.total() == 3)
    with pytest.raises(AccessUnavailable, match="too many questions"):
        await access.role(ANN, "p")
    recheck = asyncio.create_task(access.recheck(ANN, "p"))
    await until(lambda: roles.asked["ann", "p"] or recheck.done())
    roles.gate.set()
    assert await recheck is Role.OWNER
    assert await asyncio.gather(*questions) == [None] * 3


async def test_a_session_that_the_app_cannot_read_has_no_answer() -> None:
    """To a join, which is refused as without an answer. A recheck asks with another session."""
    access = Access(roles := Roles(ann=Role.OWNER))
    roles.too_long.add(ANN.token)
    with pytest.raises(AccessUnavailable, match="too long"):
        await access.role(ANN, "p")
    with pytest.raises(SessionRefused):
        await access.recheck(ANN, "p")
    assert access.outcomes == {"unavailable": 2}


async def test_a_recheck_is_not_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if many of the user's questions wait: otherwise a revocation would not be noticed."""
    monkeypatch.setattr(keyed_limit, "MAX_PER_KEY", 1)
    roles = Roles()
    roles.gate.clear()
    access = Access(roles)
    questions = [asyncio.create_task(access.role(EVE, project)) for project in ("x", "p")]
    await asyncio.sleep(0.01)
    recheck = asyncio.create_task(access.role(EVE, "p", fresh=True))
    await asyncio.sleep(0.01)
    assert roles.asked == {("eve", "x"): 1, ("eve", "p"): 1}
    roles.gate.set()
    assert await recheck is None
    await asyncio.gather(*questions)


def test_answers_that_are_too_old_are_forgotten() -> None:
    loop = MovedClock()

    async def ask() -> int:
        access = Access(Roles(ann=Role.OWNER))
        for number in range(20):
            await access.role(EVE, f"p{number}")
        loop.ahead = 6
        await access.role(ANN, "p")
        return len(access._answers._answers)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(ask()) == 1
