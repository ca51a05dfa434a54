"""Gives memory back to the system when a server has become quiet after a storm."""

import asyncio
import contextlib
import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_EVERY: Final = 1.0  # seconds
_NOTABLE: Final = 16_000_000  # bytes of growth, and
_PART: Final = 8  # this part of what there was: a large server grows by more, and loses more, without a storm
_FEW: Final = 20  # connections that end
_STEADY: Final = 1_000_000  # bytes in `_EVERY`: what grows faster is not at rest
_SHARE: Final = 0.005  # of the time may go into collections: they stop the loop
_MOST_CONNECTIONS: Final = 10_000  # with more a collection takes too long, and is left to the automatic collector

_STATM: Final = Path("/proc/self/statm")  # proc_pid_statm(5): its second number is pages
_HAS_PROC: Final = _STATM.exists()
_PAGE: Final = resource.getpagesize()
_MAXRSS: Final = 1 if sys.platform == "darwin" else 1024  # bytes


class Upkeep:
    """Has the cyclic collector run, and the allocator return free pages, once memory has grown and stopped growing.

    The automatic collector runs when objects are made. On an idle server none are, and what a storm left would stay.
    What connections held becomes free when they end, which does not show as growth: it is looked for, too, where many
    of `connections()` have ended while there is more memory than at the start.
    """

    def __init__(self, connections: Callable[[], int]) -> None:
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._start = self._least = self._last = 0  # bytes: the least ever, the least since a collection, the latest
        self._open = 0  # connections
        self._ended = 0  # since a collection
        self._not_before = 0.0
        self._trim = malloc_trim()

    def start(self) -> None:
        """Look at the memory from now on."""
        self._start = self._least = self._last = resident_memory()
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = resident_memory()
        grown, self._last = now - self._last, now
        self._start, self._least = min(self._start, now), min(self._least, now)
        connections = self._connections()
        self._ended += max(self._open - connections, 0)
        self._open = connections
        many_ended = self._ended > max(_FEW, connections // _PART)
        is_notable = _is_notable(now, self._least) or (many_ended and _is_notable(now, self._start))
        if is_notable and grown < _STEADY and time.monotonic() >= self._not_before:
            self._collect()
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look)

    def _collect(self) -> None:
        began = time.monotonic()
        if self._open <= _MOST_CONNECTIONS:
            gc.collect()
        self._trim()
        self._ended = 0
        self._least = self._last = resident_memory()
        now = time.monotonic()
        self._not_before = now + (now - began) / _SHARE


def _is_notable(now: int, before: int) -> bool:
    return now - before > max(_NOTABLE, before // _PART)


def malloc_trim() -> Callable[[], object]:
    """What returns the free pages of the allocator to the system; it does nothing where the C library has no such call.

    glibc has it. musl and macOS do not need it.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: trim(ctypes.c_size_t(0))


def resident_memory() -> int:
    """The process's resident memory in bytes; the most that it ever was, where there is no /proc."""
    if _HAS_PROC:
        with contextlib.suppress(OSError):  # no file can be opened any more
            return int(_STATM.read_bytes().split()[1]) * _PAGE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS
