"""Questions that somebody causes: so many at a time, so that one who causes many does not hold up the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from synkora.collaboration.access_answers import AccessUnavailable

ASKED_AT_ONCE: Final = 8  # questions of one asker
MOST_WAITING: Final = 200  # further ones, which wait for their turn


class _Asker:
    """The questions of one asker: those under way, and how many wait."""

    __slots__ = ("__weakref__", "free", "waiting")

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(ASKED_AT_ONCE)
        self.waiting = 0


class Turns:
    """Gives each asker `ASKED_AT_ONCE` turns at a time, and all of them together `in_all`, if that is given."""

    def __init__(self, in_all: int | None = None) -> None:
        self._askers: WeakValueDictionary[str, _Asker] = WeakValueDictionary()
        self._all = None if in_all is None else asyncio.Semaphore(in_all)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn of an asker. Raises `AccessUnavailable` where `MOST_WAITING` of theirs wait already."""
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
