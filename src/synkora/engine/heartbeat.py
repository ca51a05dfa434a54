"""The pings of all sessions, on two timers.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "Heartbeat": the server pings, the client answers.
"""

from typing import Protocol

from synkora.engine.timeouts import TimeoutQueue


class Pinged(Protocol):
    """What has a heartbeat."""

    def ping(self) -> None:
        """Send a ping."""
        ...

    def ping_timed_out(self) -> None:
        """End, since no pong came."""
        ...

    def __hash__(self) -> int: ...


class Heartbeat:
    """Pings each session `interval` seconds after its last pong, and gives it `timeout` seconds to answer."""

    def __init__(self, interval: float, timeout: float) -> None:
        self._pings: TimeoutQueue[Pinged] = TimeoutQueue(interval, self._ping)
        self._pongs: TimeoutQueue[Pinged] = TimeoutQueue(timeout, lambda session: session.ping_timed_out())

    def start(self, session: Pinged) -> None:
        """Begin with a session that has just opened."""
        self._pings.add(session)

    def pong(self, session: Pinged) -> None:
        """Note an answer; one that was not asked for changes nothing."""
        if session in self._pongs:
            self._pongs.drop(session)
            self._pings.add(session)

    def extend(self, session: Pinged) -> None:
        """Give a session that has a pong to send its whole time for it, from now on."""
        self._pongs.add(session)

    def stop(self, session: Pinged) -> None:
        """Forget a session that has ended."""
        self._pings.drop(session)
        self._pongs.drop(session)

    def cancel(self) -> None:
        """Forget all sessions."""
        self._pings.cancel()
        self._pongs.cancel()

    def _ping(self, session: Pinged) -> None:
        self._pongs.add(session)
        session.ping()
