"""Writes log lines in a thread, so that a slow reader never blocks the server."""

import atexit
import os
import select
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, TextIO

MOST: Final = 1_048_576  # bytes in the queue
_GOODBYE: Final = 2.0  # seconds to write the last lines at exit


class Output:
    """A stream, and a bounded queue of the lines that wait for a thread to write them.

    When the queue holds `most` bytes, further lines are lost until the queue has been written. Then `tell_lost` makes a
    line with the number of lost lines. A full disk or a closed reader costs only lines. `lost` counts all lost lines.
    Writes to a stream without a descriptor are immediate; without a stream, lines are dropped.
    """

    def __init__(self, stream: TextIO | None, tell_lost: Callable[[int], str], *, most: int = MOST) -> None:
        self.lost = 0
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._tell_lost = tell_lost
        self._most = most
        self._begin()
        if self._descriptor is not None:
            atexit.register(self.close)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._size = 0  # bytes in the queue and in the current write
        self._untold = 0  # lost lines that are not reported yet
        self._is_full = False
        self._is_writing = False
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Queue a line."""
        if self._descriptor is None:
            self._write_at_once(line)
            return
        if self._process != os.getpid():
            self._begin()  # threads do not survive a fork
        data = f"{line}\n".encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._is_full or self._size + len(data) > self._most:
                self._is_full = True
                self._count_lost(1)
            else:
                self._lines.append(data)
                self._size += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._descriptor,), name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, within: float = _GOODBYE) -> bool:
        """Wait up to `within` seconds until no line is queued; return whether the queue is empty."""
        if self._thread is None or self._process != os.getpid():
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not (self._lines or self._is_full or self._is_writing), within)

    def _write_at_once(self, line: str) -> None:
        if self._stream is not None:
            try:
                print(line, file=self._stream, flush=True)
            except (OSError, ValueError):  # ValueError: the stream is closed
                self.lost += 1

    def _count_lost(self, lines: int) -> None:
        self.lost += lines
        self._untold += lines

    def _run(self, descriptor: int) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._is_full)
                self._is_writing = True
                lines, self._lines = self._lines, []
                untold = 0
                if not (lines and self._is_full):  # otherwise the lost lines come after these lines
                    untold, self._untold, self._is_full = self._untold, 0, False
            told = [self._tell_lost(untold).encode(self._encoding, "backslashreplace") + b"\n"] if untold else []
            written = _write(descriptor, [*told, *lines])
            with self._changed:
                self._size -= sum(map(len, lines))
                if told and not written:
                    self._untold += untold
                self._count_lost(min(len(told) + len(lines) - written, len(lines)))


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # an in-memory or closed stream
        return None


def _write(descriptor: int, lines: Sequence[bytes]) -> int:
    """Write lines, without a time limit; return how many could be written.

    Several workers may write to one pipe: writes of up to PIPE_BUF bytes, of whole lines, do not mix (pipe(7)).
    """
    data, done = memoryview(b"".join(lines)), 0
    ends = list(accumulate(map(len, lines)))
    while done < len(data):
        try:
            done += os.write(descriptor, data[done : _end_of_write(ends, done)])
        except BlockingIOError:
            _wait_until_writable(descriptor)
        except OSError:
            break
    return bisect_right(ends, done)


def _end_of_write(ends: Sequence[int], done: int) -> int:
    """Return the end of as many lines as may be written at once, and at least that of one."""
    first = bisect_right(ends, done)
    return ends[max(bisect_right(ends, done + select.PIPE_BUF) - 1, first)]


def _wait_until_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
