"""Presence updates that members of a project have yet to get, and the rates of sending them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from synkora.collaboration.pace import Pace
from synkora.engine.message import Message
from synkora.engine.outbox import Outbox
from synkora.engine.state_updates import Bundle, Update

CHANGES_RATE: Final = 5_000  # members per second who get a turn's changes of one project
DELIVERIES_RATE: Final = 500_000  # deliveries per second of single changes in one project
CHANGES_BYTES: Final = 16_000_000  # bytes per second of changes in one project
CHANGES_BURST: Final = 0.25  # seconds of the rates above
# Bytes of changes sent together, or the size of the roster if that is larger. Above it the roster is sent instead.
MAX_BATCHED: Final = 65_536
LEAVES_RATE: Final = 4_000_000  # bytes per second of a project's rosters to all members after a leave
MEMBER_RATE: Final = 16_000  # bytes per second of these rosters to one member
LEAVES_BURST: Final = 0.5  # seconds of the rates above
ROSTER_RATE: Final = 128_000_000  # bytes per second of a project's rosters to all members
ROSTER_BURST: Final = 0.05  # seconds of the rate above
ROSTER_CHUNK: Final = 16_000_000  # bytes of rosters that one project sends in a turn of the event loop
ENCODING: Final = 10  # deliveries with the same cost as encoding a roster


class ChangeBatch:
    """Changes to send together, of `size` bytes.

    A member who joined meanwhile gets the roster instead of the other joins. A member who left and joined gets the
    roster instead of all changes: otherwise each such member would need a message of its own.
    """

    __slots__ = ("_all", "_joined", "_left", "size")

    def __init__(self) -> None:
        self._all: list[Update] = []
        self._left: dict[str, Update] = {}
        self._joined: set[str] = set()
        self.size = 0

    def add_join(self, socket_id: str, update: Update) -> None:
        """Add the join of a connection."""
        self._all.append(update)
        self._joined.add(socket_id)
        self.size += update.size

    def add_leave(self, socket_id: str, update: Update) -> None:
        """Add the leave of a connection."""
        self._all.append(update)
        self._left[socket_id] = update
        self.size += update.size

    def send(self, unsent: "UnsentPresence", members: Mapping[str, Outbox]) -> None:
        """Send the changes to the members, once each, except a member's own changes."""
        if not self._all:
            return
        all_changes, departures = Bundle(self._all, unsent), Bundle(list(self._left.values()), unsent)
        for socket_id, outbox in members.items():
            if socket_id not in self._joined:
                outbox.put(all_changes)
            elif socket_id not in self._left:
                if departures.updates:
                    outbox.put(departures)
            elif len(self._left) > 1:
                unsent.roster_recipients.setdefault(socket_id, False)


class UnsentPresence:
    """The updates that members of one project have yet to get."""

    __slots__ = (
        "_full_state",
        "_has_recipient",
        "batch",
        "change_pace",
        "changed",
        "id",
        "leave_pace",
        "left",
        "roster",
        "roster_pace",
        "roster_recipients",
        "roster_size",
        "socket_ids",
        "timer",
    )

    def __init__(
        self,
        id: str,
        full_state: Callable[["UnsentPresence", object], list[Message]],
        has_recipient: Callable[["UnsentPresence", object], bool],
    ) -> None:
        self.id = id
        self.roster_recipients: dict[str, bool] = {}  # by socket id: whether the socket gets the count too
        self.changed = False  # all members get the count
        self.left = False  # all members get the roster
        self.roster: Update | None = None  # valid until the next change
        self.roster_size = 0  # of the latest roster
        self.batch: ChangeBatch | None = None  # changes that are not sent immediately
        self.change_pace = Pace(CHANGES_BURST)
        self.leave_pace = Pace(LEAVES_BURST)
        self.roster_pace = Pace(ROSTER_BURST)
        self.timer: asyncio.TimerHandle | None = None
        self.socket_ids: dict[object, str] | None = None  # of the members, by outbox, in this turn of the event loop
        self._has_recipient = has_recipient
        self._full_state = full_state

    @property
    def is_batch_too_large(self) -> bool:
        """Whether the roster is smaller than the batch."""
        return self.batch is not None and self.batch.size > max(MAX_BATCHED, self.roster_size)

    def has_recipient(self, outbox: object) -> bool:
        """Whether the client of an outbox is a member."""
        return self._has_recipient(self, outbox)

    def full_state(self, outbox: object) -> list[Message]:
        """Return roster and count, for a member whose updates were dropped."""
        return self._full_state(self, outbox)
