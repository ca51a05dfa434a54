"""Messages about the state of something, which a newer state outdates."""

from collections.abc import Hashable, Sequence
from typing import Protocol

from synkora.engine.message import Message
from synkora.protocol.engineio import join_payload


class Subject(Protocol):
    """What updates are about."""

    def renew(self, outbox: object) -> list[Message]:
        """The whole present state, for the client of an outbox that dropped updates; nothing if it needs none."""
        ...

    def concerns(self, outbox: object) -> bool:
        """Whether the client of an outbox is still to get updates."""
        ...


class Update(Message):
    """A message about the state of a subject.

    An outbox may drop it for a client that does not read: the client then gets the whole state when it has read the
    rest. An update with a key `replaces` one with the same key that still waits.
    """

    __slots__ = ("replaces", "subject")

    def __init__(self, data: bytes, subject: Subject, replaces: Hashable | None = None, *, head: bytes = b"") -> None:
        super().__init__(data, head=head)
        self.subject = subject
        self.replaces = replaces


class Bundle(Update):
    """Several updates about one subject, which go out together."""

    __slots__ = ("updates",)

    def __init__(self, updates: Sequence[Update], subject: Subject) -> None:
        super().__init__(b"", subject)
        self.updates = updates
        self.frames = b"".join([update.frames for update in updates])

    def messages(self, *, base64: bool = False) -> list[str | bytes]:
        """Its WebSocket messages."""
        return [message for update in self.updates for message in update.messages(base64=base64)]

    def deflated_frames(self, threshold: int) -> bytes:
        """Its WebSocket frames, each compressed by itself."""
        if self._deflated is None:
            self._deflated = b"".join([update.deflated_frames(threshold) for update in self.updates])
        return self._deflated

    def polling_part(self) -> bytes:
        """Its part of a polling payload."""
        if self._polling is None:
            self._polling = join_payload([update.polling_part() for update in self.updates])
        return self._polling
