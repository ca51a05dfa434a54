"""An ASGI server by hand: one scope, whose messages a test sends and reads."""

import asyncio
from typing import Any, Self

from tests.support.processes import PATIENCE

Message = dict[str, Any]


class Wire:
    """Runs an application for one scope. `fails_with` is raised by its sends, if given."""

    def __init__(self, app: Any, scope: Message) -> None:
        self.fails_with: Exception | None = None
        self.is_held = False
        self._app = app
        self._scope = scope
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._app(self._scope, self._received.get, self._send))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _send(self, message: Message) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.is_held = not self._open.is_set()
        await self._open.wait()
        self._sent.put_nowait(message)

    def receive(self, message: Message) -> None:
        self._received.put_nowait(message)

    async def sent(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return await self._sent.get()

    def hold(self) -> None:
        """Accept no more messages, as a server whose client does not read."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def cancel(self) -> None:
        self._task.cancel()

    async def returned(self) -> None:
        """Wait until the application has returned. Raises what it raises."""
        async with asyncio.timeout(PATIENCE):
            await self._task
