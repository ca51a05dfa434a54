"""Limits simultaneous questions per key, so that one user or address does not delay the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from synkora.collaboration.access_answers import AccessUnavailable

MAX_PER_KEY: Final = 8  # simultaneous questions per key
MAX_WAITING_PER_KEY: Final = 200  # further questions per key that wait, unless a limit has its own number


class _Slots:
    """The running and waiting questions of one key."""

    __slots__ = ("__weakref__", "free", "waiting")

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(MAX_PER_KEY)
        self.waiting = 0


class KeyedLimit:
    """Limits simultaneous work: `MAX_PER_KEY` per key, and `in_all` over all keys if given.

    Of each key, `max_waiting` more may wait.
    """

    def __init__(self, in_all: int | None = None, *, max_waiting: float = MAX_WAITING_PER_KEY) -> None:
        self._max_waiting = max_waiting
        self._slots: WeakValueDictionary[str, _Slots] = WeakValueDictionary()
        self._all = None if in_all is None else asyncio.Semaphore(in_all)

    @asynccontextmanager
    async def slot(self, name: str) -> AsyncIterator[None]:
        """Wait for a free slot of a key. Raises `AccessUnavailable` if too many of this key wait already."""
        slots = self._slots.get(name)
        if slots is None:
            slots = self._slots[name] = _Slots()
        if slots.waiting >= self._max_waiting:
            raise AccessUnavailable("too many questions of one asker")
        async with AsyncExitStack() as held:
            slots.waiting += 1
            try:
                await held.enter_async_context(slots.free)
            finally:
                slots.waiting -= 1
            if self._all is not None:
                await held.enter_async_context(self._all)
            yield
