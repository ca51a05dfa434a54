"""A position in the order of a namespace's events. A client sends it when it returns."""

import re
import secrets
from typing import Final, NamedTuple

_TEXT: Final = re.compile(r"([0-9a-z]{1,16})\.([0-9a-f]{1,15})")
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Position(NamedTuple):
    """The event with this number was the last one. A number means nothing in a log of another `epoch`."""

    epoch: str
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number:x}"

    def after_event(self, data: bytes) -> bytes:
        """Return an event's JSON array with the position as one more, last element."""
        return after_event(data, self.epoch, self.number)


def after_event(data: bytes, epoch: str, number: int) -> bytes:
    """Return an event's JSON array with a position as one more, last element."""
    return data[:-1] + f',"{epoch}.{number:x}"]'.encode()


def parse(text: object) -> Position | None:
    """Return the position that a client sent, or None if the value is invalid."""
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else Position(found[1], int(found[2], 16))


def later(offset: Position | None, began: Position) -> Position:
    """Return where a replay starts: after the event that the client got last, or where its session began.

    A client whose recovery failed brings its new session with the offset of an older one.
    """
    if offset is None or offset.epoch != began.epoch:
        return began
    return max(offset, began)


def new_epoch() -> str:
    """Return a name for a log that starts at 0: no client can hold a position in it."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
