"""Limits expensive queries, so that clients hardly notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from synkora.app.console.sign_in import ConsoleRefused

MOST_RUNNING: Final = 2
MOST_WAITING: Final = 30

_TOO_MANY: Final = "Too many tables are asked for at once: ask again in a moment."


class ConcurrencyLimit:
    """Runs up to `MOST_RUNNING` requests at a time; up to `MOST_WAITING` more wait, first in, first out."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST_RUNNING)
        self._held = 0  # running and waiting requests

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold a slot within the block. Raises `ConsoleRefused` if too many requests wait."""
        if self._held >= MOST_RUNNING + MOST_WAITING:
            raise ConsoleRefused(503, _TOO_MANY, {"retry-after": "1"})
        self._held += 1
        try:
            async with self._free:
                yield
        finally:
            self._held -= 1
