"""Draining: a server's sessions end over a time, so that clients do not all reconnect in the same moment."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from synkora.engine.disconnect import Reason
from synkora.engine.registry import Registry
from synkora.engine.session import Session

MOST_TOGETHER: Final = 100  # sessions per batch
_SPREAD: Final = 0.9  # share of the time in which sessions are told to end; the last ones need the rest
_LOOK: Final = 0.05  # seconds between checks for due batches and remaining sessions


async def drain(
    registry: Registry,
    seconds: float,
    groups: Iterable[Sequence[Session]] = (),
    tell: Callable[[Sequence[Session]], None] | None = None,
) -> None:
    """End all sessions within `seconds`, evenly and in random order, and refuse new ones; return when all have ended.

    The sessions of a group end together, at most `MOST_TOGETHER` of them; a session without a group ends alone. `tell`
    is called with the sessions of a batch before they end.
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
