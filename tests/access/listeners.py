"""Listeners that answer as no app and no database does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.support.accepting import accepting

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


class Listener:
    """The port that it listens on, and the number of connections so far."""

    def __init__(self, serve: Serve) -> None:
        self.port = 0
        self.now = 0
        self.most = 0
        self.ever = 0
        self._serve = serve

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.now += 1
        self.ever += 1
        self.most = max(self.most, self.now)
        try:
            await self._serve(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.now -= 1
            writer.close()


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[Listener]:
    """Handle each connection with this function, and close the connection afterwards."""
    listener = Listener(serve)
    async with accepting(listener.accept) as listener.port:
        yield listener
