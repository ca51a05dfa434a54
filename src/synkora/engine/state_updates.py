"""Marks messages about the state of a subject; `backlog.py` drops those that a newer state makes obsolete."""

from collections.abc import Hashable, Sequence
from typing import Protocol

from synkora.engine.message import Message
from synkora.protocol.engineio import join_payload


class Subject(Protocol):
    """The subject of updates, such as a project's presence."""

    def full_state(self, outbox: object) -> list[Message]:
        """Return the full state for a client whose updates were dropped; nothing if the client needs none."""
        ...

    def has_recipient(self, outbox: object) -> bool:
        """Whether the client of an outbox still gets updates."""
        ...


class Update(Message):
    """A message about the state of a subject.

    An outbox may drop the message for a slow consumer; the client later gets the full state instead. A message with a
    key in `replaces` replaces a waiting message with the same key.
    """

    __slots__ = ("replaces", "subject")

    def __init__(self, data: bytes, subject: Subject, replaces: Hashable | None = None, *, head: bytes = b"") -> None:
        super().__init__(data, head=head)
        self.subject = subject
        self.replaces = replaces


class Bundle(Update):
    """Several updates of one subject, sent together."""

    __slots__ = ("updates",)

    def __init__(self, updates: Sequence[Update], subject: Subject) -> None:
        super().__init__(b"", subject)
        self.updates = updates
        self.frames = b"".join([update.frames for update in updates])

    def messages(self, *, base64: bool = False) -> list[str | bytes]:
        """Return the WebSocket messages of all updates."""
        return [message for update in self.updates for message in update.messages(base64=base64)]

    def deflated_frames(self, threshold: int) -> bytes:
        """Return the WebSocket frames, each compressed separately."""
        if self._deflated is None:
            self._deflated = b"".join([update.deflated_frames(threshold) for update in self.updates])
        return self._deflated

    def polling_part(self) -> bytes:
        """Return the updates as a part of a polling payload."""
        if self._polling is None:
            self._polling = join_payload([update.polling_part() for update in self.updates])
        return self._polling
