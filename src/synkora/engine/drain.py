"""Ending a server's sessions over a time, so that their clients do not all come back at once."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from synkora.engine.disconnect import Reason
from synkora.engine.registry import Registry
from synkora.engine.session import Session

MOST_TOGETHER: Final = 100  # sessions that end at once
_SPREAD: Final = 0.9  # of the time, over which sessions are told to end; the rest is for the last of them to do so
_LOOK: Final = 0.05  # seconds between two looks at who is due, and at whether anybody is left


async def drain(
    registry: Registry,
    seconds: float,
    groups: Iterable[Sequence[Session]] = (),
    tell: Callable[[Sequence[Session]], None] | None = None,
) -> None:
    """Part with all sessions within `seconds`, evenly and in random order, and open no more; return when all are gone.

    Those of a group part together, `MOST_TOGETHER` of them at most; who is in none parts alone. `tell` is called with
    those who are about to part.
    """
    registry.shut()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    batches = _batches(registry, groups)
    pace = seconds * _SPREAD / max(len(registry), 1)
    gone = 0
    for batch in batches:
        while registry and loop.time() < begun + gone * pace:
            await asyncio.sleep(min(begun + gone * pace - loop.time(), _LOOK))
        gone += len(batch)
        leaving = [session for session in batch if session.is_live]
        if leaving and tell is not None:
            tell(leaving)
        for session in leaving:
            session.drain(Reason.SERVER_SHUTTING_DOWN)
    while registry and loop.time() < begun + seconds:
        await asyncio.sleep(_LOOK)


def _batches(registry: Registry, groups: Iterable[Sequence[Session]]) -> list[Sequence[Session]]:
    grouped = [batch for group in groups for batch in _split(group)]
    among = {session for batch in grouped for session in batch}
    batches = grouped + [[session] for session in registry if session not in among]
    secrets.SystemRandom().shuffle(batches)
    return batches


def _split(group: Sequence[Session]) -> Iterator[Sequence[Session]]:
    for start in range(0, len(group), MOST_TOGETHER):
        yield group[start : start + MOST_TOGETHER]
