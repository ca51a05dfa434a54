"""What members of a project are still to be told of presence, and the rates for telling them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from synkora.collaboration.pace import Pace
from synkora.engine.message import Message
from synkora.engine.outbox import Outbox
from synkora.engine.updates import Bundle, Update

CHANGES_RATE: Final = 5_000  # members a second who are told of a turn's changes in one project
DELIVERIES_RATE: Final = 500_000  # deliveries a second of single changes in one project
CHANGES_BYTES: Final = 16_000_000  # bytes a second of changes in one project
CHANGES_BURST: Final = 0.25  # seconds' worth
MOST_BATCHED: Final = 65_536  # bytes of changes that are told together, or as many as the list has: else the list is
LEAVES_RATE: Final = 4_000_000  # bytes a second of a project's lists that go to everyone, since somebody has left
MEMBER_RATE: Final = 16_000  # bytes a second of these to one member
LEAVES_BURST: Final = 0.5  # seconds' worth
SERVED_RATE: Final = 128_000_000  # bytes a second of a project's lists, for all members together
SERVED_BURST: Final = 0.05  # seconds' worth
SERVED_AT_ONCE: Final = 16_000_000  # bytes that one project sends in a turn of the event loop
ENCODING: Final = 10  # deliveries that cost as much as encoding a list


class ChangeBatch:
    """Changes that are told together, of `size` bytes.

    Members that have joined meanwhile get the list instead of the other joins.
    """

    __slots__ = ("_all", "_joined", "_left", "size")

    def __init__(self) -> None:
        self._all: list[Update] = []
        self._left: dict[str, Update] = {}
        self._joined: set[str] = set()
        self.size = 0

    def join(self, socket_id: str, update: Update) -> None:
        """Note a connection that has come."""
        self._all.append(update)
        self._joined.add(socket_id)
        self.size += update.size

    def leave(self, socket_id: str, update: Update) -> None:
        """Note a connection that has gone."""
        self._all.append(update)
        self._left[socket_id] = update
        self.size += update.size

    def send(self, told: "PendingUpdates", members: Mapping[str, Outbox]) -> None:
        """Tell the members: once each, and nobody of itself."""
        if not self._all:
            return
        all_changes, departures = Bundle(self._all, told), Bundle(list(self._left.values()), told)
        for socket_id, outbox in members.items():
            if socket_id not in self._joined:
                outbox.put(all_changes)
            elif socket_id not in self._left:
                if departures.updates:
                    outbox.put(departures)
            elif len(self._left) > 1:
                others = [update for gone, update in self._left.items() if gone != socket_id]
                outbox.put(Bundle(others, told))


class PendingUpdates:
    """What the members of one project are still to be told."""

    __slots__ = (
        "_concerns",
        "_renew",
        "batch",
        "changed",
        "changes",
        "id",
        "leaves",
        "left",
        "owed",
        "roster",
        "roster_size",
        "served",
        "timer",
    )

    def __init__(
        self,
        id: str,
        renew: Callable[["PendingUpdates", object], list[Message]],
        concerns: Callable[["PendingUpdates", object], bool],
    ) -> None:
        self.id = id
        self.owed: dict[str, bool] = {}  # the ids of the sockets that are to get the list, and whether the count too
        self.changed = False  # so that everyone gets the count
        self.left = False  # so that everyone gets the list
        self.roster: Update | None = None  # until the next change
        self.roster_size = 0  # of the latest
        self.batch: ChangeBatch | None = None  # where changes are not told at once
        self.changes = Pace(CHANGES_BURST)
        self.leaves = Pace(LEAVES_BURST)
        self.served = Pace(SERVED_BURST)
        self.timer: asyncio.TimerHandle | None = None
        self._concerns = concerns
        self._renew = renew

    @property
    def is_batch_too_large(self) -> bool:
        """Whether the list would tell in fewer bytes what is to be told together."""
        return self.batch is not None and self.batch.size > max(MOST_BATCHED, self.roster_size)

    def concerns(self, outbox: object) -> bool:
        """Whether the client of an outbox is a member."""
        return self._concerns(self, outbox)

    def renew(self, outbox: object) -> list[Message]:
        """The list and the count, for a member who has missed what was told."""
        return self._renew(self, outbox)
