"""Every event in each direction with its payload type: the input of all forms of the schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from synkora.collaboration.events import CATALOGUE, Event, ProjectId, Sender
from synkora.collaboration.server_events import CLIENT_EVENTS, SERVER_EVENTS

EDIT: Final = "Viewers may not send it."
VOLATILE: Final = "The next of its kind outdates it: a client that does not keep up may miss it."
EXAMPLE_OF_SENDER: Final = Sender("2b1f9c4e8a7d4c0fAAAB", "user_1", "Alice")
EXAMPLE_OF_PROJECT: Final = "project_1"
_SENDER: Final = get_type_hints(Sender, include_extras=True)
_Field = tuple[str, Any] | tuple[str, Any, UnsetType]


@dataclass(frozen=True, slots=True)
class Message:
    """An event in one direction. `title` is its name as a type name, unique among the messages.

    `payload` is the type of its argument, or None, and `example` is an example. Its ack has one argument, of one of the
    types `answers`, or none; `replies` are the names of the events that answer it.
    """

    name: str
    title: str
    description: str
    payload: Any
    example: object
    answers: tuple[Any, ...] = ()
    replies: tuple[str, ...] = ()


def from_clients() -> Iterator[Message]:
    """Yield the events that a client may send."""
    for ask in CLIENT_EVENTS:
        yield Message(ask.name, title(ask.name), ask.description, ask.payload, ask.example, ask.answers, ask.replies)
    for event in CATALOGUE:
        example = {"projectId": EXAMPLE_OF_PROJECT, **event.example}
        yield Message(event.name, title(event.name), describe(event), _sent(event), example)


def to_clients() -> Iterator[Message]:
    """Yield the events that a client may get."""
    for notice in SERVER_EVENTS:
        yield Message(notice.name, title(notice.name), notice.description, notice.payload, notice.example)
    for event in CATALOGUE:
        example = event.example[event.whole] if event.whole else {**_signature(event), **event.example}
        yield Message(event.name, f"{title(event.name)}Delivery", describe(event), _delivered(event), example)


def title(name: str) -> str:
    """Return an event's name as a type name: `task:create` is `TaskCreate`."""
    return "".join(word.capitalize() for word in name.replace("-", ":").split(":"))


def describe(event: Event) -> str:
    """Return an event's description, with the consequences of its row for sender and recipients."""
    return " ".join([event.description, *([EDIT] if event.edits else []), *([VOLATILE] if event.volatile else [])])


def _sent(event: Event) -> type:
    names = (event.whole,) if event.whole else event.fields
    fields: list[_Field] = [("projectId", ProjectId), *_own(event, names)]
    return msgspec.defstruct(title(event.name), fields, namespace={"__doc__": "What a client sends."})


def _delivered(event: Event) -> Any:
    if event.whole:
        return Annotated[Any, Meta(description="The app's own data; null where the sender left it out.")]
    fields: list[_Field] = [*((name, _SENDER[name]) for name in event.sender), *_own(event, event.fields)]
    return msgspec.defstruct(f"{title(event.name)}Delivery", fields, namespace={"__doc__": "What the others get."})


def _own(event: Event, names: tuple[str, ...]) -> list[_Field]:
    """Return the app's own fields with examples: of any type, and omitted if the sender omitted them."""
    return [
        (
            name,
            Annotated[Any | UnsetType, Meta(description="The app's own data.", examples=[event.example[name]])],
            UNSET,
        )
        for name in names
    ]


def _signature(event: Event) -> dict[str, object]:
    return {name: getattr(EXAMPLE_OF_SENDER, name) for name in event.sender}
