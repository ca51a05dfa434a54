"""What somebody else knows: asked for, and remembered for a while."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from enum import StrEnum
from time import perf_counter
from typing import Final, Generic, TypeVar

from synkora.engine.histogram import Histogram

REMEMBER_YES: Final = 30  # seconds
REMEMBER_NO: Final = 5  # seconds
ANSWER_WITHIN: Final = 3  # seconds
MOST_REMEMBERED: Final = 100_000  # answers
MOST_ASKED: Final = 10_000  # questions at a time
#: Seconds, up to `ANSWER_WITHIN`.
ANSWER_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class AccessOutcome(StrEnum):
    """What came of a question to the policy. The values are labels of metrics."""

    GRANTED = "granted"
    DENIED = "denied"
    UNAVAILABLE = "unavailable"


class AccessUnavailable(Exception):
    """The policy cannot be asked now. The text is for the log."""


class AccessAnswers(Generic[K, V]):
    """Answers by what they are about: None is a no.

    Questions that come while the same one is under way wait for its answer. One that is not answered in time is
    `AccessUnavailable`. `outcomes` counts the answers, and `durations` has what each took.
    """

    def __init__(
        self,
        *,
        remember_yes: float = REMEMBER_YES,
        remember_no: float = REMEMBER_NO,
        answer_within: float = ANSWER_WITHIN,
        most_remembered: int = MOST_REMEMBERED,
    ) -> None:
        self._remember_yes = remember_yes
        self._remember_no = remember_no
        self._answer_within = answer_within
        self._most_remembered = most_remembered
        self._answers: OrderedDict[K, tuple[V | None, float]] = OrderedDict()
        self._asking: dict[tuple[K, bool], asyncio.Task[V | None]] = {}
        self.outcomes: Counter[AccessOutcome] = Counter()
        self.durations = Histogram(ANSWER_BOUNDS)

    def clear(self) -> None:
        """Forget all answers."""
        self._answers.clear()

    def remembered(self, key: K) -> V | None:
        """What is known without asking: None where it is a no, or nothing is known."""
        answer = self._answers.get(key)
        return answer[0] if answer and answer[1] > asyncio.get_running_loop().time() else None

    async def get(self, key: K, ask: Callable[[], Awaitable[V | None]], *, fresh: bool = False) -> V | None:
        """The answer, which `ask` gets where none is remembered, or with `fresh`. Raises `AccessUnavailable`."""
        answer = self._answers.get(key)
        if answer and not fresh and answer[1] > asyncio.get_running_loop().time():
            return answer[0]
        asking = (key, fresh)
        task = self._asking.get(asking)
        if task is None:
            if len(self._asking) >= MOST_ASKED:
                raise AccessUnavailable("too many questions at a time")
            task = asyncio.get_running_loop().create_task(self._ask_and_count(key, ask))
            self._asking[asking] = task
            task.add_done_callback(lambda done: self._answered(asking, done))
        return await asyncio.shield(task)

    async def _ask_and_count(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        began = perf_counter()
        outcome = AccessOutcome.UNAVAILABLE
        try:
            value = await self._ask(key, ask)
            outcome = AccessOutcome.DENIED if value is None else AccessOutcome.GRANTED
            return value
        finally:
            self.outcomes[outcome] += 1
            self.durations.observe(perf_counter() - began)

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        try:
            async with asyncio.timeout(self._answer_within):
                value = await ask()
        except TimeoutError:
            raise AccessUnavailable(f"no answer within {self._answer_within} s") from None
        except AccessUnavailable:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A pool of connections that closes cancels what waits for it. That is not to end the caller.
            raise AccessUnavailable("the policy gave up") from None
        except Exception as error:
            raise AccessUnavailable(f"{type(error).__name__} in the policy") from error
        self._remember(key, value)
        return value

    def _remember(self, key: K, value: V | None) -> None:
        now = asyncio.get_running_loop().time()
        self._answers[key] = (value, now + (self._remember_no if value is None else self._remember_yes))
        self._answers.move_to_end(key)
        if len(self._answers) > self._most_remembered:
            self._answers.popitem(last=False)
        while self._answers and next(iter(self._answers.values()))[1] <= now:
            self._answers.popitem(last=False)

    def _answered(self, asking: tuple[K, bool], task: "asyncio.Task[V | None]") -> None:
        self._asking.pop(asking, None)
        if not task.cancelled():
            task.exception()  # which the callers have got, if they still wait
