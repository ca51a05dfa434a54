"""A position in the order of a namespace's events: written behind each event, and sent by a client that returns."""

import re
import secrets
from typing import Final, NamedTuple

#: The written form of a position.
TEXT: Final = re.compile(r"([0-9a-z]{1,16})\.([0-9a-f]{1,15})(?:\.([0-9A-Za-z]{1,16})\.([0-9a-f]{1,15}))?")
_NAME: Final = 8  # characters of a log's first epoch, with which its later ones begin; as in log_settle.lua
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Ahead(NamedTuple):
    """The events of an instance that its clients got before the events had a place in the order: the last one's number
    among the instance's events.
    """

    instance: str
    number: int


class Position(NamedTuple):
    """The event with this number was the last one, besides those `ahead`.

    A number means nothing in a log of another `epoch`.
    """

    epoch: str
    number: int
    ahead: Ahead | None = None

    def __str__(self) -> str:
        text = f"{self.epoch}.{self.number:x}"
        return text if self.ahead is None else f"{text}.{self.ahead.instance}.{self.ahead.number:x}"

    def after_event(self, data: bytes) -> bytes:
        """Return an event's JSON array with the position as one more, last element."""
        if self.ahead is not None:
            return data[:-1] + f',"{self}"]'.encode()
        return after_event(data, self.epoch, self.number)


def after_event(data: bytes, epoch: str, number: int) -> bytes:
    """Return an event's JSON array with a position as one more, last element."""
    return b'%b,"%b.%x"]' % (data[:-1], epoch.encode(), number)  # half the time of an f-string


def parse(text: object) -> Position | None:
    """Return the position that a client sent, or None if the value is invalid."""
    found = TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    epoch, number, instance, own = found.groups()
    return Position(epoch, int(number, 16), None if instance is None else Ahead(instance, int(own, 16)))


def later(offset: Position | None, began: Position) -> Position:
    """Return where a replay starts: after the event that the client got last, or where its session began.

    A client whose recovery failed brings its new session with the offset of an older one.
    """
    if offset is None or offset.epoch != began.epoch:
        return began
    if offset.number < began.number:
        return began
    ahead, known = offset.ahead, began.ahead
    if known is not None and (ahead is None or (ahead.instance == known.instance and ahead.number < known.number)):
        return offset._replace(ahead=known)  # an instance may send to Redis only now what it had delivered then
    return offset


def new_epoch() -> str:
    """Return a name for a log that starts at 0: no client can hold a position in it."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_NAME))


def is_same_log(epoch: str, other: str) -> bool:
    """Return whether two epochs are of one log: their numbers are of one order, even if events were lost between."""
    return epoch[:_NAME] == other[:_NAME]
