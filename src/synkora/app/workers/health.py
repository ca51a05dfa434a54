"""The health of all workers as that of one server."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

import msgspec

from synkora.app.workers.siblings import Siblings


class WorkerHealth(msgspec.Struct):
    """What one worker knows about itself; `projects` are the ids of those with members here."""

    number: int
    is_leaving: bool
    status: str
    reason: str | None
    connections: int
    projects: list[str]


class Health(msgspec.Struct):
    """What all workers know together."""

    status: str
    reason: str | None
    connections: int
    projects: int
    workers: int


TOPIC = "health"
PAUSE: Final = 0.25  # seconds from an answer of all workers to the next question


async def health_of_all(siblings: Siblings) -> Health:
    """Ask all workers. One that does not answer is a problem."""
    answers: list[WorkerHealth] = []
    for answer in await siblings.ask(TOPIC):
        try:
            answers.append(msgspec.msgpack.decode(answer, type=WorkerHealth))
        except ValueError:  # it ended meanwhile
            continue
    return combined(answers, siblings.seat.count)


def shared_health(siblings: Siblings) -> Callable[[], Awaitable[Health]]:
    """Return `health_of_all` for requests of strangers, who may ask without end, and each time all names are read.

    Requests at the same time share one answer, and those that come right after it share the next one. No answer is
    kept: one that says `healthy` after a worker has died would mislead a load balancer.
    """
    asking: asyncio.Task[Health] | None = None
    answered_at = -math.inf

    async def ask_in_time() -> Health:
        nonlocal answered_at
        await asyncio.sleep(answered_at + PAUSE - monotonic())
        try:
            return await health_of_all(siblings)
        finally:
            answered_at = monotonic()

    async def ask() -> Health:
        nonlocal asking
        if asking is None or asking.done():
            asking = asyncio.get_running_loop().create_task(ask_in_time())
        return await asyncio.shield(asking)

    return ask


def combined(answers: list[WorkerHealth], count: int) -> Health:
    """Combine the answers of `count` workers. A project with members on several workers counts once."""
    serving = {answer.number: answer for answer in answers if not answer.is_leaving}
    missing = [str(number) for number in range(count) if number not in serving]
    troubled = [answer for answer in serving.values() if answer.status != "healthy"]
    if serving and all(answer.status == "shutting down" for answer in serving.values()):
        status, reason = "shutting down", None
    elif missing:
        noun = "worker" if len(missing) == 1 else "workers"
        status, reason = "degraded", f"{noun} {', '.join(missing)} of {count} missing"
    elif troubled:
        status, reason = "degraded", next((answer.reason for answer in troubled if answer.reason), None)
    else:
        status, reason = "healthy", None
    return Health(
        status=status,
        reason=reason,
        connections=sum(answer.connections for answer in answers),
        projects=len({project for answer in answers for project in answer.projects}),
        workers=len(serving),
    )
