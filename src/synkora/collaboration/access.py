"""May this user join a project, and may they write in it: the port, the open policy, and the memory of answers."""

import asyncio
from collections import Counter, OrderedDict
from contextlib import AbstractAsyncContextManager, nullcontext
from enum import StrEnum
from time import perf_counter
from typing import Final, Protocol
from weakref import WeakValueDictionary

from synkora.engine.histogram import Histogram
from synkora.identity.handshake import SignedIn

REMEMBER_YES: Final = 30  # seconds
REMEMBER_NO: Final = 5  # seconds
ANSWER_WITHIN: Final = 3  # seconds
ASKED_AT_ONCE: Final = 8  # questions about one user; others are not to wait for one who asks without end
MOST_WAITING: Final = 200  # further ones, which wait for their turn
MOST_REMEMBERED: Final = 100_000  # answers
#: Seconds, up to `ANSWER_WITHIN`.
ANSWER_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)


class Role(StrEnum):
    """What somebody is in a project, in the app's words."""

    OWNER = "OWNER"
    EDITOR = "EDITOR"
    VIEWER = "VIEWER"

    @property
    def may_write(self) -> bool:
        """Whether their edits are passed on."""
        return self is not Role.VIEWER


class AccessUnavailable(Exception):
    """Whoever knows cannot be asked now; its text is for the log."""


class AccessPolicy(Protocol):
    """Knows who may join which project."""

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """The role of somebody in a project, None where they have no access. Raises `AccessUnavailable`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class OpenAccess:
    """Lets everyone who is signed in write everywhere."""

    async def role(self, signed_in: SignedIn, project_id: str) -> Role:
        """The role of somebody in a project."""
        return Role.EDITOR

    async def close(self) -> None:
        """Let go of nothing."""


class _Turns:
    """The questions about one user: so many at a time, and so many that wait."""

    __slots__ = ("__weakref__", "_free", "_waiting")

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(ASKED_AT_ONCE)
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise AccessUnavailable("too many questions about one user")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


class Access:
    """Asks a policy, and remembers its answers for a while.

    Questions that come while the same one is under way wait for its answer, and `ASKED_AT_ONCE` about one user are
    under way at a time. A policy that does not answer in time, with the wait for a turn, is unavailable. `outcomes`
    counts what it was asked, and `durations` has what each answer took.
    """

    def __init__(
        self,
        policy: AccessPolicy,
        *,
        remember_yes: float = REMEMBER_YES,
        remember_no: float = REMEMBER_NO,
        answer_within: float = ANSWER_WITHIN,
        most_remembered: int = MOST_REMEMBERED,
    ) -> None:
        self.is_open = isinstance(policy, OpenAccess)
        self._policy = policy
        self._remember_yes = remember_yes
        self._remember_no = remember_no
        self._answer_within = answer_within
        self._most_remembered = most_remembered
        self._answers: OrderedDict[tuple[str, str], tuple[Role | None, float]] = OrderedDict()
        self._asking: dict[tuple[str, str, bool], asyncio.Task[Role | None]] = {}
        self._turns: WeakValueDictionary[str, _Turns] = WeakValueDictionary()
        self.outcomes: Counter[str] = Counter()  # `granted`, `denied`, `unavailable`
        self.durations = Histogram(ANSWER_BOUNDS)

    def remembered(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """The role that is known without asking: None where there is none, or nothing is known."""
        if self.is_open:
            return Role.EDITOR
        answer = self._answers.get((signed_in.user.id, project_id))
        return answer[0] if answer and answer[1] > asyncio.get_running_loop().time() else None

    async def role(self, signed_in: SignedIn, project_id: str, *, anew: bool = False) -> Role | None:
        """The role of somebody in a project, None where they have no access; `anew` passes over what is remembered.

        A question that is asked `anew` waits for no turn: somebody who asks without end would stay unasked about.
        Raises `AccessUnavailable`.
        """
        key = (signed_in.user.id, project_id)
        answer = self._answers.get(key)
        if answer and not anew and answer[1] > asyncio.get_running_loop().time():
            return answer[0]
        asking = (*key, anew)
        task = self._asking.get(asking)
        if task is None:
            turns: AbstractAsyncContextManager[None] = nullcontext() if anew else self._turns_of(signed_in.user.id)
            task = asyncio.get_running_loop().create_task(self._ask_and_count(key, signed_in, turns))
            self._asking[asking] = task
            task.add_done_callback(lambda done: self._answered(asking, done))
        return await asyncio.shield(task)

    def _turns_of(self, user_id: str) -> _Turns:
        turns = self._turns.get(user_id)
        if turns is None:
            turns = self._turns[user_id] = _Turns()
        return turns

    async def _ask_and_count(
        self, key: tuple[str, str], signed_in: SignedIn, turns: AbstractAsyncContextManager[None]
    ) -> Role | None:
        began = perf_counter()
        outcome = "unavailable"
        try:
            role = await self._ask(key, signed_in, turns)
            outcome = "denied" if role is None else "granted"
            return role
        finally:
            self.outcomes[outcome] += 1
            self.durations.observe(perf_counter() - began)

    async def _ask(
        self, key: tuple[str, str], signed_in: SignedIn, turns: AbstractAsyncContextManager[None]
    ) -> Role | None:
        try:
            async with asyncio.timeout(self._answer_within), turns:
                role = await self._policy.role(signed_in, key[1])
        except TimeoutError:
            raise AccessUnavailable(f"no answer within {self._answer_within} s") from None
        except AccessUnavailable:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A pool of connections that closes does so to those who wait for it; whoever asks is not to end with it.
            raise AccessUnavailable("the policy gave up") from None
        except Exception as error:
            raise AccessUnavailable(f"{type(error).__name__} in the policy") from error
        self._remember(key, role)
        return role

    def _remember(self, key: tuple[str, str], role: Role | None) -> None:
        now = asyncio.get_running_loop().time()
        self._answers[key] = (role, now + (self._remember_no if role is None else self._remember_yes))
        self._answers.move_to_end(key)
        if len(self._answers) > self._most_remembered:
            self._answers.popitem(last=False)
        while self._answers and next(iter(self._answers.values()))[1] <= now:
            self._answers.popitem(last=False)

    def _answered(self, key: tuple[str, str, bool], task: "asyncio.Task[Role | None]") -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # which those who asked have got, if they still wait

    async def close(self) -> None:
        """Let go of the policy's connections."""
        await self._policy.close()
