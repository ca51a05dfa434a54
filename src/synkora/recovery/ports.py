"""The ports of recovery: the log of a namespace's events, and the sessions of its clients.

A log and a session store belong to one namespace. `RecoveryStore` makes them, and opens and closes what they share.
"""

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import msgspec

from synkora.recovery.position import Ahead, Position
from synkora.tracing import NO_TRACE, Trace

MAX_ONCE: Final = 100_000  # names that a log remembers, as in log_append.lua
NOT_KEPT: Final = -1  # number of an event that a log delivers but does not keep


class LogUnavailable(Exception):
    """A shared log cannot be reached, so an event may still be appended; or a file is not open, and it is not."""


class LoggedEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that is kept. `data` is its JSON array without the position, which is added for the clients.

    The event is for the members of any of `rooms`, of the whole namespace if `rooms` is empty, without the members of
    `except_rooms`. A socket counts as a member of the room that is named like its id, unless the event is for
    `members_only`: for the sockets that have joined. `traceparent` is the trace that the event's delivery belongs to;
    events are kept without it on a single server.
    """

    number: int
    data: bytes
    attachments: tuple[bytes, ...]
    rooms: tuple[str, ...]
    except_rooms: tuple[str, ...]
    key: str | None
    members_only: bool = False
    traceparent: str = ""

    @property
    def size(self) -> int:
        """Bytes of data and attachments."""
        return len(self.data) + sum(map(len, self.attachments)) if self.attachments else len(self.data)


def new_event(
    data: bytes,
    rooms: tuple[str, ...] = (),
    except_rooms: tuple[str, ...] = (),
    key: str | None = None,
    *,
    attachments: tuple[bytes, ...] = (),
    members_only: bool = False,
) -> LoggedEvent:
    """Return an event to append. Its number is 0: the log gives it one."""
    return LoggedEvent(0, data, attachments, rooms, except_rooms, key, members_only)


class Kept(NamedTuple):
    """What a log keeps of one room: the number of events, and their bytes."""

    events: int
    bytes: int


#: Returns the time in seconds since 1970.
Clock = Callable[[], float]

#: Sends an event to the members of its rooms. `EventLog.position` is the event's own during the call.
Deliver = Callable[[LoggedEvent], None]


class Incomplete(StrEnum):
    """Why a log cannot say what a client has missed. The values are labels of metrics."""

    EPOCH = "epoch"  # the log has lost its memory since
    TRIMMED = "trimmed"  # events of one of the rooms are no longer kept
    TOO_MANY = "too_many"  # more than a replay may have, in events or in bytes
    UNAVAILABLE = "unavailable"  # the log cannot be reached


class Missed(NamedTuple):
    """The events that a socket has missed up to the position `until`, or the reason why they are unknown.

    `looked_at` is the number of events that were read to find out.
    """

    events: list[LoggedEvent] | Incomplete
    looked_at: int
    until: Position


#: Gets what a socket has missed.
Answered = Callable[[Missed], None]


class EventLog(Protocol):
    """Numbers the events of a namespace, and keeps the newest of them. One counter gives all rooms one order.

    `on_new_epoch` is called when a shared log has begun again, before an event of the new epoch is delivered: all such
    events have numbers above that of `position`. `ahead` has the events that a shared log has delivered here without a
    place in the order.
    """

    on_new_epoch: Callable[[], None]
    ahead: Ahead | None

    @property
    def position(self) -> Position:
        """Of the last event that was delivered on this instance."""
        ...

    @property
    def epoch(self) -> str:
        """The epoch of `position`."""
        ...

    @property
    def kept_bytes(self) -> int:
        """Bytes of the events that are kept on this instance."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether other instances append too: `position` may be behind theirs."""
        ...

    def append(self, event: LoggedEvent, trace: Trace = NO_TRACE) -> None:
        """Number and keep a new event, and deliver it: within the call, or when it comes back from the other servers.

        `trace` ends when the event is kept, before its delivery.

        An event replaces the kept one with the same room and key, so a key is unique for what it describes: the name of
        the event and the id of the thing. Sockets that the newer event leaves out never get the older one: the newer
        event is their own.
        """
        ...

    async def append_once(self, event: LoggedEvent, once: str = "", trace: Trace = NO_TRACE) -> Position | None:
        """Append an event like `append`, and return its position.

        `once` is a short name, or empty. If an event with this name is among the last `MAX_ONCE` named ones, nothing is
        appended, and its position is returned. Raises `LogUnavailable`; the call can be repeated with the same name.
        If a shared log refuses to keep an event without a name, the event is delivered, and the position is None.
        """
        ...

    async def kept(self, room: str) -> Kept | None:
        """Return the kept state of a room; None if a shared log cannot be reached."""
        ...

    async def read(self, rooms: Collection[str], after: Position) -> list[LoggedEvent] | Incomplete:
        """Return the events after a position that a socket in `rooms` has missed, in their order.

        `rooms` contains the socket's own id, by which events leave the socket out, unless they are for members only.
        All events are returned, or the
        reason why not. An implementation without a network does not suspend: what the caller does in the same turn
        belongs to the same moment of the order.
        """
        ...

    def replay(self, sid: str, joined: Mapping[str, int], after: Position, answered: Answered) -> None:
        """Read the events that the socket `sid` has missed. `joined` has its rooms.

        A room is read after the number that it has in `joined`, if that is later than `after`. `answered` is called
        with the events in their order, or with the reason why they are not known: within the call, or when the answer
        has come. All events that were delivered before belong to it, and none that is delivered later does.
        """
        ...

    def last_in(self, room: str, answered: Callable[[int | None], None]) -> None:
        """Call `answered` with the number of a room's last event, 0 if none is kept: within the call, or later.

        If a shared log cannot be reached, `answered` is called with None.
        """
        ...

    def locate(self, found: Callable[[Position | None], None]) -> None:
        """Call `found` with the position of the last event of all instances: within the call, or later.

        If a shared log cannot be reached, `found` is called with None.
        """
        ...


