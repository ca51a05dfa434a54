"""What somebody has got, to be looked at in the order of its coming."""

import asyncio
from typing import Any

from tests.support.processes import PATIENCE


class Inbox:
    """A list that can be waited on; `owner` is named where nothing comes."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.items: list[Any] = []
        self._taken = 0
        self._arrived = asyncio.Event()

    def put(self, item: Any) -> None:
        """Add what has come."""
        self.items.append(item)
        self._arrived.set()

    @property
    def untaken(self) -> list[Any]:
        """What has come and has not been looked at."""
        return self.items[self._taken :]

    async def next(self) -> Any:
        """What came next; fails, and tells what did come, if nothing does."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self._taken == len(self.items):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"{self.owner} got nothing more after {self.items[-10:]}") from None
        self._taken += 1
        return self.items[self._taken - 1]
