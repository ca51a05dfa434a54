"""Runs an application's handlers, and distinguishes their failures from the server's shutdown."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, Protocol, TypeVar

P = TypeVar("P")

# For a plain function: it is not cancelled itself, but may read the result of a cancelled future.
FAILURES: Final = (Exception, asyncio.CancelledError)


class Spawn(Protocol):
    """Runs a coroutine in a task. The server waits for a `lasting` task when it closes."""

    def __call__(self, coroutine: Coroutine[Any, Any, None], *, lasting: bool = False) -> object: ...


class HandlerCancelled(Exception):
    """A future that a handler awaited was cancelled. The handler has failed; its task continues."""


async def outcome(result: Awaitable[P]) -> P:
    """Return a handler's result. Raises the handler's exception, or `HandlerCancelled` if its work was cancelled."""
    try:
        return await result
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the server is closing
        raise HandlerCancelled from None
