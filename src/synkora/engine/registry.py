"""The sessions by id, and their shared timers and counters."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol
from weakref import WeakValueDictionary

from synkora.engine.backlog import StrangersBacklog
from synkora.engine.close_reasons import Reason
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.handshake import HandshakeRefused, Refusal, check
from synkora.engine.heartbeat import Heartbeat
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.engine.message import ControlPacket
from synkora.engine.origins import refused_origin
from synkora.engine.outbox import Flusher
from synkora.engine.ports import SessionListener, Transport
from synkora.engine.request import Request
from synkora.engine.session import Session, State
from synkora.engine.settings import EngineSettings
from synkora.engine.timeouts import TimeoutQueue
from synkora.engine.turn_budget import TurnBudget
from synkora.engine.unfinished import STRANGERS_FREE, UnfinishedMessages
from synkora.protocol.engineio import open_packet

#: Seconds of a turn. Most of these requests are of members, and some name sessions that do not exist.
_ELSEWHERE: Final = 0.005

LINGER = 30  # seconds; how long a session's last messages wait for a poll
LAST_LINGER = 2  # seconds; the same while the server closes: a connected client polls immediately
COMPLETION = 30  # seconds for the next part of an incomplete message: fragments, attachments


class PartialMessage(Protocol):
    """A connection that waits for the rest of a message."""

    def message_timed_out(self) -> None:
        """End the connection: the rest of the message did not arrive in time."""
        ...

    def __hash__(self) -> int: ...


#: Decides whether a request may open a session, and returns headers for its response. Raises `HandshakeRefused`.
Ask = Callable[[Request], Awaitable[list[tuple[bytes, bytes]]]]


def new_id() -> str:
    """Return a random id of 20 characters of URL-safe base64."""
    return secrets.token_urlsafe(15)


class Registry:
    """Opens sessions, finds them by id, and removes them after their end.

    `accept` is called with each new session and returns its listener.
    """

    def __init__(
        self,
        settings: EngineSettings,
        accept: Callable[[Session], SessionListener],
        connection_limiter: ConnectionLimiter | None = None,
    ) -> None:
        self.settings = settings
        self._sid_prefix = f"{settings.instance}." if settings.instance else ""
        self._connection_limiter = connection_limiter or ConnectionLimiter(ConnectionLimits())
        self.flusher = Flusher(settings.write_interval)
        self.inflating = TurnBudget()  # of messages that may inflate to a thousand times their size
        self.strangers = TurnBudget()  # what comes of clients that have not signed in
        self.elsewhere = TurnBudget(_ELSEWHERE)  # requests that name a session of another instance
        self.endings = TurnBudget()  # of connections: thousands of clients may leave at once
        self.arrivals = TurnBudget()  # handshakes and CONNECTs: thousands of clients may return at once
        self.heartbeat = Heartbeat(settings.ping_interval, settings.ping_timeout)
        self.incidents = Incidents()
        self.partial_messages: TimeoutQueue[PartialMessage] = TimeoutQueue(
            COMPLETION, lambda waiting: waiting.message_timed_out()
        )
        self._accept = accept
        self._sessions: dict[str, Session] = {}
        self._unfinished: WeakValueDictionary[str, UnfinishedMessages] = WeakValueDictionary()  # by address
        self._strangers_backlogs: WeakValueDictionary[str, StrangersBacklog] = WeakValueDictionary()  # by address
        self._probes: TimeoutQueue[Session] = TimeoutQueue(
            settings.upgrade_timeout, lambda session: session.probe_failed()
        )
        self._lingering: TimeoutQueue[Session] = TimeoutQueue(LINGER, lambda session: session.linger_timed_out())
        self.ask: Ask | None = None  # the application's own decision on a session, before the limits on clients
        self.is_closing = False
        self.unavailable: tuple[int, str] | None = None  # HTTP status and message for new sessions, if they are refused
        self.open_websockets = 0
        self.opened: Counter[str] = Counter()  # sessions since the start, by their first transport
        self.transports: Counter[str] = Counter()  # current sessions, by their transport

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def admit(self, request: Request) -> None:
        """Check that a session may be opened. Raises `HandshakeRefused`."""
        if self.is_closing:
            raise HandshakeRefused(Refusal.BAD_REQUEST, "Server is shutting down", status=503)
        if self.unavailable is not None:
            status, words = self.unavailable
            raise HandshakeRefused(Refusal.BAD_REQUEST, words, status=status)
        self._connection_limiter.check(request.address)

    def open(self, request: Request, transport: Transport) -> Session:
        """Open a session for an admitted request, and send its handshake."""
        self._connection_limiter.add(request.address)
        session = Session(self._sid_prefix + new_id(), request, transport, self)
        self._sessions[session.sid] = session
        self.opened[transport.name] += 1
        self.transports[transport.name] += 1
        settings = self.settings
        opening = open_packet(
            session.sid,
            settings.upgrades(transport.name),
            settings.ping_interval,
            settings.ping_timeout,
            settings.max_payload,
        )
        session.outbox.put(ControlPacket(opening))
        session.listener = self._accept(session)
        self.heartbeat.start(session)
        return session

    def check_websocket(self, request: Request) -> str | None:
        """Return the session id of a WebSocket's request, or None if the request opens a session.

        Raises `HandshakeRefused`. `admit_websocket` has to follow.
        """
        return check(request, self.settings, self.page_of, websocket=True)

    def admit_websocket(self, request: Request, sid: str | None) -> None:
        """Admit a request that `check_websocket` has let pass. Raises `HandshakeRefused`."""
        if sid is None:
            self.admit(request)
        else:
            self.find(sid)

    def find(self, sid: str) -> Session:
        """Return the session with the id `sid`. Raises `HandshakeRefused` for an unknown id."""
        session = self._sessions.get(sid)
        if session is None:
            raise HandshakeRefused(Refusal.UNKNOWN_SESSION)
        return session

    def budget(self, sid: str) -> TurnBudget:
        """Return what shares the turns with the requests of a session: strangers, sessions of its user, or its own."""
        session = self._sessions.get(sid)
        return self.strangers if session is None else session.request_budget

    def unfinished(self, source: str) -> UnfinishedMessages:
        """Return what the unfinished messages of strangers of an address, or a /64 of IPv6, count for."""
        found = self._unfinished.get(source)
        if found is None:
            found = self._unfinished[source] = UnfinishedMessages("address", STRANGERS_FREE)
        return found

    def strangers_backlog(self, source: str) -> StrangersBacklog:
        """Return what the backlogs of strangers of an address, or a /64 of IPv6, count for."""
        found = self._strangers_backlogs.get(source)
        if found is None:
            found = self._strangers_backlogs[source] = StrangersBacklog()
        return found

    def knows(self, sid: str) -> bool:
        """Whether there is a session with the id `sid`."""
        return sid in self._sessions

    def page_of(self, sid: str) -> str | None:
        """Return the origin of a session's page as reported by trusted proxies; None if unknown."""
        session = self._sessions.get(sid)
        return None if session is None else session.page

    def note_refusal(self, refusal: HandshakeRefused, request: Request) -> None:
        """Count a refused request; a refusal by a stopping server is not an incident."""
        match refusal.status:
            case 403:
                self.incidents.note(IncidentKind.ORIGIN_REFUSED, refused_origin(request), request.address)
            case _ if refusal.limit is not None:
                self.incidents.note_limit(refusal.limit, request.address)
            case 503:
                pass  # the server is stopping
            case _:
                self.incidents.note(IncidentKind.REQUEST_REFUSED, str(refusal), request.address)

    def probe_started(self, session: Session) -> None:
        """Start the timeout of an upgrade."""
        self._probes.add(session)

    def probe_ended(self, session: Session) -> None:
        """Stop the timeout of an upgrade."""
        self._probes.drop(session)

    def upgraded(self, session: Session) -> None:
        """Count a session that has moved from polling to WebSocket."""
        self.transports["polling"] -= 1
        self.transports[session.transport.name] += 1

    def ended(self, session: Session) -> None:
        """Remove a session, or start the linger timeout of a closing one."""
        self.heartbeat.stop(session)
        if session.state is State.CLOSING:
            self._lingering.add(session)
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._lingering.drop(session)
        if self._sessions.pop(session.sid, None) is not None:
            self._connection_limiter.remove(session.request.address)
            self.transports[session.transport.name] -= 1

    def stop_accepting(self) -> None:
        """Refuse new sessions; open sessions continue."""
        self.is_closing = True

    def close(self) -> None:
        """End all sessions and refuse new ones; closing sessions have `LAST_LINGER` seconds left."""
        self.stop_accepting()
        for session in list(self._sessions.values()):
            session.close(Reason.SERVER_SHUTTING_DOWN)
        if self._sessions:
            asyncio.get_running_loop().call_later(LAST_LINGER, self._give_up)
        self.heartbeat.cancel()
        self._probes.cancel()
        self.partial_messages.cancel()

    def _give_up(self) -> None:
        for session in list(self._sessions.values()):
            session.linger_timed_out()

    @property
    def is_drained(self) -> bool:
        """Whether all clients have got their last messages and disconnected."""
        return not self._sessions and not self.open_websockets
