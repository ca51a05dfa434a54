"""Checks of `WS_WORKERS`: the processes that share the port."""

from collections.abc import Iterator
from typing import Final

from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.settings import Settings
from synkora.app.workers.count import available_cores, worker_count
from synkora.app.workers.private_redis import NOT_INSTALLED, find_program

_NAME: Final = "workers"


def check_workers(settings: Settings) -> Iterator[Finding]:
    """Check that there are cores for the workers, and a Redis."""
    count, cores = worker_count(settings.workers), available_cores()
    if count == 1:
        unused = "" if cores == 1 else f": one core of {cores} is used (WS_WORKERS)"
        yield skipped(_NAME, f"one process{unused}")
        return
    program = find_program() if settings.redis_url is None else None
    if settings.redis_url is None and program is None:
        problem, _, advice = NOT_INSTALLED.partition(": ")
        yield wrong(_NAME, problem, advice)
        return
    shared = "share REDIS_URL" if program is None else f"share a Redis of their own, {program}"
    if count > cores:
        yield risky(_NAME, f"{count} workers on {cores} cores {shared}", f"Set WS_WORKERS to auto, or to {cores}")
    else:
        yield well(_NAME, f"{count} workers on {cores} cores {shared}")
