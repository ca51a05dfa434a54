"""The polling transport of one session: its open poll and an unread response. It recognises repeated requests."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from synkora.engine.close_reasons import ORDERLY, Reason
from synkora.engine.message import CLOSE, NOOP, Message
from synkora.engine.settings import TransportName
from synkora.protocol.errors import ProtocolError


class PollConnection(Protocol):
    """The connection of a poll."""

    def has_unread(self) -> bool:
        """Whether the client has yet to read bytes of its last response."""
        ...

    def limit_unread(self, *, ended: bool) -> None:
        """Limit the time for these bytes: they count for nobody any more. If `ended` is false, progress extends it."""
        ...


class _AnyConnection:
    """A connection that the server cannot look into."""

    def has_unread(self) -> bool:
        return False

    def limit_unread(self, *, ended: bool) -> None: ...


_ANY: Final = _AnyConnection()


class PollingTransport:
    """The pending poll of one session, and the responses to it."""

    name: TransportName = "polling"

    __slots__ = ("_connection", "_last_poll", "_last_post", "_poll", "failed", "is_posting", "progressed_at")

    def __init__(self) -> None:
        self._poll: Callable[[list[Message]], None] | None = None
        self._connection: PollConnection = _ANY  # of the last poll
        self._last_poll: str | None = None  # stamps of the last requests
        self._last_post: str | None = None
        self.is_posting = False
        self.failed = False
        self.progressed_at: float | None = None  # time of the latest part of a POST, None without a POST

    @property
    def writable(self) -> bool:
        """Whether a poll is pending."""
        return self._poll is not None

    def send(self, messages: list[Message]) -> None:
        """Respond to the pending poll."""
        poll, self._poll = self._poll, None
        if poll is not None:
            poll(messages)

    @property
    def close_packet(self) -> Message:
        return CLOSE

    def seconds_since_progress(self) -> float:
        """Seconds since the latest part of a POST that is being received."""
        return inf if self.progressed_at is None else asyncio.get_running_loop().time() - self.progressed_at

    def drain(self, reason: Reason) -> bool:
        """Always True: the poll after the last messages tells the client."""
        return True

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Return whether the session ends immediately; otherwise its last messages wait for another poll.

        After a protocol error in a POST they wait: the client is connected and does not know yet.
        """
        self.failed = error is not None or reason not in ORDERLY
        return self.failed and not isinstance(error, ProtocolError)

    @property
    def has_unread(self) -> bool:
        """Whether the client has yet to read bytes of the last response."""
        return self._connection.has_unread()

    def limit_unread(self, *, ended: bool) -> None:
        """Limit the time for the last response."""
        self._connection.limit_unread(ended=ended)

    def discard(self) -> None:
        """Release the pending poll. A client that upgrades has read the last response before."""
        if self._poll is not None:
            self.send([NOOP])
        self.limit_unread(ended=True)

    def has_left_unread(self, connection: PollConnection | None) -> bool:
        """Whether the client has not read the last response, and polls over another connection."""
        return self._connection is not connection and self.has_unread

    def lost_answer_to(self, stamp: str | None) -> bool:
        """Whether a poll is sent again: the client did not get the response to it, and what was in it."""
        return stamp is not None and stamp == self._last_poll

    def note_post(self, stamp: str | None) -> bool:
        """Note a post; return False if it repeats the one before, since a proxy or browser missed the response."""
        is_new = stamp is None or stamp != self._last_post
        self._last_post = stamp
        return is_new

    def open_poll(
        self,
        answer: Callable[[list[Message]], None],
        connection: PollConnection | None,
        stamp: str | None = None,
    ) -> None:
        """Store a pending poll. `answer` is called once, with the messages to send.

        `connection` knows whether the client has yet to read the response, also after the answer.
        """
        self._poll = answer
        self._connection = connection or _ANY
        self._last_poll = stamp

    def abandon_poll(self) -> None:
        """Drop the pending poll."""
        self._poll = None
