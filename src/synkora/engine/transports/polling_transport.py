"""The polls of one session, and the payloads they are answered with."""

import asyncio
from collections.abc import Callable
from math import inf

from synkora.engine.disconnect import ORDERLY, Reason
from synkora.engine.message import CLOSE, NOOP, Message
from synkora.engine.settings import TransportName
from synkora.protocol.errors import ProtocolError


def _never() -> bool:
    return False


class PollingTransport:
    """The polls of one session, and what they are answered with."""

    name: TransportName = "polling"

    __slots__ = ("_has_unread", "_poll", "failed", "is_posting", "progressed_at")

    def __init__(self) -> None:
        self._poll: Callable[[list[Message]], None] | None = None
        self._has_unread: Callable[[], bool] = _never
        self.is_posting = False
        self.failed = False
        self.progressed_at: float | None = None  # when the latest part of a POST came

    @property
    def writable(self) -> bool:
        """Whether a poll waits."""
        return self._poll is not None

    def send(self, messages: list[Message]) -> None:
        """Answer the poll that waits."""
        poll, self._poll = self._poll, None
        if poll is not None:
            poll(messages)

    @property
    def close_packet(self) -> Message:
        """The packet that ends a session."""
        return CLOSE

    def silent_for(self) -> float:
        """Seconds since the latest part of a POST that is still on its way."""
        return inf if self.progressed_at is None else asyncio.get_running_loop().time() - self.progressed_at

    def drain(self, reason: Reason) -> bool:
        """Leave it to the poll after the last messages to tell the client."""
        return True

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Return whether the session is over at once, or its last messages may wait for another poll.

        They may after an error in a POST: the client is there, and does not know yet.
        """
        self.failed = error is not None or reason not in ORDERLY
        return self.failed and not isinstance(error, ProtocolError)

    def discard(self) -> None:
        """Release the poll that waits."""
        if self._poll is not None:
            self.send([NOOP])

    def has_left_unread(self, connection: Callable[[], bool] | None) -> bool:
        """Whether the last answer still waits for the client, on another connection than this one."""
        return self._has_unread is not connection and self._has_unread()

    def open_poll(self, answer: Callable[[list[Message]], None], has_unread: Callable[[], bool] | None) -> None:
        """Have a poll wait, to be answered once, with what there is to send.

        When the next one comes, `has_unread` says whether the answer still waits for the client.
        """
        self._poll = answer
        self._has_unread = has_unread or _never

    def abandon_poll(self) -> None:
        """Forget the poll that waits."""
        self._poll = None