class SavedSession(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A client in a namespace: what it needs to continue. It holds no token.

    `pid` is the secret by which the client returns; `identity` is the application's name for the user. The session
    began at the position `began`. `lost_at` is when the connection was lost, in seconds since 1970; None while the
    client is connected. `joined` has for each of `rooms` the number of the last event before the client joined.
    `outlived` has the epochs of earlier logs: `began` and `joined` are of the log that the session has continued in.
    `about` is what the application keeps with the session. `successor` is the `pid` of the session that the client has
    got instead, in a reply that may be lost.
    """

    pid: str
    sid: str
    identity: str
    rooms: tuple[str, ...]
    began: Position
    lost_at: float | None = None
    joined: tuple[int, ...] = ()
    outlived: tuple[str, ...] = ()
    about: bytes = b""
    successor: str = ""

    def __post_init__(self) -> None:
        if len(self.joined) != len(self.rooms):
            raise ValueError("a session needs a number for each room")

    @property
    def size(self) -> int:
        """Bytes in memory or in Redis, estimated: a store keeps no more."""
        names = sum(map(_most_bytes, self.rooms)) + _most_bytes(self.identity)
        return 600 + 120 * len(self.rooms) + names + len(self.about)


def _most_bytes(text: str) -> int:
    """Return how many bytes a text takes at most: in memory, with its UTF-8 form, which Python keeps beside it."""
    return len(text) if text.isascii() else 8 * len(text)


class SessionStore(Protocol):
    """The sessions of a namespace's clients, connected or lost. A lost one is kept for a while."""

    def save(self, session: SavedSession) -> None:
        """Keep a session, in place of the one with the same `pid`."""
        ...

    def forget(self, pid: str) -> None:
        """Drop a session, if there is one."""
        ...

    async def take(self, pid: str) -> SavedSession | None:
        """Return a session: of all that ask for a `pid` at a time, one gets it, the last one.

        The caller saves or forgets the session. If the process is killed before, the session is as it was.
        """
        ...

    @property
    def lost(self) -> Collection[SavedSession]:
        """The lost sessions that are kept on this instance; none of a shared store."""
        ...


def nothing() -> None:
    """Do nothing: the log of a single server does not begin again."""


def ignore(_: str) -> None:
    """Do nothing: sessions of a single server are taken by itself."""


class RecoveryStore(Protocol):
    """Makes the logs and session stores of a server. It is started before clients connect, and closed after them."""

    def log(self, namespace: str, deliver: Deliver) -> EventLog:
        """Return the log of a namespace, which calls `deliver` for each event from now on."""
        ...

    def sessions(self, namespace: str, taken: Callable[[str], None] = ignore) -> SessionStore:
        """Return the session store of a namespace.

        `taken` is called with the socket id of a connected session that another instance has taken.
        """
        ...

    def forget(self, namespace: str) -> None:
        """Drop the log and the sessions of a namespace that the server has given up."""
        ...

    async def start(self) -> None:
        """Load the stored state. An unusable store logs an error and continues in memory.

        Before, `append_once` of a store with files raises `LogUnavailable`.
        """
        ...

    async def close(self) -> None:
        """Write the remaining changes. Meanwhile and afterwards, `append_once` raises as before the start."""
        ...
