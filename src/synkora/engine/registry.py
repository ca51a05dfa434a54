"""The sessions by their ids, and what they share."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.disconnect import Reason
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
from synkora.protocol.engineio import open_packet

LINGER = 30  # seconds: how long the last messages of a session wait for a poll
LAST_LINGER = 2  # seconds: the same once the server closes; who is there polls at once
COMPLETION = 30  # seconds that a client has for the next part of a message that it has begun: fragments, attachments


class PartialMessage(Protocol):
    """What waits for the rest of a message."""

    def message_timed_out(self) -> None:
        """End, since it did not come."""
        ...

    def __hash__(self) -> int: ...


def new_id() -> str:
    """A random id of 20 characters of URL-safe base64."""
    return secrets.token_urlsafe(15)


class Registry:
    """Opens sessions, finds them, and forgets them when they end.

    `accept` is called with each new session and returns what listens to it.
    """

    def __init__(
        self,
        settings: EngineSettings,
        accept: Callable[[Session], SessionListener],
        gate: ConnectionLimiter | None = None,
    ) -> None:
        self.settings = settings
        self._before_ids = f"{settings.instance}." if settings.instance else ""
        self._gate = gate or ConnectionLimiter(ConnectionLimits())
        self.flusher = Flusher()
        self.heartbeat = Heartbeat(settings.ping_interval, settings.ping_timeout)
        self.incidents = Incidents()
        self.incomplete: TimeoutQueue[PartialMessage] = TimeoutQueue(
            COMPLETION, lambda waiting: waiting.message_timed_out()
        )
        self._accept = accept
        self._sessions: dict[str, Session] = {}
        self._probes: TimeoutQueue[Session] = TimeoutQueue(
            settings.upgrade_timeout, lambda session: session.probe_failed()
        )
        self._lingering: TimeoutQueue[Session] = TimeoutQueue(LINGER, lambda session: session.linger_timed_out())
        self.is_closing = False
        self.obstacle: tuple[int, str] | None = None  # the status and words for whoever would open a session
        self.open_websockets = 0
        self.opened: Counter[str] = Counter()  # sessions ever, by their first transport
        self.transports: Counter[str] = Counter()  # sessions now, by their transport

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def admit(self, request: Request) -> None:
        """Make sure that a session may be opened. Raises `HandshakeRefused`."""
        if self.is_closing:
            raise HandshakeRefused(Refusal.BAD_REQUEST, "Server is shutting down", status=503)
        if self.obstacle is not None:
            status, words = self.obstacle
            raise HandshakeRefused(Refusal.BAD_REQUEST, words, status=status)
        self._gate.check(request.address)

    def open(self, request: Request, transport: Transport) -> Session:
        """A new session, its handshake on the way, for a request that has been admitted."""
        self._gate.enter(request.address)
        session = Session(self._before_ids + new_id(), request, transport, self)
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

    def admit_websocket(self, request: Request) -> str | None:
        """The id of the session that a WebSocket is to carry, None for a new session. Raises `HandshakeRefused`."""
        sid = check(request, self.settings, self.page_of, websocket=True)
        if sid is None:
            self.admit(request)
        else:
            self.find(sid)
        return sid

    def find(self, sid: str) -> Session:
        """The session with the id `sid`. Raises `HandshakeRefused` where there is none."""
        session = self._sessions.get(sid)
        if session is None:
            raise HandshakeRefused(Refusal.UNKNOWN_SESSION)
        return session

    def page_of(self, sid: str) -> str | None:
        """The origin of the page that trusted proxies have brought to a session; None where that is not known."""
        session = self._sessions.get(sid)
        return None if session is None else session.page

    def note_refusal(self, refusal: HandshakeRefused, request: Request) -> None:
        """Count a request that was refused; that the server stops is no incident."""
        match refusal.status:
            case 403:
                self.incidents.note(IncidentKind.ORIGIN_REFUSED, refused_origin(request), request.address)
            case _ if refusal.limit is not None:
                self.incidents.note_limit(refusal.limit, request.address)
            case 503:
                pass  # the server stops
            case _:
                self.incidents.note(IncidentKind.REQUEST_REFUSED, str(refusal), request.address)

    def probe_started(self, session: Session) -> None:
        """Give an upgrade its time."""
        self._probes.add(session)

    def probe_ended(self, session: Session) -> None:
        """Stop that time."""
        self._probes.drop(session)

    def upgraded(self, session: Session) -> None:
        """Take note that a session has gone from polling to WebSocket."""
        self.transports["polling"] -= 1
        self.transports[session.transport.name] += 1

    def ended(self, session: Session) -> None:
        """Forget a session, or give one that lingers its time."""
        self.heartbeat.stop(session)
        if session.state is State.CLOSING:
            self._lingering.add(session)
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._lingering.drop(session)
        if self._sessions.pop(session.sid, None) is not None:
            self._gate.leave(session.request.address)
            self.transports[session.transport.name] -= 1

    def shut(self) -> None:
        """Open no more sessions; those that are open go on."""
        self.is_closing = True

    def close(self) -> None:
        """End all sessions and open no more; those that linger have `LAST_LINGER` seconds left."""
        self.shut()
        for session in list(self._sessions.values()):
            session.close(Reason.SERVER_SHUTTING_DOWN)
        if self._sessions:
            asyncio.get_running_loop().call_later(LAST_LINGER, self._give_up)
        self.heartbeat.cancel()
        self._probes.cancel()
        self.incomplete.cancel()

    def _give_up(self) -> None:
        for session in list(self._sessions.values()):
            session.linger_timed_out()

    @property
    def is_drained(self) -> bool:
        """Whether every client has taken what it was sent, and is gone."""
        return not self._sessions and not self.open_websockets
