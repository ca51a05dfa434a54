"""Changes between two readings of an instance, as events of the Admin UI."""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import asdict

from synkora.app.admin_ui.messages import Growth, ServerStats, SocketDescription, SocketUpdate, Statistics
from synkora.protocol.timestamps import now

#: An event for the UI: its name and its arguments.
Event = tuple[str, *tuple[object, ...]]
#: The sockets by their namespace and their id.
Sockets = Mapping[tuple[str, str], SocketDescription]

_REASON: Final = "the reason is in the server's log"  # the server does not keep the reasons of past disconnects


def server_stats(statistics: Statistics, before: Statistics | None, time: float) -> ServerStats:
    """The statistics of an instance at `time` (seconds since the epoch), with the growth since `before`."""
    totals = statistics.totals if before is None else before.totals
    grown = {kind: count - totals.get(kind, 0) for kind, count in statistics.totals.items()}
    growths = [Growth(int(time) * 1000, kind, count) for kind, count in grown.items() if count > 0]
    shared = {name: value for name, value in asdict(statistics).items() if name != "totals"}
    return ServerStats(**shared, aggregated_events=growths)


def changes(before: Sockets, after: Sockets) -> Iterator[Event]:
    """Yield the events that update the UI's table of sockets from `before` to `after`."""
    at = now()
    for key in before.keys() - after.keys():
        for room in before[key].rooms:  # the UI does not remove a closed socket from its rooms
            yield "room_left", key[0], room, key[1], at
        yield "socket_disconnected", *key, _REASON, at
    for key, socket in after.items():
        known = before.get(key)
        if known is None:
            yield "socket_connected", socket, at
        elif known != socket:
            yield from _updates(known, socket, at)


def _updates(before: SocketDescription, after: SocketDescription, at: str) -> Iterator[Event]:
    nsp, sid = after.nsp, after.id
    for room in set(before.rooms).difference(after.rooms):
        yield "room_left", nsp, room, sid, at
    for room in set(after.rooms).difference(before.rooms):
        yield "room_joined", nsp, room, sid, at
    if (before.transport, before.data) != (after.transport, after.data):
        yield "socket_updated", SocketUpdate(sid, nsp, after.transport, after.data)
