"""Limits simultaneous questions per key, so that one user or address does not delay the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from synkora.collaboration.access_answers import AccessUnavailable

ASKED_AT_ONCE: Final = 8  # simultaneous questions per key
MOST_WAITING: Final = 200  # further questions per key that wait


class _Asker:
    """The running and waiting questions of one key."""

    __slots__ = ("__weakref__", "free", "waiting")

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(ASKED_AT_ONCE)
        self.waiting = 0


class Turns:
    """Limits simultaneous work: `ASKED_AT_ONCE` per key, and `in_all` over all keys if given."""

    def __init__(self, in_all: int | None = None) -> None:
        self._askers: WeakValueDictionary[str, _Asker] = WeakValueDictionary()
        self._all = None if in_all is None else asyncio.Semaphore(in_all)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a free slot of a key. Raises `AccessUnavailable` if `MOST_WAITING` others of this key wait."""
        asker = self._askers.get(name)
        if asker is None:
            asker = self._askers[name] = _Asker()
        if asker.waiting >= MOST_WAITING:
            raise AccessUnavailable("too many questions of one asker")
        async with AsyncExitStack() as held:
            asker.waiting += 1
            try:
                await held.enter_async_context(asker.free)
            finally:
                asker.waiting -= 1
            if self._all is not None:
                await held.enter_async_context(self._all)
            yield
