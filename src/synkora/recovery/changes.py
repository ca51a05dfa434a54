"""What is written of a log and of sessions: each change at once to the tail, and in batches to the database."""

from typing import Final

import msgspec

from synkora.recovery.floors import bucket_of
from synkora.recovery.ports import LoggedEvent, SavedSession


class EventAdded(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """An event was numbered, at `time` in seconds since 1970."""

    namespace: str
    time: float
    event: LoggedEvent


class SessionSaved(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A session was saved."""

    namespace: str
    session: SavedSession


class SessionDropped(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A session was taken or forgotten, or has expired."""

    namespace: str
    pid: str


Change = EventAdded | SessionSaved | SessionDropped
encode: Final = msgspec.msgpack.Encoder().encode
decode_change: Final = msgspec.msgpack.Decoder(Change).decode
decode_event: Final = msgspec.msgpack.Decoder(LoggedEvent).decode
decode_session: Final = msgspec.msgpack.Decoder(SavedSession).decode


class Batch:
    """What has changed since the last batch: what came and went meanwhile is not in it."""

    __slots__ = ("events", "floors", "gone", "numbers", "sequence", "sessions")

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence  # the number of the last change
        self.numbers: dict[str, int] = {}  # of the last event of each namespace
        self.events: dict[tuple[str, int], EventAdded] = {}
        self.gone: list[tuple[str, int]] = []
        self.floors: dict[tuple[str, int], int] = {}
        self.sessions: dict[tuple[str, str], SavedSession | None] = {}

    def add(self, added: EventAdded) -> None:
        """Note an event."""
        self.numbers[added.namespace] = number = added.event.number
        self.events[added.namespace, number] = added

    def drop(self, namespace: str, number: int) -> None:
        """Note that an event is no longer kept."""
        if self.events.pop((namespace, number), None) is None:
            self.gone.append((namespace, number))

    def raise_floor(self, namespace: str, room: str | None, floor: int) -> None:
        """Note that the events of a room up to a number are gone."""
        at = namespace, bucket_of(room)
        self.floors[at] = max(floor, self.floors.get(at, 0))
