"""The floors of rooms without events, in bounded memory."""

from array import array
from typing import Final
from zlib import crc32

BUCKETS: Final = 8192


def bucket_of(room: str | None) -> int:
    """Return the bucket of a room, the same in each process; the events for all have their own."""
    return BUCKETS if room is None else crc32(room.encode(errors="surrogatepass")) % BUCKETS


class Floors:
    """The floor of each room that has no events: at least the number of its last event.

    Rooms share buckets, so that a floor can be too high: a client of a quiet room may then be refused without need.
    It is never too low.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: array[int] | None = None

    def __getitem__(self, room: str | None) -> int:
        return 0 if self._buckets is None else self._buckets[bucket_of(room)]

    def raise_to(self, room: str | None, floor: int) -> None:
        """Raise the floor of a room: events up to this number are dropped."""
        if floor:
            self.raise_bucket(bucket_of(room), floor)

    def raise_bucket(self, bucket: int, floor: int) -> None:
        """Raise the floor of all rooms of a bucket."""
        if self._buckets is None:
            self._buckets = array("q", bytes(8 * (BUCKETS + 1)))
        self._buckets[bucket] = max(self._buckets[bucket], floor)
