"""Ends what a stopping instance forwards. The owners of the sessions end it, so that nothing on the way is lost.

An owner answers a poll, and the client polls again; it drains a session with a WebSocket like its own sessions at a
stop. So a client's last messages reach the owner before the end.
"""

import asyncio
import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from synkora.serving.forwarding import Forwarder, Pending
from synkora.serving.owner_connections import OwnerLost

_SPREAD: Final = 0.9  # share of the time in which owners are asked; the last clients need the rest
_ANSWER_TIME: Final = 3  # seconds for an owner's answer
_AT_A_TIME: Final = 16  # questions to owners
_INTERVAL: Final = 0.05  # seconds between looks at what remains
_AGAIN: Final = 1.0  # seconds until an owner is asked again: a handshake may have been behind the question


async def drain(forwarder: Forwarder, seconds: float) -> None:
    """End all polls and WebSockets, evenly over `seconds` and in random order; return when no WebSocket is left.

    Polls that arrive meanwhile are forwarded, and are left to `finish`.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    requests = forwarder.waiting()
    secrets.SystemRandom().shuffle(requests)
    pace = seconds * _SPREAD / max(len(requests), 1)
    for number, request in enumerate(requests):
        await asyncio.sleep(max(begun + number * pace - loop.time(), 0))
        forwarder.tasks.start(_end(forwarder, (request,)))
    while forwarder.counts.websockets and loop.time() < begun + seconds:
        await asyncio.sleep(_INTERVAL)


async def finish(forwarder: Forwarder, within: float) -> None:
    """End all polls and WebSockets now, and wait at most this many seconds for them and for the pending posts."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    await asyncio.sleep(_INTERVAL)  # requests that have just been read become pending
    while forwarder.counts.now and loop.time() < deadline:
        forwarder.tasks.start(_end(forwarder, forwarder.waiting()))
        again = min(loop.time() + _AGAIN, deadline)
        while forwarder.counts.now and loop.time() < again:
            await asyncio.sleep(_INTERVAL)


async def _end(forwarder: Forwarder, requests: Iterable[Pending]) -> None:
    limit = asyncio.Semaphore(_AT_A_TIME)

    async def end(request: Pending) -> None:
        with suppress(OwnerLost, TimeoutError):  # what is left is cut off at the end
            async with limit, asyncio.timeout(_ANSWER_TIME):
                await forwarder.ask_to_end(request)

    await asyncio.gather(*map(end, requests))
