"""The floors of rooms without events, in bounded memory."""

from array import array
from collections.abc import Iterator
from hashlib import blake2b
from secrets import token_bytes
from struct import Struct
from typing import Final
from zlib import crc32

KEY_LENGTH: Final = 16  # bytes
_ROW: Final = 65_536  # buckets
FORMER: Final = 2 * _ROW  # the first bucket of files that gave a room a single one, without a key
_FORMER_ROW: Final = 8192
EVERYONE: Final = FORMER + _FORMER_ROW  # the bucket of the events for all
_PAGE: Final = 128  # buckets
_FOUR: Final = Struct("<4H")


def new_key() -> bytes:
    """Return a key for digests. Without it nobody finds rooms that share their buckets with another."""
    return token_bytes(KEY_LENGTH)


def digest_of(room: str, key: bytes) -> bytes:
    """Return the digest of a room's name."""
    return blake2b(_bytes(room), digest_size=_FOUR.size, key=key).digest()


def raised(digest: bytes, floor: int, socket_floor: int) -> Iterator[tuple[int, int]]:
    """Yield the buckets of a room, each with the floor that it gets. The events for all have no digest."""
    if not digest:
        yield EVERYONE, floor
        return
    one, two, three, four = _FOUR.unpack(digest)
    yield one, floor
    yield _ROW + two, floor
    if socket_floor:
        yield three, socket_floor
        yield _ROW + four, socket_floor


def _bytes(room: str) -> bytes:
    return room.encode(errors="surrogatepass")


class Floors:
    """The floors of each room that has no events: at least the number of its last event, and at least that of the last
    one for the socket whose id is the room's name.

    Rooms share buckets, and each floor is in one of either row. It is too high only if both were raised for other
    rooms: a client of a quiet room may then be refused without need. It is never too low.
    """

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}  # of buckets, as far as one was raised

    def __bool__(self) -> bool:
        """Whether any floor is above 0."""
        return bool(self._pages)

    def __getitem__(self, bucket: int) -> int:
        page = self._pages.get(bucket // _PAGE)
        return 0 if page is None else page[bucket % _PAGE]

    @property
    def everyone(self) -> int:
        """The floor of the events for all."""
        return self[EVERYONE]

    def of(self, room: str, digest: bytes) -> tuple[int, int]:
        """Return the floor of a room, and that of the socket."""
        one, two, three, four = _FOUR.unpack(digest)
        former = self[FORMER + crc32(_bytes(room)) % _FORMER_ROW]
        floor, socket_floor = min(self[one], self[_ROW + two]), min(self[three], self[_ROW + four])
        return max(floor, former), max(socket_floor, former)

    def raise_to(self, digest: bytes, floor: int, socket_floor: int) -> None:
        """Raise the floors of a room: events up to these numbers are dropped."""
        for bucket, number in raised(digest, floor, socket_floor):
            self.raise_bucket(bucket, number)

    def raise_bucket(self, bucket: int, floor: int) -> None:
        """Raise one of the buckets of a room."""
        page = self._pages.get(bucket // _PAGE)
        if page is None:
            page = self._pages[bucket // _PAGE] = array("q", bytes(8 * _PAGE))
        if page[bucket % _PAGE] < floor:
            page[bucket % _PAGE] = floor
