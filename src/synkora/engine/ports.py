"""The ports of a session: the transport below, the listener above."""

from typing import Protocol

from synkora.engine.close_reasons import Reason
from synkora.engine.message import Message
from synkora.engine.settings import TransportName


class Transport(Protocol):
    """Carries a session: polling or WebSocket."""

    @property
    def name(self) -> TransportName:
        """The transport's name on the wire."""
        ...

    @property
    def writable(self) -> bool:
        """Whether the transport accepts messages now."""
        ...

    def send(self, messages: list[Message]) -> None:
        """Send messages in order, without waiting."""
        ...

    @property
    def close_packet(self) -> Message | None:
        """The packet that ends a session over this transport, or None."""
        ...

    def seconds_since_progress(self) -> float:
        """Seconds since the latest part of an incomplete message; infinite without one."""
        ...

    def drain(self, reason: Reason) -> bool:
        """Announce the end to the client and keep receiving; return False if the transport can only be closed.

        Nothing is sent afterwards, except last messages that the client fetches by polling.
        """
        ...

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """End the connection; return False if the client may still fetch messages from the outbox."""
        ...

    @property
    def has_unread(self) -> bool:
        """Whether the server's memory has bytes of earlier messages that the client has not read."""
        ...

    def limit_unread(self, *, ended: bool) -> None:
        """Limit the time for what the client has not read. If the session has not ended, it may read on slowly."""
        ...

    def discard(self) -> None:
        """Detach from a session that has ended or uses another transport now."""
        ...


class SessionListener(Protocol):
    """Handles a session's messages and its end."""

    def on_message(self, data: bytes) -> None:
        """Handle a text message. Raises `ProtocolError` to end the connection."""
        ...

    def on_binary(self, data: bytes) -> None:
        """Handle a binary message. Raises `ProtocolError` to end the connection."""
        ...

    def on_close(self, reason: Reason) -> None:
        """Handle the end of the session."""
        ...
