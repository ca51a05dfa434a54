"""Recovery in one namespace: events that are kept, and clients that return to their sockets.

Source: socketio/socket.io, packages/socket.io-client/lib/socket.ts (`pid` and `offset`).
"""

from collections import Counter
from collections.abc import Coroutine
from enum import StrEnum
from time import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from synkora.engine.close_reasons import Reason
from synkora.engine.histogram import Histogram
from synkora.engine.message import Message
from synkora.engine.registry import new_id
from synkora.protocol.socketio import PacketType, encode_packet
from synkora.recovery.ports import Incomplete, LoggedEvent, RecoveryStore, SavedSession
from synkora.recovery.position import Position, later, parse
from synkora.sockets import packets

if TYPE_CHECKING:
    from synkora.sockets.namespace_core import NamespaceCore
    from synkora.sockets.socket import Socket

T = TypeVar("T")

#: Reasons for which a connection is lost, so that its client may return. The others end the session.
LOST: Final = frozenset(
    (
        Reason.TRANSPORT_CLOSE,
        Reason.TRANSPORT_ERROR,
        Reason.PING_TIMEOUT,
        Reason.FORCED_SERVER_CLOSE,
        Reason.SERVER_SHUTTING_DOWN,
    )
)
#: Events of one replay.
REPLAY_BOUNDS: Final = (0, 1, 10, 100, 1000, 10_000)
_MOST_LEFT: Final = 100  # rooms; a page leaves and joins a few at a time
_LONGEST_PID: Final = 64  # characters; a pid has 20
_BLANKS: Final = b" \t\r\n"
#: What a client that returns has in the payload of CONNECT: its session's secret id, and its last event's position.
RETURN_KEYS: Final = ("pid", "offset")


class RecoveryOutcome(StrEnum):
    """What became of a client that brought a `pid`. The values are labels of metrics.

    After `EPOCH`, `TRIMMED`, `TOO_MANY` and `DECLINED` the client is in its rooms again, without a replay; after the
    rest nothing is restored.
    """

    RECOVERED = "recovered"
    EPOCH = "epoch"  # the log has lost its memory since
    TRIMMED = "trimmed"  # missed events are no longer kept
    TOO_MANY = "too_many"  # more was missed than one replay may have
    DECLINED = "declined"  # by the application
    UNKNOWN = "unknown"  # the session has ended, is too old, or was never there
    OTHER_USER = "other_user"
    REFUSED = "refused"  # the CONNECT


class Return(NamedTuple):
    """What a client brings that was here before."""

    pid: str
    offset: object


class SocketRecovery:
    """What lets the client of a socket return.

    `session` is as it was saved last, and before the reply to CONNECT as it was found. `joined` has for each room the
    number of the last event before the join, and `left` for rooms that were left that number and the last one before
    the leave. `after` is where a replay starts; `outcome` says whether there is one.
    """

    __slots__ = ("after", "began", "joined", "left", "missed", "outcome", "pid", "session")

    def __init__(self, pid: str, began: Position) -> None:
        self.pid = pid
        self.began = began
        self.session: SavedSession | None = None
        self.joined: dict[str, int] = {}
        self.left: dict[str, tuple[int, int]] = {}
        self.after: Position | None = None
        self.outcome: RecoveryOutcome | None = None
        self.missed: list[LoggedEvent] = []

    @property
    def is_recovered(self) -> bool:
        """Whether the client misses nothing."""
        return self.outcome is RecoveryOutcome.RECOVERED


class NamespaceRecovery:
    """The event log and the sessions of a namespace.

    A replay has at most `max_replay` bytes. `outcomes` counts the clients that returned, and `replays` measures their
    replays in events; `replayed_bytes` is the sum of their bytes.
    """

    def __init__(self, core: "NamespaceCore", store: RecoveryStore, max_replay: int) -> None:
        self._core = core
        self._store = store
        self._max_replay = max_replay
        self._compress = True
        self._returning: dict[str, Socket] = {}  # by pid: sockets whose CONNECT is being decided
        self.log = store.log(core.name, self._deliver)
        self._sessions = store.sessions(core.name)
        self.outcomes: Counter[RecoveryOutcome] = Counter()
        self.replays = Histogram(REPLAY_BOUNDS)
        self.replayed_bytes = 0

    def forget(self) -> None:
        """Drop all that is kept, since the namespace is given up."""
        self._store.forget(self._core.name)

    # Events

    def publish(self, draft: packets.Draft, rooms: tuple[str, ...], except_rooms: tuple[str, ...] = ()) -> None:
        """Keep an event, and send it with its position. `compress` is not kept: a replay is compressed as usual."""
        data, attachments, self._compress, key = draft
        self.log.append(data, attachments, rooms, except_rooms, key)

    def _deliver(self, event: LoggedEvent) -> None:
        data = self.log.position.after_event(event.data)
        message = packets.event_of_json(self._core.name, data, event.attachments, compress=self._compress)
        self._core.adapter.broadcast(message, event.rooms, event.except_rooms)

    def with_position(self, message: Message) -> Message:
        """Add the position to an event that is not kept, if its last element is a string.

        The client would take that string for its position.
        """
        if not message.data[:-1].rstrip(_BLANKS).endswith(b'"'):
            return message
        data = self.log.position.after_event(message.data)
        return Message(
            data, message.attachments, head=message.head, volatile=message.volatile, compress=message.compress
        )

    # A client that returns

    @staticmethod
    def take_return(auth: dict[str, Any]) -> Return | None:
        """Remove pid and offset from the payload of CONNECT, and return them; None without a pid."""
        pid, offset = (auth.pop(key, None) for key in RETURN_KEYS)
        if not isinstance(pid, str) or not 0 < len(pid) <= _LONGEST_PID:
            return None
        return Return(pid, offset)

    async def resume(self, socket: "Socket", brought: Return) -> None:
        """Give a socket that the middleware has admitted the id and rooms of its session, and end the old connection.

        A session is its user's alone: nobody else can use it up.
        """
        rival = self._returning.get(brought.pid)
        session = await self._sessions.take(brought.pid) if rival is None else _session_of(rival)
        if session is None:
            self.outcomes[RecoveryOutcome.UNKNOWN] += 1
            return
        is_same_user = session.identity == socket.identity
        if not is_same_user or not socket._is_connecting:
            if rival is None:
                self._sessions.save(session)
            if not is_same_user:
                self.outcomes[RecoveryOutcome.OTHER_USER] += 1
            return
        if rival is not None:  # an earlier attempt, over a connection that only seems alive
            rival._recovery = None
            rival._session.close(Reason.TRANSPORT_CLOSE)
        found = socket._recovery = SocketRecovery(session.pid, session.began)
        found.session = session
        self._returning[session.pid] = socket
        older = self._core.sockets.get(session.sid)
        if older is not None:
            older._recovery = None
            older._session.close(Reason.TRANSPORT_CLOSE)
        socket.id = session.sid
        socket._rooms = set(session.rooms)
        found.joined = dict(zip(session.rooms, session.joined, strict=True))
        offset = parse(brought.offset)
        if brought.offset is not None and offset is None:
            found.outcome = RecoveryOutcome.EPOCH  # of another server
        else:
            found.after = later(offset, session.began)
            await self.read(socket)

    async def read(self, socket: "Socket") -> None:
        """Read what a socket that returns has missed in the rooms that it is in, unless its recovery was declined."""
        found = socket._recovery
        if found is None or found.after is None or found.outcome not in (None, RecoveryOutcome.RECOVERED):
            return
        missed = await self._read(socket.id, found.joined, socket._rooms or (), found.after)
        if isinstance(missed, Incomplete):
            found.missed = []
            found.outcome = RecoveryOutcome(missed.value)
        else:
            found.missed = missed
            found.outcome = RecoveryOutcome.RECOVERED

    async def _read(
        self, sid: str, joined: dict[str, int], rooms: "set[str] | tuple[()]", after: Position
    ) -> list[LoggedEvent] | Incomplete:
        """Read each room from where the socket joined it, if that is later."""
        if after.epoch != self.log.position.epoch or after.number > self.log.position.number:
            return Incomplete.EPOCH
        starts: dict[int, set[str]] = {after.number: {sid}}
        for room in rooms:
            if room in joined:
                starts.setdefault(max(after.number, joined[room]), {sid}).add(room)
        found: dict[int, LoggedEvent] = {}
        for number, group in starts.items():
            events = await self.log.read(group, Position(after.epoch, number))
            if isinstance(events, Incomplete):
                return events
            for event in events:
                if len(starts) == 1 or not any(room in rooms for room in event.except_rooms):
                    found[event.number] = event
        if sum(event.size for event in found.values()) > self._max_replay:
            return Incomplete.TOO_MANY
        return [found[number] for number in sorted(found)]

    def decline(self, socket: "Socket") -> None:
        """Let a returning socket have its rooms, but no replay."""
        if socket._recovery is not None:
            socket._recovery.missed = []
            socket._recovery.outcome = RecoveryOutcome.DECLINED

    def settled(self, socket: "Socket") -> None:
        """End the return of a socket that was admitted or refused; give the session of a refused one back."""
        found = socket._recovery
        if found is None or self._returning.get(found.pid) is not socket:
            return
        del self._returning[found.pid]
        session = found.session
        if session is not None and not socket.connected:
            self.outcomes[RecoveryOutcome.REFUSED] += 1
            self._sessions.save(session if session.lost_at is not None else _lost(session))

    def open(self, socket: "Socket") -> None:
        """Replay what a connected socket has missed, then answer its CONNECT, and save its session."""
        found = socket._recovery
        position = self.log.position
        if found is not None and found.outcome is not None:
            self.outcomes[found.outcome] += 1
        if found is None or not found.is_recovered:
            if found is not None:
                self._returning.pop(found.pid, None)
            found = socket._recovery = SocketRecovery(new_id(), position)
        else:
            self._replay(socket, found)
        for room in socket._rooms or ():
            found.joined.setdefault(room, position.number)
        reply = encode_packet(PacketType.CONNECT, socket.namespace, {"sid": socket.id, "pid": found.pid})
        socket._session.outbox.put(Message(reply))
        self._save(socket, found)

    def _replay(self, socket: "Socket", found: SocketRecovery) -> None:
        missed, found.missed = found.missed, []
        epoch = self.log.position.epoch
        for event in missed:
            data = Position(epoch, event.number).after_event(event.data)
            socket._session.outbox.put(packets.event_of_json(socket.namespace, data, event.attachments))
        self.replays.observe(len(missed))
        self.replayed_bytes += sum(event.size for event in missed)

    # Sessions

    def joined(self, socket: "Socket", rooms: tuple[str, ...]) -> None:
        """Save that a connected socket has joined rooms."""
        found = socket._recovery
        if found is not None and not found.joined.keys() >= set(rooms):
            position = self.log.position
            for room in rooms:
                if room not in found.joined:
                    found.joined[room] = self._joined_at(socket.id, found, room, position)
            self._save(socket, found)

    def _joined_at(self, sid: str, found: SocketRecovery, room: str, position: Position) -> int:
        """Return where a socket's membership begins: if nothing has happened since it left the room, where it did.

        What was sent before the leave may not have arrived yet.
        """
        if room not in found.left:
            return position.number
        joined, left = found.left.pop(room)
        since = _at_once(self.log.read((room, sid), Position(position.epoch, left)))
        is_quiet = isinstance(since, list) and not any(room in event.rooms for event in since)
        return joined if is_quiet else position.number

    def left(self, socket: "Socket", rooms: tuple[str, ...]) -> None:
        """Save that a connected socket has left rooms."""
        found = socket._recovery
        if found is not None and not found.joined.keys().isdisjoint(rooms):
            if len(found.left) >= _MOST_LEFT:
                found.left.clear()
            for room in rooms:
                if room in found.joined:
                    found.left[room] = (found.joined.pop(room), self.log.position.number)
            self._save(socket, found)

    def _save(self, socket: "Socket", found: SocketRecovery) -> None:
        joined = found.joined
        for room in joined.keys() - (socket._rooms or set()):
            del joined[room]
        found.session = SavedSession(
            found.pid, socket.id, socket.identity, tuple(joined), found.began, joined=tuple(joined.values())
        )
        self._sessions.save(found.session)

    def end(self, socket: "Socket", reason: Reason) -> None:
        """Keep the session of a lost connection for its return, and forget the others."""
        found = socket._recovery
        if found is None or found.session is None:
            return
        if reason in LOST:
            self._sessions.save(_lost(found.session))
        else:
            self._sessions.forget(found.pid)


def _session_of(socket: "Socket") -> SavedSession | None:
    return None if socket._recovery is None else socket._recovery.session


def _at_once(reading: Coroutine[Any, Any, T]) -> T | None:
    """Return what a log without a network has read; None for a log that has to wait."""
    try:
        reading.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    reading.close()
    return None


def _lost(session: SavedSession) -> SavedSession:
    return replace(session, lost_at=time())
