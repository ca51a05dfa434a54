"""What a session stands on, and what stands on it."""

from typing import Protocol

from synkora.engine.disconnect import Reason
from synkora.engine.message import Message
from synkora.engine.settings import TransportName


class Transport(Protocol):
    """What carries a session."""

    @property
    def name(self) -> TransportName:
        """Its name on the wire."""
        ...

    @property
    def writable(self) -> bool:
        """Whether it takes messages now."""
        ...

    def send(self, messages: list[Message]) -> None:
        """Take messages, in order, without waiting."""
        ...

    @property
    def close_packet(self) -> Message | None:
        """The packet that ends a session over it, if it takes one."""
        ...

    def silent_for(self) -> float:
        """Seconds since the latest part of a message that is still on its way; infinite where there is none."""
        ...

    def drain(self, reason: Reason) -> bool:
        """Tell the client that the connection ends, and go on receiving; return False where it can only be closed.

        Nothing is sent over it afterwards, unless the client is to come for its last messages.
        """
        ...

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """End the connection; return False where the client may still come for what is in the outbox."""
        ...

    def discard(self) -> None:
        """Let go of the client, which has left, or goes on over another transport."""
        ...


class SessionListener(Protocol):
    """What stands above a session."""

    def on_message(self, data: bytes) -> None:
        """Take a text message. Raises `ProtocolError` to end the connection."""
        ...

    def on_binary(self, data: bytes) -> None:
        """Take a binary message. Raises `ProtocolError` to end the connection."""
        ...

    def on_close(self, reason: Reason) -> None:
        """Take note that the session has ended."""
        ...
