"""The parts of an event's trace in a namespace: the event log takes the event, and sockets of this server get it."""

from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.socketio import event_name
from synkora.recovery.ports import LoggedEvent
from synkora.sockets.packets import Draft
from synkora.sockets.rooms import Rooms
from synkora.tracing import NO_TRACE, Trace, Tracer


def begin_append(tracer: Tracer, published: Trace, draft: Draft, rooms: tuple[str, ...]) -> Trace:
    """Continue the trace of a publication, if it is traced."""
    if published is NO_TRACE:
        return NO_TRACE
    return tracer.append(published, _name(draft.data), _destination(rooms), draft.size)


def begin_delivery(tracer: Tracer, event: LoggedEvent, here: Rooms) -> Trace:
    """Continue the trace of an event with a traceparent. `here` has the sockets of this server."""
    return tracer.deliver(event.traceparent, _name(event.data), _destination(event.rooms), _receivers(event, here))


def _receivers(event: LoggedEvent, here: Rooms) -> int:
    if event.members_only and len(event.rooms) == 1:
        joined = here.joined(event.rooms[0])
        return len(joined) - sum(room in joined for room in event.except_rooms)
    return len(here.select(event.rooms, event.except_rooms))


def _name(data: bytes) -> str:
    try:
        return event_name(data)
    except (ProtocolError, InvalidPayload):
        return ""


def _destination(rooms: tuple[str, ...]) -> str:
    return rooms[0] if len(rooms) == 1 else ""
