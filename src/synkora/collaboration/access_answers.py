"""A cache of answers about access and sessions, each kept for a while, and a limit on the time of a question."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from enum import StrEnum
from time import perf_counter
from typing import Final, Generic, TypeVar

from synkora.engine.histogram import Histogram

GRANTED_TTL: Final = 30  # seconds
DENIED_TTL: Final = 5  # seconds
ANSWER_TIMEOUT: Final = 3  # seconds
MAX_CACHED: Final = 100_000  # answers
MAX_QUESTIONS: Final = 10_000  # simultaneous questions, beyond which only `fresh` ones are asked
#: Seconds, up to `ANSWER_TIMEOUT`.
ANSWER_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class AccessOutcome(StrEnum):
    """The outcome of a question to the policy. The values are metric labels."""

    GRANTED = "granted"
    DENIED = "denied"
    UNAVAILABLE = "unavailable"


class AccessUnavailable(Exception):
    """The policy cannot answer now. The message is for the log."""


class SessionRefused(Exception):
    """The app does not accept the session that it was asked with; `token` is the session's.

    `problem` is set if the app cannot read a request with this session, such as one that is too long for it.
    """

    def __init__(self, token: str, problem: str = "") -> None:
        super().__init__(problem or "the app does not accept the session")
        self.token = token
        self.problem = problem


class AccessAnswers(Generic[K, V]):
    """Caches answers by key. The answer None is a refusal.

    Simultaneous questions with the same key share one answer. A question without an answer in time raises
    `AccessUnavailable`. A `SessionRefused` is raised for all who share the question, and not cached. `outcomes` counts
    the answers, and `durations` measures them.
    """

    def __init__(
        self,
        *,
        granted_ttl: float = GRANTED_TTL,
        denied_ttl: float = DENIED_TTL,
        answer_timeout: float = ANSWER_TIMEOUT,
        max_cached: int = MAX_CACHED,
    ) -> None:
        self._granted_ttl, self._denied_ttl = granted_ttl, denied_ttl
        self._answer_timeout = answer_timeout
        self._max_cached = max_cached
        self._answers: OrderedDict[K, tuple[V | None, float]] = OrderedDict()
        self._asking: dict[tuple[K, bool], asyncio.Task[V | None]] = {}
        self.outcomes: Counter[AccessOutcome] = Counter()
        self.durations = Histogram(ANSWER_BOUNDS)

    def clear(self) -> None:
        """Remove all answers."""
        self._answers.clear()

    def forget(self, key: K) -> None:
        """Remove an answer. One that is on its way is neither kept nor given to later callers."""
        self._answers.pop(key, None)
        for is_fresh in (False, True):
            self._asking.pop((key, is_fresh), None)

    def cached(self, key: K) -> V | None:
        """Return the cached answer; None for a cached refusal or without a cached answer."""
        answer = self._answers.get(key)
        return answer[0] if answer and answer[1] > asyncio.get_running_loop().time() else None

    async def get(self, key: K, ask: Callable[[], Awaitable[V | None]], *, fresh: bool = False) -> V | None:
        """Return the cached answer; without one, or with `fresh`, the answer of `ask`. Raises `AccessUnavailable`.

        Callers limit their `fresh` questions themselves.
        """
        answer = self._answers.get(key)
        if answer and not fresh and answer[1] > asyncio.get_running_loop().time():
            return answer[0]
        asking = (key, fresh)
        task = self._asking.get(asking)
        if task is None:
            if not fresh and len(self._asking) >= MAX_QUESTIONS:
                raise AccessUnavailable("too many questions at a time")
            task = asyncio.get_running_loop().create_task(self.ask(ask))
            self._asking[asking] = task
            task.add_done_callback(lambda done: self._answered(asking, done))
        return await asyncio.shield(task)

    async def ask(self, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the answer of `ask`, which is neither shared nor cached. Raises `AccessUnavailable`."""
        began = perf_counter()
        outcome = AccessOutcome.UNAVAILABLE
        try:
            value = await self._ask(ask)
            outcome = AccessOutcome.DENIED if value is None else AccessOutcome.GRANTED
            return value
        except SessionRefused as refused:
            if not refused.problem:
                outcome = AccessOutcome.DENIED
            raise
        finally:
            self.outcomes[outcome] += 1
            self.durations.observe(perf_counter() - began)

    async def _ask(self, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        try:
            async with asyncio.timeout(self._answer_timeout):
                return await ask()
        except TimeoutError:
            raise AccessUnavailable(f"no answer within {self._answer_timeout} s") from None
        except (AccessUnavailable, SessionRefused):
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A connection pool that closes cancels the calls that wait for it. The caller has not been cancelled.
            raise AccessUnavailable("the policy gave up") from None
        except Exception as error:
            raise AccessUnavailable(f"{type(error).__name__} in the policy") from error

    def _store(self, key: K, value: V | None) -> None:
        now = asyncio.get_running_loop().time()
        self._answers[key] = (value, now + (self._denied_ttl if value is None else self._granted_ttl))
        self._answers.move_to_end(key)
        if len(self._answers) > self._max_cached:
            self._answers.popitem(last=False)
        while self._answers and next(iter(self._answers.values()))[1] <= now:
            self._answers.popitem(last=False)

    def _answered(self, asking: tuple[K, bool], task: "asyncio.Task[V | None]") -> None:
        is_wanted = self._asking.get(asking) is task
        if is_wanted:
            del self._asking[asking]
        # `exception` marks an exception as retrieved, even if no caller waits for it.
        if not task.cancelled() and task.exception() is None and is_wanted:
            self._store(asking[0], task.result())
