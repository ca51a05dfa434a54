"""Collects many answers to one request."""

import asyncio
from typing import Any

from synkora.sockets.errors import AckTimeout


class AnswerCollector:
    """Collects answers until all have arrived. Their number may be set after the first answer."""

    __slots__ = ("_complete", "_expected", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._expected: int | None = None
        self._complete = asyncio.get_running_loop().create_future()

    def add(self, value: Any) -> None:
        self.values.append(value)
        self._check()

    def expect(self, count: int) -> None:
        """Set the number of answers."""
        self._expected = count
        self._check()

    def _check(self) -> None:
        if self._expected is not None and len(self.values) >= self._expected and not self._complete.done():
            self._complete.set_result(None)

    async def wait(self, timeout: float) -> list[Any]:
        """Return all answers, in the order of arrival.

        Raises `AckTimeout` with the answers within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._complete
        except TimeoutError:
            expected = "all" if self._expected is None else self._expected
            problem = f"{len(self.values)} of {expected} answers within {timeout:g} s"
            raise AckTimeout(problem, self.values) from None
        return list(self.values)
