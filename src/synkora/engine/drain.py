"""Draining: sessions end over a time, in an order, so that clients do not all reconnect in the same moment."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from synkora.engine.close_reasons import Reason
from synkora.engine.registry import Registry
from synkora.engine.session import Session

MAX_BATCH: Final = 100  # sessions per batch
_SPREAD: Final = 0.9  # share of the time in which sessions get their end; the last ones need the rest
_POLL_INTERVAL: Final = 0.05  # seconds between checks for due batches and remaining sessions


async def drain(
    registry: Registry,
    seconds: float,
    groups: Iterable[Sequence[Session]] = (),
    before_end: Callable[[Sequence[Session]], None] | None = None,
) -> None:
    """End all sessions within `seconds`, evenly and in random order, and refuse new ones; return when all have ended.

    The sessions of a group end together, at most `MAX_BATCH` of them; a session without a group ends alone.
    `before_end` is called with the sessions of a batch before they end.
    """
    registry.stop_accepting()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    batches = _batches(registry, groups)
    pace = seconds * _SPREAD / max(len(registry), 1)
    gone = 0
    for batch in batches:
        while registry and loop.time() < begun + gone * pace:
            await asyncio.sleep(min(begun + gone * pace - loop.time(), _POLL_INTERVAL))
        gone += len(batch)
        leaving = [session for session in batch if session.is_live]
        if leaving and before_end is not None:
            before_end(leaving)
        for session in leaving:
            session.drain(Reason.SERVER_SHUTTING_DOWN)
    while registry and loop.time() < begun + seconds:
        await asyncio.sleep(_POLL_INTERVAL)


def _batches(registry: Registry, groups: Iterable[Sequence[Session]]) -> list[Sequence[Session]]:
    grouped = [batch for group in groups for batch in _split(group)]
    among = {session for batch in grouped for session in batch}
    batches = grouped + [[session] for session in registry if session not in among]
    secrets.SystemRandom().shuffle(batches)
    return batches


def _split(group: Sequence[Session]) -> Iterator[Sequence[Session]]:
    for start in range(0, len(group), MAX_BATCH):
        yield group[start : start + MAX_BATCH]
