"""The checks of presence: whether clients were informed correctly about each other."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.deliveries import MARGIN
from tests.chaos.faults import Faults
from tests.chaos.record import Book, Visit

#: Seconds that a connection may be silent before it may be taken for dead, less what a busy machine may add.
SILENCE = 3.0
#: Seconds after a fault in which it may still be announced.
AFTERMATH = 15.0


class View:
    """A client's view of its project: `users` as a page shows them, `present` by connection."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.users: set[str] = set()
        self.count = 0
        self.present: dict[str, str] = {}
        self._gone: set[str] = set()
        self._joins: Counter[str] = Counter()
        self._is_listed = False

    def replay(self, book: Book, faults: Faults) -> Iterator[str]:
        steps = {
            "user:joined": self._join,
            "user:left": self._leave,
            "users:active": self._list,
            "users:count": self._count,
        }
        for at, name, payload in self.visit.notes:
            if at > self.visit.until:  # a stopping instance need not announce it
                break
            for fault in steps[name](payload, at, book, faults):
                yield f"{self.visit}: {fault} at {at:.2f}"

    def recall(self, book: Book, faults: Faults) -> None:
        """Apply all received events, valid or not."""
        for _ in self.replay(book, faults):
            pass

    def _join(self, payload: Any, at: float, book: Book, faults: Faults) -> Iterator[str]:
        socket_id, user = payload["socketId"], payload["userId"]
        if socket_id in self.present:
            yield f"{socket_id} of {user} joined twice"
        elif socket_id == self.visit.connection.socket_id:
            yield "it got its join"
        self.present[socket_id] = user
        self._gone.discard(socket_id)
        self.users.add(user)
        self._joins[socket_id] += 1
        times = sum(visit.asked <= at for visit in self._visits(socket_id, book))
        if self._joins[socket_id] > times:
            if not self._is_excused(socket_id, at, book, faults):
                yield f"{socket_id} of {user} joined for the {self._joins[socket_id]}. time, and did for the {times}."
            self._joins[socket_id] = times

    def _leave(self, payload: Any, at: float, book: Book, faults: Faults) -> Iterator[str]:
        socket_id, user = payload["socketId"], payload["userId"]
        if socket_id in self._gone:
            yield f"{socket_id} of {user} left twice"
        elif self._is_listed and socket_id not in self.present and user not in self.users:
            yield f"{socket_id} of {user} left, who was not there"
        self.present.pop(socket_id, None)
        self._gone.add(socket_id)
        if self._is_there(socket_id, at, book, faults) and not self._is_excused(socket_id, at, book, faults):
            yield f"{socket_id} of {user} left, but is a member"

    def _list(self, payload: Any, at: float, book: Book, faults: Faults) -> Iterator[str]:
        users = {entry["userId"] for entry in payload["users"]}
        missing = {*self.present.values(), self.visit.connection.user} - users
        if missing:
            yield f"{sorted(missing)} are not listed"
        if self._is_listed and users - self.users:
            yield f"{sorted(users - self.users)} are listed, and were not announced"
        if not len(users) == len(payload["users"]) == payload["count"]:
            yield f"a list of {len(payload['users'])} entries of {len(users)} users counts {payload['count']}"
        for entry in payload["users"]:
            socket_id = book.announced.get((entry["userId"], entry["joinedAt"]))
            if socket_id in self._gone:
                yield f"{socket_id} of {entry['userId']} is listed, and has left"
            elif socket_id and socket_id != self.visit.connection.socket_id:
                self.present[socket_id] = entry["userId"]
        self.users = users
        self._is_listed = True

    def _count(self, payload: Any, at: float, book: Book, faults: Faults) -> Iterator[str]:
        self.count = payload["count"]
        if self.count != len(self.users):
            yield f"{self.count} are counted, and {len(self.users)} were announced"

    def _is_there(self, socket_id: str, at: float, book: Book, faults: Faults) -> bool:
        """Whether a connection was a member for sure, and for so long that an earlier leave was announced before."""
        places = self._places(socket_id, book)
        return any(
            faults.settled(places, visit.confirmed, MARGIN) < at < visit.until
            for visit in self._visits(socket_id, book)
        )

    def lacks_join(self, visit: Visit, book: Book) -> bool:
        """Whether a connection's join had to be announced to the client, and was not.

        A connection that leaves and rejoins immediately has never left for the others: its first visit counts.
        """
        socket_id = visit.connection.socket_id
        if socket_id in self.present:
            return False
        first = min(visit.asked for visit in self._visits(socket_id, book))
        return (visit.asked if socket_id in self._gone else first) > self.visit.confirmed

    def _visits(self, socket_id: str, book: Book) -> list[Visit]:
        return [visit for visit in book.connections[socket_id].visits if visit.project == self.visit.project]

    def _places(self, socket_id: str, book: Book) -> set[int]:
        return {self.visit.connection.instance.place, book.connections[socket_id].instance.place}

    def _is_excused(self, socket_id: str, at: float, book: Book, faults: Faults) -> bool:
        return faults.trouble(self._places(socket_id, book), at - AFTERMATH, at) >= SILENCE


def untrue(book: Book, view: View, now: float) -> Iterator[str]:
    """What a client does not know correctly although nothing changes."""
    mine = view.visit
    there = [visit for visit in book.visits if visit.project == mine.project and visit.asked < now < visit.until]
    users = {visit.connection.user for visit in there}
    if view.users != users:
        yield f"{mine}: lacks {sorted(users - view.users)}, shows {sorted(view.users - users)} who are gone"
    if view.count != len(users):
        yield f"{mine}: counts {view.count}, and {len(users)} are there"
    ids = {visit.connection.socket_id for visit in there}
    for socket_id in view.present.keys() - ids:
        connection = book.connections[socket_id]
        yield f"{mine}: has not been told that {connection} has left, at {connection.until:.2f}"
    for visit in there:
        if view.lacks_join(visit, book):
            yield f"{mine}: has not been told that {visit.connection} has joined"
