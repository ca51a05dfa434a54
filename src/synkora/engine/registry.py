"""The sessions by their ids, and what they share."""

import secrets
from collections.abc import Callable

from synkora.engine.deadlines import Deadlines
from synkora.engine.disconnect import Reason
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.heartbeat import Heartbeat
from synkora.engine.outbox import Flusher
from synkora.engine.request import Request
from synkora.engine.session import Listener, Session, State, Transport
from synkora.engine.settings import EngineSettings
from synkora.protocol.engineio import open_packet

LINGER = 30  # seconds: how long the last messages of a session wait for a poll


def new_id() -> str:
    """A random id of 20 characters of URL-safe base64."""
    return secrets.token_urlsafe(15)


class Registry:
    """Opens sessions, finds them, and forgets them when they end.

    `accept` is called with each new session and returns what listens to it.
    """

    def __init__(self, settings: EngineSettings, accept: Callable[[Session], Listener]) -> None:
        self.settings = settings
        self.flusher = Flusher()
        self.heartbeat = Heartbeat(settings.ping_interval, settings.ping_timeout)
        self._accept = accept
        self._sessions: dict[str, Session] = {}
        self._probes: Deadlines[Session] = Deadlines(settings.upgrade_timeout, lambda session: session.probe_failed())
        self._lingering: Deadlines[Session] = Deadlines(LINGER, self._forget)
        self.is_closing = False
        self.open_websockets = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, request: Request, transport: Transport) -> Session:
        """A new session, its handshake on the way. Raises `HandshakeRefused` while the server is closing."""
        if self.is_closing:
            raise HandshakeRefused(Refusal.BAD_REQUEST, "Server is shutting down", status=503)
        session = Session(new_id(), request, transport, self)
        self._sessions[session.sid] = session
        settings = self.settings
        session.send(
            open_packet(
                session.sid,
                settings.upgrades(transport.name),
                settings.ping_interval,
                settings.ping_timeout,
                settings.max_payload,
            )
        )
        session.listener = self._accept(session)
        self.heartbeat.start(session)
        return session

    def find(self, sid: str) -> Session:
        """The session with the id `sid`. Raises `HandshakeRefused` where there is none."""
        session = self._sessions.get(sid)
        if session is None:
            raise HandshakeRefused(Refusal.UNKNOWN_SESSION)
        return session

    def probe_started(self, session: Session) -> None:
        """Give an upgrade its time."""
        self._probes.add(session)

    def probe_ended(self, session: Session) -> None:
        """Stop that time."""
        self._probes.drop(session)

    def ended(self, session: Session) -> None:
        """Forget a session, or give one that lingers its time."""
        self.heartbeat.stop(session)
        if session.state is State.CLOSING:
            self._lingering.add(session)
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._lingering.drop(session)
        self._sessions.pop(session.sid, None)

    def close(self) -> None:
        """End all sessions and open no more."""
        self.is_closing = True
        for session in list(self._sessions.values()):
            session.close(Reason.SERVER_SHUTTING_DOWN)
        self.heartbeat.cancel()
        self._probes.cancel()

    @property
    def is_drained(self) -> bool:
        """Whether every client has taken what it was sent, and is gone."""
        return not self._sessions and not self.open_websockets
