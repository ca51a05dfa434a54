"""The rooms of a namespace, and the selection of a broadcast's recipients."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from synkora.engine.outbox import Outbox

#: The names of rooms that select sockets, or that sockets join or leave.
RoomNames = Collection[str]

_NOBODY: Final[dict[str, Outbox]] = {}


def _ignore_name(_: str) -> None:
    """Ignore a change: a single server has no other servers to inform."""


def check_rooms(rooms: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of rooms.

    Raises `TypeError` for one that is not a text, since the adapters carry only texts, and `ValueError` as
    `check_unicode` does.
    """
    for room in rooms:
        if not isinstance(room, str):
            raise TypeError(f"the name of a room is a text, not {room!r}")
        if not room.isascii():
            check_unicode("a room", room)
    return rooms


def check_unicode(what: str, name: str) -> None:
    """Check that UTF-8 can represent a name, or it could be neither sent nor kept. Raises `ValueError`.

    Clients may choose names, and JSON may have half of a surrogate pair.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        half = name[error.start]
        raise ValueError(f"the name of {what} has half of a surrogate pair: {half!r}") from None


class Rooms:
    """Rooms and their members: the outbox of each, by the socket's id.

    Each socket can also be reached by a room named like its id, without membership. `opened` is called with each name
    that reaches its first socket, and `emptied` with each name that no longer reaches any.
    """

    __slots__ = ("_rooms", "emptied", "members", "opened")

    def __init__(self) -> None:
        self.opened: Callable[[str], None] = _ignore_name
        self.emptied: Callable[[str], None] = _ignore_name
        self.members: dict[str, Outbox] = {}
        self._rooms: dict[str, dict[str, Outbox]] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    def __getitem__(self, room: str) -> dict[str, Outbox]:
        """Return the members of a room; an empty dict for an unknown room."""
        found = self._rooms.get(room, _NOBODY)
        outbox = self.members.get(room)
        return found if outbox is None else {**found, room: outbox}

    def joined(self, room: str) -> dict[str, Outbox]:
        """Return the members of a room, without the socket whose id is the name of the room."""
        return self._rooms.get(room, _NOBODY)

    def add(self, sid: str, outbox: Outbox) -> None:
        """Add a socket."""
        self.members[sid] = outbox
        if sid not in self._rooms:
            self.opened(sid)

    def remove(self, sid: str, rooms: Iterable[str]) -> None:
        """Remove a socket, which is in `rooms`."""
        for room in rooms:
            self.leave(sid, room)
        if self.members.pop(sid, None) is not None and sid not in self._rooms:
            self.emptied(sid)

    def join(self, sid: str, room: str) -> None:
        """Add a socket to a room."""
        outbox = self.members[sid]
        found = self._rooms.get(room)
        if found is not None:
            found[sid] = outbox
            return
        self._rooms[room] = {sid: outbox}
        if room not in self.members:
            self.opened(room)

    def leave(self, sid: str, room: str) -> None:
        """Remove a socket from a room; remove a room with its last member."""
        found = self._rooms.get(room)
        if found is not None:
            found.pop(sid, None)
            if not found:
                del self._rooms[room]
                if room not in self.members:
                    self.emptied(room)

    def names(self) -> set[str]:
        """Return the rooms with sockets, including the rooms named like a socket's id."""
        return {*self._rooms, *self.members}

    def select(self, rooms: RoomNames, except_rooms: RoomNames) -> dict[str, Outbox]:
        """Return the members of any of `rooms` (of the namespace if empty), without the members of `except_rooms`."""
        if not rooms:
            chosen = self.members
        elif len(rooms) == 1:
            (room,) = rooms
            chosen = self[room]
        else:
            chosen = {sid: outbox for room in rooms for sid, outbox in self[room].items()}
        if except_rooms:
            barred = {sid for room in except_rooms for sid in self[room]}
            chosen = {sid: outbox for sid, outbox in chosen.items() if sid not in barred}
        return chosen
