"""The changes between two readings, as events for admins."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from synkora.app.admin_ui.changes import changes, server_stats
from synkora.app.admin_ui.messages import Growth, NamespaceSize, SocketDescription, SocketUpdate, Statistics

NOW = 1_700_000_000.9

sockets = st.dictionaries(
    st.tuples(st.sampled_from(("/", "/admin")), st.sampled_from("abc")),
    st.tuples(st.sampled_from(("polling", "websocket")), st.frozensets(st.sampled_from(("p", "q", "r")))),
)


def described(given: dict[tuple[str, str], tuple[str, frozenset[str]]]) -> dict[tuple[str, str], SocketDescription]:
    return {
        (nsp, sid): SocketDescription(sid, "c", transport, nsp, {}, {}, sorted({sid, *rooms}))
        for (nsp, sid), (transport, rooms) in given.items()
    }


class Tables:
    """The admin UI's tables: the sockets, and the members of each room."""

    def __init__(self) -> None:
        self.sockets: dict[tuple[str, str], SocketDescription] = {}
        self.rooms: set[tuple[str, str, str]] = set()

    def add(self, socket: SocketDescription) -> None:
        """Add a new socket, which reports its rooms itself."""
        self.sockets[socket.nsp, socket.id] = replace(socket, rooms=sorted(socket.rooms))
        self.rooms.update((socket.nsp, room, socket.id) for room in socket.rooms)

    def take(self, name: str, *args: Any) -> None:
        """Apply an event as the UI does."""
        match name, args:
            case "socket_connected", (SocketDescription() as new, _):
                self.add(new)
            case "socket_disconnected", (nsp, sid, str(), _):
                del self.sockets[nsp, sid]
            case "room_joined", (nsp, room, sid, _):
                self.sockets[nsp, sid].rooms = sorted({*self.sockets[nsp, sid].rooms, room})
                self.rooms.add((nsp, room, sid))
            case "room_left", (nsp, room, sid, _):
                self.sockets[nsp, sid].rooms.remove(room)
                self.rooms.remove((nsp, room, sid))
            case "socket_updated", (SocketUpdate() as update,):
                self.sockets[update.nsp, update.id].transport = update.transport
            case _:
                raise AssertionError((name, args))


@given(sockets, sockets)
def test_changes_lead_from_one_state_to_the_other(before: Any, after: Any) -> None:
    """Tables that were correct before the events are correct after them."""
    tables, wanted = Tables(), Tables()
    for socket in described(before).values():
        tables.add(socket)
    for socket in described(after).values():
        wanted.add(socket)
    for event in changes(described(before), described(after)):
        tables.take(*event)
    assert tables.sockets == wanted.sockets
    assert tables.rooms == wanted.rooms


@given(sockets)
def test_without_changes_there_are_no_events(given: Any) -> None:
    assert list(changes(described(given), described(given))) == []


def statistics(**totals: int) -> Statistics:
    return Statistics("here#1", "here", 1, 7.5, 3, 1, [NamespaceSize("/", 3)], totals)


def test_growth() -> None:
    """The growth of each total is sent, with the time in seconds; unchanged totals are omitted."""
    stats = server_stats(statistics(bytesIn=30, bytesOut=9, rawConnection=2), statistics(bytesIn=10, bytesOut=9), NOW)
    assert stats.aggregated_events == [
        Growth(1_700_000_000_000, "bytesIn", 20),
        Growth(1_700_000_000_000, "rawConnection", 2),
    ]


def test_an_instance_that_was_not_known_has_not_grown() -> None:
    assert server_stats(statistics(bytesIn=30), None, NOW).aggregated_events == []


def test_an_instance_that_has_started_again_has_not_shrunk() -> None:
    """Counts that are lower than before cause no event."""
    assert server_stats(statistics(bytesIn=3), statistics(bytesIn=30), NOW).aggregated_events == []
