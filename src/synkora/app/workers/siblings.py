"""Asks the other workers of one parent for their health and metrics, over Unix sockets in their folder."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from synkora.app.workers.seat import Seat

WITHIN: Final = 1.0  # seconds for all answers
_LONGEST_TOPIC: Final = 100  # bytes
_SUFFIX: Final = ".ask"

#: Answers a topic; the answer is bytes of its own format.
Answerer = Callable[[], bytes]


class Siblings:
    """Answers the other workers' questions, and asks them. A topic is one word; a question has nothing else.

    While a worker is replaced, two processes have its number, and both answer: `is_leaving` is true in the former one.
    """

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.is_leaving = False
        self._own = seat.path / f"{seat.number}-{os.getpid()}{_SUFFIX}"
        self._answerers: dict[str, Answerer] = {}
        self._server: asyncio.Server | None = None

    @property
    def uptime(self) -> float:
        """Seconds since the start of the server."""
        return time.time() - self.seat.started_at

    def answer(self, topic: str, answerer: Answerer) -> None:
        """Answer questions about a topic."""
        self._answerers[topic] = answerer

    async def start(self) -> None:
        """Answer from now on."""
        self._server = await asyncio.start_unix_server(self._serve, self._own, limit=_LONGEST_TOPIC)

    def stop(self) -> None:
        """Answer no more questions."""
        if self._server is not None:
            self._server.close()
        self._own.unlink(missing_ok=True)

    async def ask(self, topic: str) -> list[bytes]:
        """Return the answers of this worker and of the others that answer in time, this one's first."""
        others = [path for path in self.seat.path.glob(f"*{_SUFFIX}") if path != self._own]
        answers = await asyncio.gather(*(_ask(path, topic) for path in others))
        return [self._answerers[topic](), *(answer for answer in answers if answer is not None)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, ValueError):  # the asker has gone; a line that is too long
                topic = (await reader.readline()).decode().strip()
                if (answerer := self._answerers.get(topic)) is not None:
                    writer.write(answerer())
                    await writer.drain()
        finally:
            writer.close()


async def _ask(path: Path, topic: str) -> bytes | None:
    """Return a worker's answer; None if there is none."""
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(f"{topic}\n".encode())
                return await reader.read() or None
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
