"""Bounds what the sessions of one user hold of messages that have not arrived completely."""

from typing import Final

from synkora.protocol.errors import PayloadTooLarge

#: Bytes. Each message alone may have `max_payload`, and its parts may come slowly.
MOST_UNFINISHED: Final = 16_000_000


class UnfinishedMessages:
    """The bytes of unfinished messages, by what holds them: a transport or a client."""

    __slots__ = ("_sizes", "total")

    def __init__(self) -> None:
        self.total = 0
        self._sizes: dict[object, int] = {}

    def note(self, holder: object, size: int) -> None:
        """Note how much a holder has now; 0 is nothing. Raises `PayloadTooLarge` if that is too much."""
        before = self._sizes.pop(holder, 0)
        self.total -= before
        if not size:
            return
        if self.total + size > MOST_UNFINISHED:
            raise PayloadTooLarge(f"unfinished messages of one user have more than {MOST_UNFINISHED} bytes")
        self.total += size
        self._sizes[holder] = size
