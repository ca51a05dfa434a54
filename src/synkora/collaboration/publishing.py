"""Events of the catalogue that the app's backend publishes to a project, in place of a member."""

from collections.abc import Awaitable
from enum import StrEnum
from typing import Final

import msgspec

from synkora.collaboration.events import CATALOGUE, Codec, Event, Sender, check_project_id
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, Raw, encode
from synkora.recovery.position import Position
from synkora.sockets import packets
from synkora.sockets.errors import EventRefused
from synkora.sockets.internals import adapter_of, recovery_of
from synkora.sockets.namespace import Namespace
from synkora.tracing import NO_TRACE, Trace

_OBJECT: Final[Decoder[dict[str, Raw]]] = Decoder(dict[str, Raw])
_NOBODY: Final = Sender("", "", "")


class Part(StrEnum):
    """A part of a publication. The values are labels of metrics."""

    PROJECT = "project"
    EVENT = "event"
    DATA = "data"


class InvalidPublication(ValueError):
    """The event cannot be published, because of one `part`. The message is for the author of the backend."""

    def __init__(self, part: Part, problem: str) -> None:
        super().__init__(problem)
        self.part = part


class Publication(msgspec.Struct, frozen=True):
    """An event that can be published. `except_sid` is the socket id of a client that does not get it."""

    draft: packets.Draft
    except_sid: str | None


class Publisher:
    """Publishes events to the members of a project on all servers.

    The events are kept, ordered and replayed like those of members. Events that say what their sender does, such as
    cursors, cannot be published.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._adapter = adapter_of(namespace)
        self._recovery = recovery_of(namespace)
        self._published = {
            event.name: (event, Codec(event), packets.EventWriter(namespace.name, event.name, volatile=False))
            for event in CATALOGUE
            if not event.sender
        }
        self._senders_own = {event.name for event in CATALOGUE if event.sender}

    def prepare(self, project_id: str, name: str, data: bytes, except_sid: str | None = None) -> Publication:
        """Check an event. `data` is the JSON object that a client would send, without `projectId`.

        Raises `InvalidPublication`.
        """
        if name in self._senders_own:
            raise InvalidPublication(
                Part.EVENT, f"event: {name} says what its sender does, so only a member can send it"
            )
        known = self._published.get(name)
        if known is None:
            raise InvalidPublication(Part.EVENT, f"event: {name[:100]} is not one of {', '.join(self._published)}")
        event, codec, writer = known
        try:
            fields = _OBJECT.decode(data)
        except (ProtocolError, InvalidPayload):
            raise InvalidPublication(Part.DATA, "data: an object is expected, not nested too deeply") from None
        _check_fields(event, fields)
        try:
            check_project_id(project_id)
        except EventRefused as error:
            raise InvalidPublication(Part.PROJECT, str(error)) from None
        try:
            payload = codec.decode(encode([name, {**fields, "projectId": project_id}]))
        except (EventRefused, ProtocolError, InvalidPayload) as error:
            raise InvalidPublication(Part.DATA, str(error)) from None
        return Publication(writer.draft(codec.deliver(payload, _NOBODY), (), codec.key(payload)), except_sid)

    def publish(
        self, project_id: str, publication: Publication, once: str = "", trace: Trace = NO_TRACE
    ) -> Awaitable[Position | None]:
        """Publish an event now; the result is its position, or None if it is not kept.

        An event with the same `once` is published once: later calls return the position of the first one. The result
        raises `LogUnavailable`.
        """
        except_rooms = () if publication.except_sid is None else (publication.except_sid,)
        if self._recovery is None:
            message = packets.event_of_json(self._namespace.name, publication.draft.data)
            self._adapter.relay(message, project_id, publication.except_sid)
            return _none()
        return self._recovery.publish_once(publication.draft, (project_id,), except_rooms, once, trace)


async def _none() -> None: ...


def _check_fields(event: Event, fields: dict[str, Raw]) -> None:
    allowed = (event.whole,) if event.whole else event.fields
    unknown = [name for name in fields if name not in allowed]
    if unknown:
        raise InvalidPublication(
            Part.DATA, f"data: {unknown[0][:100]} is not a field of {event.name}: {', '.join(allowed)}"
        )
    required = event.whole or event.key
    if required is not None and required not in fields:
        raise InvalidPublication(Part.DATA, f"data: {required} is missing")
