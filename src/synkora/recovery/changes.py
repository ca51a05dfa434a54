"""The changes of logs and sessions: written immediately to the tail, and in batches to the database."""

from typing import Final, TypeVar

import msgspec

from synkora.recovery.ports import LoggedEvent, SavedSession

K = TypeVar("K")
V = TypeVar("V")


class LogBegun(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """A namespace has a log, without events."""

    namespace: str
    epoch: str


class NamespaceForgotten(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """The log and the sessions of a namespace are no longer needed."""

    namespace: str


class EventAdded(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """An event was numbered, at `time` in seconds since 1970, with the name `once`, if any."""

    namespace: str
    epoch: str
    time: float
    event: LoggedEvent
    once: str = ""


class SessionSaved(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A session was saved."""

    namespace: str
    session: SavedSession


class SessionDropped(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A session was taken or forgotten, or has expired."""

    namespace: str
    pid: str


Change = LogBegun | NamespaceForgotten | EventAdded | SessionSaved | SessionDropped
#: What is raised for data of another form: msgspec's errors are `ValueError`s, and so is `UnicodeDecodeError`.
UNREADABLE: Final = (ValueError, RecursionError)
encode: Final = msgspec.msgpack.Encoder().encode
decode_change: Final = msgspec.msgpack.Decoder(Change).decode
decode_event: Final = msgspec.msgpack.Decoder(EventAdded).decode
decode_session: Final = msgspec.msgpack.Decoder(SavedSession).decode


class Batch:
    """The changes since the last batch, without entries that were added and deleted meanwhile."""

    __slots__ = (
        "events",
        "floors",
        "forgotten",
        "forgotten_names",
        "gone",
        "names",
        "numbers",
        "sequence",
        "sessions",
    )

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence  # the number of the last change
        self.forgotten: set[str] = set()  # namespaces, before all that follows
        self.numbers: dict[str, tuple[str, int]] = {}  # epoch and last number of each namespace
        self.events: dict[tuple[str, int], tuple[str, int, bytes]] = {}  # rows: namespace, number, `EventAdded`
        self.gone: list[tuple[str, int]] = []
        self.names: dict[tuple[str, int], str] = {}  # by namespace and number; they outlive their events
        self.forgotten_names: dict[str, int] = {}  # names up to this number are deleted
        self.floors: dict[tuple[str, bytes], tuple[int, int]] = {}  # by namespace and digest of a room
        self.sessions: dict[tuple[str, str], SavedSession | None] = {}

    def add(self, added: EventAdded, record: bytes) -> None:
        """Add an event in its encoded form."""
        number = added.event.number
        self.numbers[added.namespace] = added.epoch, number
        self.events[added.namespace, number] = added.namespace, number, record
        if added.once:
            self.names[added.namespace, number] = added.once

    def drop(self, namespace: str, number: int) -> None:
        """Delete an event."""
        if self.events.pop((namespace, number), None) is None:
            self.gone.append((namespace, number))

    def raise_floors(self, namespace: str, digest: bytes, floor: int, socket_floor: int) -> None:
        """Raise the floors of a room: events up to these numbers are dropped."""
        at = namespace, digest
        known = self.floors.get(at)
        if known is not None:
            floor, socket_floor = max(floor, known[0]), max(socket_floor, known[1])
        self.floors[at] = floor, socket_floor

    def forget(self, namespace: str) -> None:
        """Delete everything of a namespace."""
        self.forgotten.add(namespace)
        self.numbers.pop(namespace, None)
        self.gone = [at for at in self.gone if at[0] != namespace]
        self.events = _without(namespace, self.events)
        self.names = _without(namespace, self.names)
        self.forgotten_names.pop(namespace, None)
        self.floors = _without(namespace, self.floors)
        self.sessions = _without(namespace, self.sessions)


def _without(namespace: str, changes: dict[tuple[str, K], V]) -> dict[tuple[str, K], V]:
    return {at: change for at, change in changes.items() if at[0] != namespace}
