"""The newest changes in a mapped file, until the database has them.

A process that is killed loses no byte that it has written into a mapped file: the pages belong to the kernel. A write
costs less than a system call. The file has two halves: while one half is transferred to the database, changes go to the
other.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

HALF: Final = 2 << 20  # bytes: a half holds the changes of one interval of the database
_SKIPPED: Final = struct.Struct("<Q")  # at the start of a half: the number of the last change that did not fit
_MISSING: Final = 2**63  # no change has this number
_RECORD: Final = struct.Struct("<IIQ")  # length and checksum of the rest, number of the change


class TailGap(Exception):
    """Changes are missing in the file."""


class Tail:
    """Writes numbered changes, and reads those of the previous process. Raises `OSError`."""

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(file, 0o600)
            self._is_new = os.fstat(file).st_size != 2 * HALF
            if self._is_new:
                os.ftruncate(file, 0)
                zeros = memoryview(bytes(2 * HALF))  # on a full disk, a hole in the file could not be filled
                while zeros:
                    zeros = zeros[os.write(file, zeros) :]
            self._map = mmap.mmap(file, 2 * HALF)
        finally:
            os.close(file)
        self._half = 0
        self._offset = _SKIPPED.size

    def read(self, after: int) -> list[bytes]:
        """Return the changes with higher numbers, in order. Raises `TailGap` if one of them is missing."""
        if self._is_new:
            raise TailGap("their file is missing")
        found = dict(record for half in (0, 1) for record in self._records(half) if record[0] > after)
        last = max([after, *found, *(self._skipped(half) for half in (0, 1))])
        if last == _MISSING:
            raise TailGap("they could not be written")
        if last != after + len(found):
            raise TailGap(f"of {last - after} changes {len(found)} are there")
        return [found[number] for number in sorted(found)]

    def write(self, number: int, change: bytes) -> None:
        """Keep a change: it has the next number."""
        end = self._offset + _RECORD.size + len(change)
        start = self._half * HALF
        if end > HALF:
            self._map[start : start + _SKIPPED.size] = _SKIPPED.pack(number)
            self._offset = HALF + 1  # no later one either
            return
        head = _RECORD.pack(len(change), crc32(change, number & 0xFFFFFFFF), number)
        self._map[start + self._offset : start + end] = head + change
        self._offset = end

    def swap(self) -> None:
        """Switch to the other half, whose changes are in the database."""
        self._half = 1 - self._half
        self._offset = _SKIPPED.size
        start = self._half * HALF
        self._map[start : start + _SKIPPED.size] = bytes(_SKIPPED.size)

    def clear(self) -> None:
        """Clear both halves."""
        for _ in (0, 1):
            self.swap()
            start = self._half * HALF + _SKIPPED.size
            self._map[start : start + _RECORD.size] = bytes(_RECORD.size)

    def spoil(self) -> None:
        """Let a later process notice that changes are missing."""
        for start in (0, HALF):
            self._map[start : start + _SKIPPED.size] = _SKIPPED.pack(_MISSING)

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    def _skipped(self, half: int) -> int:
        (number,) = _SKIPPED.unpack_from(self._map, half * HALF)
        return int(number)

    def _records(self, half: int) -> Iterator[tuple[int, bytes]]:
        """Yield the records of a half, without remains of older ones."""
        offset, last = _SKIPPED.size, None
        while offset + _RECORD.size <= HALF:
            start = half * HALF + offset
            length, checksum, number = _RECORD.unpack_from(self._map, start)
            offset += _RECORD.size + length
            if not length or offset > HALF or (last is not None and number != last + 1):
                return
            change = self._map[start + _RECORD.size : half * HALF + offset]
            if crc32(change, number & 0xFFFFFFFF) != checksum:
                return
            last = number
            yield number, change
