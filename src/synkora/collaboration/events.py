"""The catalogue: every event that is relayed to the other members of a project, one row each.

A new event needs only a row: the payload type, the checks and the delivery follow from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec

from synkora.collaboration.limits import EventClass
from synkora.collaboration.payloads import SocketId, UserId, UserName
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, Raw
from synkora.protocol.surrogates import has_half
from synkora.sockets.errors import EventRefused

MAX_PROJECT_ID: Final = 200  # characters
_LONGEST_KEY: Final = 200  # characters of JSON
_LONGEST_KEYED: Final = 65_536  # bytes; to look for a key in more costs too much
_MOST_FIELDS: Final = 1000  # and colons elsewhere in the JSON
_LONGEST_CACHED: Final = 2048  # bytes; the names of very many fields take far more memory
_OBJECT: Final[Decoder[dict[str, Raw]]] = Decoder(dict[str, Raw])
_NULL: Final = Raw(b"null")
_ABSENT: Final = Raw()

ProjectId = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=MAX_PROJECT_ID, description="The project's id.", examples=["project_1"]),
]
SenderField = Literal["socketId", "userId", "userName"]


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the app. Its payload is an object with a `projectId`.

    The other members get the value of the field `whole`, or an object with the fields of `sender` and `fields`. Values
    are relayed unchanged; a missing value is null for `whole` and omitted otherwise. `volatile`: the next event of this
    kind replaces it, so it may be dropped for a slow consumer. `edits`: the event changes the project, so viewers may
    not send it. `key` names the field, or the field in `whole`, that says what the event describes: for clients that
    were away, a newer event replaces the older one with the same key and fields. `logged` is the log message.
    `description` and `example`, a value for each of the app's fields, are for the generated documents.
    """

    name: str
    description: str
    example: Mapping[str, object]
    whole: str | None = None
    fields: tuple[str, ...] = ()
    sender: tuple[SenderField, ...] = ()
    volatile: bool = False
    edits: bool = False
    key: str | None = None
    logged: str | None = None

    @property
    def event_class(self) -> EventClass:
        """The class of the event's rate limit."""
        return EventClass.VOLATILE if self.volatile else EventClass.EDIT


