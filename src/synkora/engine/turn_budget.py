"""Shares a part of each turn of the event loop: among strangers, clients that return at once, a user's connections."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Final, TypeVar, cast

from synkora.engine.rate import Rate

T = TypeVar("T")

SHARE: Final = 0.001  # seconds of a turn: more would delay the others, less would lose time between the turns

#: Small reads of requests that wait for no share, each with one request. A client has up to three in a turn: of a poll,
#: and of the head and the body of a POST; a user may have several clients. Their time counts too: one of many fields
#: and chunks takes as long as fifty others.
_FREE: Final = Rate(per_second=500, burst=24)
_FREE_SECOND: Final = 10_000  # reads that a second of them counts as; all of them take a twentieth of the time at most


class TurnBudget:
    """Does work until a turn's share, in seconds, is spent, and the rest in later turns.

    The work of one source, such as an address, is done in its order. Sources take turns: one with much work delays
    only its own.
    """

    __slots__ = ("_clock", "_is_armed", "_spent", "_waiting", "share")

    def __init__(self, share: float = SHARE, clock: Callable[[], float] = perf_counter) -> None:
        self.share = share
        self._clock = clock
        self._spent = 0.0
        self._is_armed = False
        self._waiting: dict[str, deque[tuple[Callable[[], object], float]]] = {}  # by source, the next one first

    def run(self, work: Callable[[], object], afterwards: float = 0.0, source: str = "") -> bool:
        """Do `work` of a source and return True, or put it off to a later turn and return False.

        `afterwards` are the seconds that the tasks of this work will take; they count too.
        """
        if self._waiting or self._spent >= self.share:
            if source not in self._waiting:
                self._waiting[source] = deque()
            self._waiting[source].append((work, afterwards))
            return False
        self._do(work, afterwards)
        return True

    def read_free(self, read: Callable[[bytes], None], data: bytes) -> bool:
        """Do a small read without a share of the turn and return True, or do nothing and return False."""
        return False

    async def complete(self, work: Callable[[], T], afterwards: float = 0.0, source: str = "") -> T:
        """Do `work`, in this turn or a later one, and return its result, or raise its error.

        The work is done also if nothing waits for it any more. `afterwards` and `source` are those of `run`.
        """
        done: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        failure: BaseException | None = None  # a future takes no StopIteration

        def do() -> None:
            nonlocal failure
            result = None
            try:
                result = work()
            except (Exception, asyncio.CancelledError) as error:
                if done.done():
                    raise
                failure = error
            finally:
                if not done.done():
                    done.set_result(result)

        self.run(do, afterwards, source)
        result = await done
        if failure is None:
            return cast("T", result)
        try:
            raise failure
        finally:
            failure = None  # or its traceback and this frame would keep each other in memory

    def _do(self, work: Callable[[], object], afterwards: float) -> None:
        if not self._is_armed:
            self._is_armed = True
            asyncio.get_running_loop().call_soon(self._begin_turn)
        began = self._clock()
        try:
            work()
        finally:
            self._spent += self._clock() - began + afterwards

    def _begin_turn(self) -> None:
        self._is_armed = False
        self._spent = 0.0
        while self._waiting and self._spent < self.share:
            source = next(iter(self._waiting))
            waiting = self._waiting.pop(source)
            work, afterwards = waiting.popleft()
            if waiting:
                self._waiting[source] = waiting  # behind the other sources
            self._do(work, afterwards)


class RequestBudget(TurnBudget):
    """Shares the turns among the HTTP requests of one user, or session, over all connections, beyond the first ones."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        super().__init__()
        self._due = 0.0

    def read_free(self, read: Callable[[bytes], None], data: bytes) -> bool:
        """Do a small read as one of the first ones. None is free while other work waits, or after slow ones."""
        began = monotonic()
        if self._waiting or _FREE.excess(self._due, began) > 0:
            return False
        try:
            read(data)
        finally:
            self._due = _FREE.after(self._due, began, 1 + (monotonic() - began) * _FREE_SECOND)
        return True
