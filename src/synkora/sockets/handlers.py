"""Running an application's handlers, and telling their failures from the server's end."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, Protocol, TypeVar

P = TypeVar("P")

# Of a handler that is a function. It is not cancelled itself, but may ask a future that was for its result.
FAILURES: Final = (Exception, asyncio.CancelledError)


class Spawn(Protocol):
    """Runs a coroutine in a task; a `lasting` one is waited for when the server closes."""

    def __call__(self, coroutine: Coroutine[Any, Any, None], *, lasting: bool = False) -> object: ...


class HandlerCancelled(Exception):
    """What a handler waited for was cancelled: it has failed, and its task goes on."""


async def outcome(result: Awaitable[P]) -> P:
    """What a handler returns in the end. Raises what it raises, and `HandlerCancelled` where its work was cancelled."""
    try:
        return await result
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the server is closing
        raise HandlerCancelled from None