CATALOGUE: Final = (
    Event(
        "task:create",
        "A task has been created.",
        {"task": {"id": "task_1", "title": "Say hello", "status": "TODO"}},
        whole="task",
        edits=True,
        logged="Task created",
    ),
    Event(
        "task:update",
        "A task has changed.",
        {"task": {"id": "task_1", "title": "Say hello to everyone", "status": "TODO"}},
        whole="task",
        edits=True,
        key="id",
        logged="Task updated",
    ),
    Event(
        "task:delete",
        "A task was deleted.",
        {"taskId": "task_1"},
        fields=("taskId",),
        edits=True,
        key="taskId",
        logged="Task deleted",
    ),
    Event(
        "task:move",
        "A task has moved to another column.",
        {"taskId": "task_1", "status": "DONE"},
        fields=("taskId", "status"),
        edits=True,
        key="taskId",
        logged="Task moved",
    ),
    Event(
        "canvas:update",
        "The canvas has changed.",
        {"changes": [{"id": "shape_1", "x": 120, "y": 80}]},
        whole="changes",
        edits=True,
    ),
    Event(
        "canvas:cursor",
        "A cursor has moved over the canvas.",
        {"position": {"x": 120, "y": 80}},
        sender=("socketId",),
        fields=("position",),
        volatile=True,
    ),
    Event(
        "markdown:update",
        "A document has changed.",
        {"fileId": "file_1", "content": "# Notes"},
        fields=("fileId", "content"),
        edits=True,
        key="fileId",
        logged="Markdown updated",
    ),
    Event(
        "markdown:cursor",
        "A cursor has moved in a document.",
        {"fileId": "file_1", "position": 7},
        sender=("socketId",),
        fields=("fileId", "position"),
        volatile=True,
    ),
    Event(
        "spreadsheet:cell-update",
        "A cell of the spreadsheet has changed.",
        {"cell": "B2", "value": 42},
        fields=("cell", "value"),
        edits=True,
        key="cell",
        logged="Cell updated",
    ),
    Event(
        "spreadsheet:batch-update",
        "Several cells of the spreadsheet have changed.",
        {"cells": [{"cell": "A1", "value": 1}, {"cell": "A2", "value": 2}]},
        fields=("cells",),
        edits=True,
        logged="Cells updated",
    ),
    Event(
        "spreadsheet:selection",
        "Other cells of the spreadsheet are selected.",
        {"selection": {"from": "A1", "to": "B2"}},
        sender=("socketId",),
        fields=("selection",),
        volatile=True,
    ),
    Event(
        "typing:start",
        "A member has started typing.",
        {"context": "task_1", "timestamp": 1795426200000},
        sender=("socketId", "userId", "userName"),
        fields=("context", "timestamp"),
        volatile=True,
    ),
    Event(
        "typing:stop",
        "A member has stopped typing.",
        {"context": "task_1"},
        sender=("socketId", "userId"),
        fields=("context",),
        volatile=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of an event, as other members see it."""

    socketId: SocketId
    userId: UserId
    userName: UserName


class Codec:
    """Decodes an event's payload and makes its delivery, with types made from the event's row."""

    def __init__(self, event: Event) -> None:
        self._event = event
        names = (event.whole,) if event.whole else event.fields
        payload = msgspec.defstruct(
            "Payload", [("projectId", str), *((name, Raw, _ABSENT) for name in names)], gc=False
        )
        arguments = msgspec.defstruct("Arguments", [("name", str), ("payload", payload)], array_like=True, gc=False)
        self._decoder: Decoder[Any] = Decoder(arguments)
        self._forwarded = _getter(names)
        self._signature = _getter(event.sender)
        self._delivery = msgspec.defstruct(
            "Delivery",
            [*((name, str) for name in event.sender), *((name, Raw, _ABSENT) for name in event.fields)],
            omit_defaults=True,
            gc=False,
        )

    def decode(self, data: bytes) -> Any:
        """Return the payload in an event's JSON array. Raises `EventRefused` with a message for the client."""
        try:
            payload = self._decoder.decode(data).payload
        except InvalidPayload as error:
            raise self._refusal(error) from None
        check_project_id(payload.projectId)
        return payload

    def deliver(self, payload: Any, sender: Sender) -> object:
        """Return the payload for the other members."""
        whole = self._event.whole
        if whole:
            value = getattr(payload, whole)
            return value if value is not _ABSENT else _NULL
        return self._delivery(*self._signature(sender), *self._forwarded(payload))

    def key(self, payload: Any) -> str | None:
        """Return the event's name, what the event describes, and which fields it has.

        None is the key of an event that replaces no other. An update with fewer fields than the older one does not
        replace it.
        """
        event = self._event
        key = event.key
        if key is None:
            return None
        if event.whole is None:
            for value in self._forwarded(payload):
                if value is _ABSENT:
                    return None
            text, fields = str(getattr(payload, key), "utf-8"), ""
        else:
            data = bytes(getattr(payload, event.whole))
            if len(data) > _MOST_FIELDS and (len(data) > _LONGEST_KEYED or data.count(b":") > _MOST_FIELDS):
                return None
            if b"\\u" in data and has_half(data):
                return None
            try:
                whole = _OBJECT.decode(data)
            except (InvalidPayload, ProtocolError):
                return None
            fingerprint = _fingerprint if len(data) <= _LONGEST_CACHED else _fingerprint.__wrapped__
            text, fields = str(whole.get(key, _ABSENT), "utf-8"), fingerprint(tuple(whole))
        if "placeholder" in text:  # all ids that are attachments would be one
            return None
        return f"{event.name} {text} {fields}" if 0 < len(text) <= _LONGEST_KEY else None

    def _refusal(self, error: InvalidPayload) -> EventRefused:
        if error.path.endswith("projectId") or "projectId" in error.problem:
            return EventRefused("Project ID is required")
        if error.path == "[1]" or not error.path:
            expected = "an object with a projectId" if "nested" not in error.problem else "less deeply nested data"
            return EventRefused(f"{self._event.name} needs {expected}")
        return EventRefused(f"{self._event.name}: {error}")


@lru_cache(maxsize=64)  # the app's tasks have few combinations of fields
def _fingerprint(names: tuple[str, ...]) -> str:
    """Return what tells one combination of fields from others."""
    return blake2b(ascii(names).encode(), digest_size=8).hexdigest()


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that gets the attributes `names` as a tuple, also for one name or none."""
    match names:
        case ():
            return lambda _: ()
        case (name,):
            get = attrgetter(name)
            return lambda value: (get(value),)
        case _:
            return attrgetter(*names)


def check_project_id(value: object) -> str:
    """Return a project id. Raises `EventRefused` for a value that cannot be a project id."""
    if not isinstance(value, str) or not value:
        raise EventRefused("Project ID is required")
    if len(value) > MAX_PROJECT_ID:
        raise EventRefused(f"Project ID is longer than {MAX_PROJECT_ID} characters")
    return value
