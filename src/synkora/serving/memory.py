"""Returns memory to the system when a server is quiet again after a load peak."""

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
_PART: Final = 8  # growth by this fraction: the memory of a large server varies more without a peak
_FEW: Final = 20  # connections that end
_STEADY: Final = 1_000_000  # bytes per `_EVERY`: faster growth means that the server is busy
_SHARE: Final = 0.005  # maximum share of time for collections, which block the event loop
_MOST_CONNECTIONS: Final = 10_000  # with more, a collection takes too long and is left to the automatic collector

_STATM: Final = Path("/proc/self/statm")  # proc_pid_statm(5): its second number is pages
_HAS_PROC: Final = _STATM.exists()
_PAGE: Final = resource.getpagesize()
_MAXRSS: Final = 1 if sys.platform == "darwin" else 1024  # bytes


class Upkeep:
    """Runs the cyclic collector and returns free pages to the system, when memory has grown and stopped growing.

    The automatic collector runs when objects are created. On an idle server no objects are created, so garbage of a
    load peak would stay. Memory that is freed when connections end does not show as growth. So a collection also runs
    when many of `connections()` have ended, no more are ending, and memory is larger than at the start.

    A collection takes time in proportion to the connections. The next one waits until its time is a small share.
    """

    def __init__(self, connections: Callable[[], int]) -> None:
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._start = self._least = self._last = 0  # bytes: minimum ever, minimum since a collection, latest
        self._open = 0  # connections
        self._ended = 0  # since a collection
        self._collected_at = 0.0
        self._cost = 0.0  # seconds that the last collection took for each connection
        self._trim = malloc_trim()

    def start(self) -> None:
        """Start to watch the memory."""
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
        ended = max(self._open - connections, 0)
        self._ended += ended
        self._open = connections
        many_ended = ended <= _FEW and self._ended > max(_FEW, connections // _PART)
        is_notable = _is_notable(now, self._least) or (many_ended and _is_notable(now, self._start))
        if is_notable and grown < _STEADY and time.monotonic() >= self._collected_at + self._pause():
            self._collect()
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look)

    def _collect(self) -> None:
        began = time.monotonic()
        if self._open <= _MOST_CONNECTIONS:
            gc.collect()
        self._trim()
        self._ended = 0
        self._least = self._last = resident_memory()
        self._collected_at = time.monotonic()
        self._cost = (self._collected_at - began) / (self._open + _FEW)

    def _pause(self) -> float:
        """Return the seconds until the next collection, which takes less time if connections have ended."""
        return self._cost * (self._open + _FEW) / _SHARE


def _is_notable(now: int, before: int) -> bool:
    return now - before > max(_NOTABLE, before // _PART)


def malloc_trim() -> Callable[[], object]:
    """Return a function that returns the allocator's free pages to the system; without effect if libc has no such call.

    glibc has it. musl and macOS do not need it.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: trim(ctypes.c_size_t(0))


def resident_memory() -> int:
    """Return the process's resident memory in bytes; without /proc, its maximum so far."""
    if _HAS_PROC:
        with contextlib.suppress(OSError):  # no free file descriptor
            return int(_STATM.read_bytes().split()[1]) * _PAGE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS
