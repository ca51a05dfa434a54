"""Recovery in one namespace: events that are kept, and clients that return and get their socket id and rooms back."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Set
from functools import partial
from time import time
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from msgspec.structs import replace

from synkora.engine.close_reasons import Reason
from synkora.engine.histogram import Histogram
from synkora.engine.message import Message
from synkora.engine.registry import new_id
from synkora.protocol.socketio import PacketType, encode_header, encode_packet
from synkora.recovery.ports import NOT_KEPT, Incomplete, LoggedEvent, Missed, RecoveryStore, SavedSession
from synkora.recovery.position import Ahead, Position, after_event, later, parse
from synkora.sockets import packets
from synkora.sockets.event_traces import begin_append, begin_delivery
from synkora.sockets.socket_recovery import LOST, Left, RecoveryOutcome, ReplaySize, Return, SocketRecovery
from synkora.tracing import NO_TRACE, NO_TRACER, Trace

if TYPE_CHECKING:
    from synkora.sockets.namespace_core import NamespaceCore
    from synkora.sockets.socket import Socket

#: Events of one replay.
REPLAY_BOUNDS: Final = (0, 1, 10, 100, 1000, 10_000)
_RETURN: Final = 0.001  # seconds that it takes to read and encode what a client has missed
_MOST_LEFT: Final = 100  # rooms; a page leaves and joins a few at a time
_MOST_OUTLIVED: Final = 10  # epochs
_SLICE: Final = 500  # events of a replay that are encoded in one turn; a few milliseconds
_BLANKS: Final = b" \t\r\n"
#: What it costs to find out that too much was missed.
_TOO_MANY: Final = ReplaySize(events=1000)


class _Place:
    """A place in a shared log, before it is known; `first` is the first event that was delivered here since."""

    __slots__ = ("first",)

    def __init__(self) -> None:
        self.first: int | None = None


class _LoggedMessage(Message):
    """A message with an event of the log."""

    __slots__ = ()


class NamespaceRecovery:
    """The event log and the sessions of a namespace.

    A replay has at most `max_replay` bytes, and is declined for a client that `may_replay` says no to. `count_read` is
    called after each read for a client, with the number of events that were read in vain (the client's own, or all of
    those that are too many), and with the size of those that were found for it.
    `outcomes` counts the clients that returned, and `replays` measures their replays in events; `replayed_bytes` is the
    sum of their bytes. `about` returns what the application keeps with a socket's session; `on_start` gets the
    sessions that the previous process has left.
    """

    def __init__(self, core: "NamespaceCore", store: RecoveryStore, max_replay: int) -> None:
        self._core = core
        self._store = store
        self._max_replay = max_replay
        self.may_replay: Callable[[Socket], bool] = lambda _: True
        self.count_read: Callable[[Socket, int, ReplaySize], None] = lambda _, in_vain, found: None
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by identity
        self.about: Callable[[Socket], bytes] = lambda _: b""
        self.on_start: Callable[[Collection[SavedSession]], None] = lambda _: None
        self.tracer = NO_TRACER
        self._replayed: WeakValueDictionary[Position, Message] = WeakValueDictionary()  # as long as clients wait
        self._compress = True
        self._head = encode_header(PacketType.EVENT, core.name)  # of events without attachments
        self._places: set[_Place] = set()  # that are being learnt, without an event since
        self._returning: dict[str, Socket] = {}  # by pid: sockets whose CONNECT is being decided
        self.log = store.log(core.name, self._deliver)
        self.log.on_new_epoch = self._continue
        self._sessions = store.sessions(core.name, self._taken)
        self.outcomes: Counter[RecoveryOutcome] = Counter()
        self.replays = Histogram(REPLAY_BOUNDS)
        self.replayed_bytes = 0

    def start(self) -> None:
        """Report the sessions of the previous process: the store has loaded its files."""
        self.on_start(self._sessions.lost)

    def forget(self) -> None:
        """Drop everything: the namespace is removed."""
        self._store.forget(self._core.name)

    # Events

    def publish(
        self,
        draft: packets.Draft,
        rooms: tuple[str, ...],
        except_rooms: tuple[str, ...] = (),
        *,
        members_only: bool = False,
        trace: Trace = NO_TRACE,
    ) -> None:
        """Keep an event, and send it with its position. `compress` is not kept: a replay is compressed as usual.

        An event for `members_only` does not reach a socket whose id is the name of the room. `trace` is continued.
        """
        self._compress = draft.compress
        if trace is not NO_TRACE:
            trace = begin_append(self.tracer, trace, draft, rooms)
        event = LoggedEvent(0, draft.data, draft.attachments, rooms, except_rooms, draft.key, members_only)
        self.log.append(event, trace)

    async def publish_once(
        self,
        draft: packets.Draft,
        rooms: tuple[str, ...],
        except_rooms: tuple[str, ...],
        once: str,
        trace: Trace = NO_TRACE,
    ) -> Position | None:
        """Like `publish`, for members only. The arguments and the result are those of `EventLog.append_once`."""
        self._compress = draft.compress
        with begin_append(self.tracer, trace, draft, rooms) as trace:
            event = LoggedEvent(0, draft.data, draft.attachments, rooms, except_rooms, draft.key, members_only=True)
            return await self.log.append_once(event, once, trace)

    def _deliver(self, event: LoggedEvent) -> None:
        if event.traceparent:
            self._deliver_traced(event)
            return
        log, is_kept = self.log, event.number != NOT_KEPT
        if self._places and is_kept:
            for place in self._places:
                place.first = event.number
            self._places.clear()
        if log.ahead is None and is_kept:
            data = after_event(event.data, log.epoch, event.number)
        else:
            data = log.position.after_event(event.data)
        head = self._head
        if event.attachments:
            head = encode_header(PacketType.BINARY_EVENT, self._core.name, attachments=len(event.attachments))
        make = _LoggedMessage if is_kept else Message
        message = make(data, event.attachments, head, False, self._compress)
        adapter, here = self._core.adapter, self._core.adapter.rooms
        except_rooms = event.except_rooms
        if event.members_only and len(event.rooms) == 1:
            adapter.relay(message, event.rooms[0], except_rooms[0] if except_rooms else None, local=True)
            return
        if self.log.is_shared:  # most of them, such as the sender, are on other instances
            except_rooms = tuple(room for room in except_rooms if room in here or room in here.members)
        adapter.broadcast(message, event.rooms, except_rooms, local=True)

    def _deliver_traced(self, event: LoggedEvent) -> None:
        trace = begin_delivery(self.tracer, event, self._core.adapter.rooms)
        self._deliver(replace(event, traceparent=""))
        if trace is not NO_TRACE:
            asyncio.get_running_loop().call_soon(trace.end)  # after the writes of this turn

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

    async def resume(self, socket: "Socket", brought: Return) -> None:
        """Give a socket that the middleware has admitted the id and rooms of its session, and end the old connection.

        Only the session's own user can use the session up.
        """
        rival = self._returning.get(brought.pid)
        session = await self._sessions.take(brought.pid) if rival is None else _session_of(rival)
        if session is None:
            self.outcomes[RecoveryOutcome.UNKNOWN] += 1
            return
        is_same_user = session.identity == socket.identity
        if session.successor and is_same_user:
            await self._sessions.take(session.successor)  # the reply with it was lost
            self._sessions.forget(session.successor)
        rival = self._returning.get(brought.pid)
        if not is_same_user or not socket._is_connecting:
            if rival is None:
                self._give_back(session)
            if not is_same_user:
                self.outcomes[RecoveryOutcome.OTHER_USER] += 1
            return
        if rival is not None:  # an earlier attempt, over a connection that only seems alive
            rival._recovery = None
            rival._session.close(Reason.TRANSPORT_CLOSE)
        found = socket._recovery = SocketRecovery(session.pid, session.began, session.outlived)
        found.session = session
        self._returning[session.pid] = socket
        self._taken(session.sid)
        socket.id = session.sid
        socket._rooms = set(session.rooms)
        found.joined = dict(zip(session.rooms, session.joined, strict=True))
        await self._begin_reading(socket, session, found, brought)

    async def _begin_reading(
        self, socket: "Socket", session: SavedSession, found: SocketRecovery, brought: Return
    ) -> None:
        """Read what a socket that has got its session back has missed, unless that is declined."""
        # Only clients with a session wait here: strangers cannot use up the turns.
        await self._core.arrivals.complete(_nothing, _RETURN, socket._session.source)
        if not socket._is_connecting or socket._recovery is not found:
            return
        offset = parse(brought.offset)
        if brought.offset is not None and offset is None:
            found.outcome = RecoveryOutcome.EPOCH  # of another server
        elif session.outlived and (offset is None or offset.epoch != session.began.epoch):
            found.outcome = RecoveryOutcome.EPOCH  # what the client has got of an earlier log cannot be compared
        else:
            # One after the other, or all of a user's connections would read before the first read has been counted.
            async with self._reading.setdefault(socket.identity or session.pid, asyncio.Lock()):
                if self.may_replay(socket):
                    found.after = later(offset, session.began)
                    await self.read(socket)
                else:
                    found.outcome = RecoveryOutcome.DECLINED

    async def read(self, socket: "Socket", *, is_last: bool = False) -> None:
        """Read what a socket that returns has missed in the rooms that it is in, unless its recovery was declined.

        With `is_last` the socket enters its rooms: later messages are held for the socket.
        """
        found = socket._recovery
        if found is None or found.after is None or found.outcome not in (None, RecoveryOutcome.RECOVERED):
            return
        rooms = socket._rooms or set()
        if is_last:
            found.held = socket._session.outbox.hold()
            self._core.adapter.rooms.add(socket.id, found.held)
            socket._enter(rooms)
        answered: asyncio.Future[Missed] = asyncio.get_running_loop().create_future()
        joined = {room: number for room, number in found.joined.items() if room in rooms}
        after = found.after if found.until is None else found.until
        self.log.replay(socket.id, joined, after, partial(self._answered, socket, found, answered))
        read = await answered
        self._add(socket, found, read)
        missed = found.missed
        if is_last:
            # Nothing may be awaited: the handler of CONNECT has run.
            found.replay = self._messages(missed, read.until.epoch, read.until.ahead)
            found.missed = []
            return
        for end in range(_SLICE, len(missed), _SLICE):
            found.replay += self._messages(missed[end - _SLICE : end], read.until.epoch)
            await asyncio.sleep(0)
            if not socket._is_connecting or socket._recovery is not found:
                return

    def _answered(
        self,
        socket: "Socket",
        found: SocketRecovery,
        answered: asyncio.Future[Missed],
        read: Missed,
    ) -> None:
        size = _size_of(read.events)  # counted also if the socket has gone meanwhile
        in_vain = read.looked_at - size.events if isinstance(read.events, list) else read.looked_at
        self.count_read(socket, in_vain, size)
        if found.held is not None:
            # What the log has delivered until now is among the missed; what it does not keep is still new.
            found.held.queue[:] = [each for each in found.held.queue if not isinstance(each, _LoggedMessage)]
        if not answered.done():
            answered.set_result(read)

    def _add(self, socket: "Socket", found: SocketRecovery, read: Missed) -> None:
        """Add what was read to what was read before, for the rooms that the socket has not left meanwhile."""
        missed = read.events
        found.size = ReplaySize()
        found.until = read.until
        if isinstance(missed, list):
            joined = found.joined.keys() & (socket._rooms or ())
            missed = [event for event in (*found.missed, *missed) if _is_for(event, socket.id, joined)]
            found.size = _size_of(missed)
            if found.size.bytes > self._max_replay:
                missed = Incomplete.TOO_MANY
        if isinstance(missed, Incomplete):
            found.missed = []
            found.outcome = RecoveryOutcome(missed.value)
        else:
            found.outcome = RecoveryOutcome.RECOVERED
            found.missed = missed

    def _messages(self, missed: list[LoggedEvent], epoch: str, ahead: Ahead | None = None) -> list[Message]:
        """Return missed events as messages, one for all clients that still have to be sent the same event.

        Their numbers are those of the log's `epoch`: another one may have begun since they were read.
        The client keeps the position of the last one alone, which has what the client is `ahead`.
        """
        messages = []
        for event in missed:
            position = Position(epoch, event.number, ahead if event is missed[-1] else None)
            message = self._replayed.get(position)
            if message is None:
                data = position.after_event(event.data)
                if event.attachments:
                    message = packets.event_of_json(self._core.name, data, event.attachments)
                else:
                    message = Message(data, head=self._head)
                self._replayed[position] = message
            messages.append(message)
        return messages

    def settled(self, socket: "Socket") -> None:
        """End the return of a socket that was admitted or refused; give the session of a refused one back."""
        found = socket._recovery
        if found is None or self._returning.get(found.pid) is not socket:
            return
        del self._returning[found.pid]
        if found.session is not None and not socket.connected:
            self.outcomes[RecoveryOutcome.REFUSED] += 1
            self._give_back(found.session)

    def _give_back(self, session: SavedSession) -> None:
        """Save a session that was taken in vain: as a lost one, unless its socket is connected here.

        A connection on another instance has ended because the session was taken.
        """
        socket = self._core.sockets.get(session.sid)
        is_here = socket is not None and socket._recovery is not None and socket._recovery.pid == session.pid
        self._sessions.save(session if is_here or session.lost_at is not None else _lost(session))

    def open(self, socket: "Socket") -> None:
        """Replay what a connected socket has missed, then answer its CONNECT, and save its session."""
        found = socket._recovery
        held = None if found is None else found.held
        if found is not None:
            found.held = None
            if held is not None and held.is_over_limit:
                found.outcome = RecoveryOutcome.TOO_MANY
            if found.outcome is not None:
                self.outcomes[found.outcome] += 1
        position = self.log.position
        if found is None or not found.is_recovered:
            former = None if found is None else found.session
            found = socket._recovery = SocketRecovery(new_id(), position)
            if former is not None:
                self._returning.pop(former.pid, None)
                found.former = former.pid
                self._sessions.save(_lost(replace(former, successor=found.pid)))
            self._locate(socket, found, tuple(socket._rooms or ()), begins=True)
        else:
            self._replay(socket, found)
        for room in socket._rooms or ():
            found.joined.setdefault(room, position.number)
        reply = encode_packet(PacketType.CONNECT, socket.namespace, {"sid": socket.id, "pid": found.pid})
        outbox = socket._session.outbox
        outbox.put(Message(reply))
        for message in () if held is None else held.queue:
            outbox.put(message)
        self._save(socket, found)

    def _replay(self, socket: "Socket", found: SocketRecovery) -> None:
        replay, found.replay = found.replay, []
        socket._session.outbox.put_all(replay)
        self.replays.observe(found.size.events)
        self.replayed_bytes += found.size.bytes

    # Sessions

    def joined(self, socket: "Socket", rooms: tuple[str, ...]) -> None:
        """Save that a connected socket has joined rooms."""
        found = socket._recovery
        if found is None or found.joined.keys() >= set(rooms):
            return
        self._forget_former(found)  # the client has got the reply
        position = self.log.position
        new = tuple(room for room in rooms if room not in found.joined)
        found.joined.update(dict.fromkeys(new, position.number))
        for room in found.left.keys() & set(new):
            self._rejoined(socket, found, room)
        self._locate(socket, found, new)
        self._save(socket, found)

    def _rejoined(self, socket: "Socket", found: SocketRecovery, room: str) -> None:
        """Let a membership begin where it first did, if nothing has happened since the socket left the room.

        What was sent before the leave may not have arrived yet.
        """
        left, epoch = found.left.pop(room), found.began.epoch

        def answered(last: int | None) -> None:
            if room in found.joined and last is not None and last <= left.number and found.began.epoch == epoch:
                found.joined[room] = left.joined
                self._save_again(socket, found)

        self.log.last_in(room, answered)

    def _locate(self, socket: "Socket", found: SocketRecovery, rooms: tuple[str, ...], *, begins: bool = False) -> None:
        """Learn where memberships, and with `begins` the session, begin in a log that others append to."""
        if not self.log.is_shared:
            return
        assumed = self.log.position
        place = _Place()
        self._places.add(place)

        def located(position: Position | None) -> None:
            self._places.discard(place)
            if position is None or found.began.epoch != assumed.epoch:
                return
            position = position._replace(ahead=assumed.ahead)  # Redis may get these events only later
            if place.first is not None and place.first <= position.number:  # it has been sent to the socket
                position = position._replace(number=place.first - 1)
            if begins and found.began == assumed:
                found.began = position
            for room in rooms:
                if found.joined.get(room) == assumed.number:
                    found.joined[room] = position.number
            self._save_again(socket, found)

        self.log.locate(located)

    def _save_again(self, socket: "Socket", found: SocketRecovery) -> None:
        """Save the positions of a shared log, unless the socket has ended meanwhile."""
        if self.log.is_shared and socket.connected and socket._recovery is found:
            self._save(socket, found)

    def _continue(self) -> None:
        """Let the sessions of connected clients continue in a shared log that has begun again."""
        position = self.log.position
        for socket in tuple(self._core.sockets.values()):
            found = socket._recovery
            if found is None or not socket.connected:
                continue
            if found.began.epoch != position.epoch:  # else it has begun in this one, as Redis said
                found.outlived = (*found.outlived, found.began.epoch)[-_MOST_OUTLIVED:]
            found.began = position
            found.joined = dict.fromkeys(found.joined, position.number)
            found.left.clear()
            self._save(socket, found)

    def left(self, socket: "Socket", rooms: tuple[str, ...]) -> None:
        """Save that a connected socket has left rooms."""
        found = socket._recovery
        if found is not None and not found.joined.keys().isdisjoint(rooms):
            if len(found.left) >= _MOST_LEFT:
                found.left.clear()
            for room in rooms:
                if room in found.joined:
                    self._left(found, room)
            self._save(socket, found)

    def _left(self, found: SocketRecovery, room: str) -> None:
        """Learn up to which event a membership was: a shared log may number an edit of the socket's own only now."""
        left = found.left[room] = Left(found.joined.pop(room), self.log.position.number)

        def answered(last: int | None) -> None:
            if last is not None:
                left.number = max(left.number, last)

        self.log.last_in(room, answered)

    def _save(self, socket: "Socket", found: SocketRecovery) -> None:
        joined = found.joined
        for room in joined.keys() - (socket._rooms or set()):
            del joined[room]
        found.session = SavedSession(
            found.pid,
            socket.id,
            socket.identity,
            tuple(joined),
            found.began,
            joined=tuple(joined.values()),
            outlived=found.outlived,
            about=self.about(socket),
        )
        self._sessions.save(found.session)

    def _taken(self, sid: str) -> None:
        """End a connection that only seems alive: its client has returned to another instance."""
        older = [socket for socket in (self._core.sockets.get(sid),) if socket is not None]
        for pid, socket in tuple(self._returning.items()):
            if socket.id == sid:
                del self._returning[pid]
                older.append(socket)
        for socket in older:
            socket._recovery = None
            socket._session.close(Reason.TRANSPORT_CLOSE)

    def end(self, socket: "Socket", reason: Reason) -> None:
        """Keep the session of a lost connection for its return, and forget the others."""
        found = socket._recovery
        if found is None or found.session is None:
            return
        if reason in LOST:
            self._sessions.save(_lost(found.session))
        else:
            self._sessions.forget(found.pid)
            self._forget_former(found)

    def _forget_former(self, found: SocketRecovery) -> None:
        if found.former:
            self._sessions.forget(found.former)
            found.former = ""


def _nothing() -> None:
    """The work of one who waits only for a turn."""


def _is_for(event: LoggedEvent, sid: str, joined: Set[str]) -> bool:
    """Whether an event that a client has missed is for the client with the rooms that it still has."""
    rooms = event.rooms
    return not rooms or not joined.isdisjoint(rooms) or (not event.members_only and sid in rooms)


def _size_of(missed: list[LoggedEvent] | Incomplete) -> ReplaySize:
    """Return the size of what was found, or what it costs to find that it is too much."""
    if isinstance(missed, list):
        return ReplaySize(len(missed), sum(event.size for event in missed))
    return _TOO_MANY if missed is Incomplete.TOO_MANY else ReplaySize()


def _session_of(socket: "Socket") -> SavedSession | None:
    return None if socket._recovery is None else socket._recovery.session


def _lost(session: SavedSession) -> SavedSession:
    return replace(session, lost_at=time())
