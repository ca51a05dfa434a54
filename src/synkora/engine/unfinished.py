"""Bounds what sessions of one user, or strangers of one address, hold of messages that have not arrived completely."""

from typing import Final

from synkora.protocol.errors import PayloadTooLarge

#: Bytes. Each message alone may have `max_payload`, and its parts may come slowly.
MOST_UNFINISHED: Final = 16_000_000
#: Bytes of a stranger that do not count: what others at the same address hold never ends a CONNECT, whose token has up
#: to 16,384 characters.
STRANGERS_FREE: Final = 20_480


class UnfinishedMessages:
    """The bytes of unfinished messages of one user or address, by what holds them: a transport or a client.

    Of each holder, the first `free` bytes do not count.
    """

    __slots__ = ("__weakref__", "_free", "_sizes", "_whose", "total")

    def __init__(self, whose: str = "user", free: int = 0) -> None:
        self._whose = whose
        self._free = free
        self.total = 0
        self._sizes: dict[object, int] = {}

    def note(self, holder: object, size: int) -> None:
        """Note how much a holder has now; 0 is nothing. Raises `PayloadTooLarge` if that is too much."""
        before = self._sizes.pop(holder, 0)
        self.total -= before
        size -= self._free
        if size <= 0:
            return
        if self.total + size > MOST_UNFINISHED:
            raise PayloadTooLarge(f"unfinished messages of one {self._whose} have more than {MOST_UNFINISHED} bytes")
        self.total += size
        self._sizes[holder] = size
