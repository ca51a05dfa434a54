"""The pings of all sessions, on two timers.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "Heartbeat": the server pings, the client answers.
"""

from typing import Protocol

from synkora.engine.timeouts import TimeoutQueue


class HeartbeatTarget(Protocol):
    """A connection with a heartbeat."""

    def ping(self) -> None: ...

    def ping_timed_out(self) -> None:
        """End the connection: no pong arrived in time."""
        ...

    def __hash__(self) -> int: ...


class Heartbeat:
    """Pings each session `interval` seconds after its last pong, and gives it `timeout` seconds to answer."""

    def __init__(self, interval: float, timeout: float) -> None:
        self._pings: TimeoutQueue[HeartbeatTarget] = TimeoutQueue(interval, self._ping)
        self._pongs: TimeoutQueue[HeartbeatTarget] = TimeoutQueue(timeout, lambda session: session.ping_timed_out())

    def start(self, session: HeartbeatTarget) -> None:
        """Start the heartbeat of a new session."""
        self._pings.add(session)

    def pong(self, session: HeartbeatTarget) -> None:
        """Record a pong; an unexpected pong changes nothing."""
        if session in self._pongs:
            self._pongs.drop(session)
            self._pings.add(session)

    def extend(self, session: HeartbeatTarget) -> None:
        """Restart the timeout of a session that owes a pong."""
        self._pongs.add(session)

    def stop(self, session: HeartbeatTarget) -> None:
        """Stop the heartbeat of a session that has ended."""
        self._pings.drop(session)
        self._pongs.drop(session)

    def cancel(self) -> None:
        """Stop all heartbeats."""
        self._pings.cancel()
        self._pongs.cancel()

    def _ping(self, session: HeartbeatTarget) -> None:
        self._pongs.add(session)
        session.ping()
