"""The health of all workers as that of one server."""

import asyncio
from collections.abc import Awaitable, Callable

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
    """Return `health_of_all` for requests of strangers: those at the same time share one answer, which may be large."""
    asking: asyncio.Task[Health] | None = None

    async def ask() -> Health:
        nonlocal asking
        if asking is None or asking.done():
            asking = asyncio.get_running_loop().create_task(health_of_all(siblings))
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
