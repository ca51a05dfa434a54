"""The JSON Schema agrees with what the server accepts and sends."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.support.json_values import json_values

from synkora import __version__
from synkora.app.schema.json_schema import document
from synkora.app.schema.messages import Message, from_clients, to_clients
from synkora.collaboration.collaboration import _decode_project_id
from synkora.collaboration.events import CATALOGUE, MAX_PROJECT_ID, Codec, Event, Sender
from synkora.protocol.json import encode
from synkora.sockets.errors import EventRefused

SCHEMA = document()
SENT, GOT = list(from_clients()), list(to_clients())
SENDER = Sender("s0cket", "user-1", "Алиса")
DECODERS = {event.name: Codec(event).decode for event in CATALOGUE} | {
    "join-project": _decode_project_id,
    "leave-project": _decode_project_id,
}


def validator(definition: str) -> Draft202012Validator:
    return Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{definition}"}]})


CLIENT_EVENT, SERVER_EVENT = validator("ClientEvent"), validator("ServerEvent")


def test_it_is_a_schema() -> None:
    """The dialect's own schema accepts the document. The document has the server's version."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == f"urn:synkora:events:{__version__}"


def test_every_reference_leads_to_a_definition() -> None:
    references = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(SCHEMA)))
    assert references == SCHEMA["$defs"].keys()


@pytest.mark.parametrize("message", SENT, ids=lambda message: message.name)
def test_examples_of_client_events_are_valid(message: Message) -> None:
    CLIENT_EVENT.validate([message.name] if message.payload is None else [message.name, message.example])


@pytest.mark.parametrize("message", GOT, ids=lambda message: message.name)
def test_examples_of_server_events_are_valid(message: Message) -> None:
    SERVER_EVENT.validate([message.name, message.example])


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.name)
def test_every_field_of_the_app_has_an_example(event: Event) -> None:
    assert set(event.example) == {*([event.whole] if event.whole else []), *event.fields}


VALUES = json_values(max_size=3, max_leaves=5)
PROJECT_IDS = st.one_of(
    st.text(max_size=4),
    st.integers(MAX_PROJECT_ID - 1, MAX_PROJECT_ID + 1).flatmap(
        lambda size: st.sampled_from("pé😀").map(lambda c: c * size)
    ),
    VALUES,
)
OBJECTS = st.builds(
    lambda project, fields: {**fields, **project},
    st.fixed_dictionaries({}, optional={"projectId": PROJECT_IDS}),
    st.dictionaries(st.sampled_from(["task", "taskId", "position", "socketId", "other"]), VALUES, max_size=3),
)
EVENTS = st.builds(
    lambda name, arguments: [name, *arguments],
    st.sampled_from(sorted(DECODERS)),
    st.lists(st.one_of(OBJECTS, PROJECT_IDS, VALUES), max_size=2),
)


def is_taken(event: list[Any]) -> bool:
    """Whether the server's own decoder accepts an event."""
    try:
        DECODERS[event[0]](json.dumps(event).encode())
    except EventRefused:
        return False
    return True


@given(event=EVENTS)
def test_the_schema_accepts_the_events_that_the_server_accepts(event: list[Any]) -> None:
    assert CLIENT_EVENT.is_valid(event) == is_taken(event)


@pytest.mark.parametrize("name", sorted(DECODERS))
@pytest.mark.parametrize("project_id", [None, 7, "", "p", "é" * 200, "😀" * 200, "é" * 201, ["p"], {"projectId": "p"}])
def test_both_agree_at_the_edges(name: str, project_id: object) -> None:
    """For each event and each kind of project id, as the argument or as a field of it."""
    for argument in (project_id, {"projectId": project_id}):
        event = [name, argument]
        assert CLIENT_EVENT.is_valid(event) == is_taken(event)


@given(event=st.sampled_from(CATALOGUE), fields=st.dictionaries(st.sampled_from(["task", "taskId", "fileId"]), VALUES))
def test_the_schema_accepts_the_events_that_the_server_delivers(event: Event, fields: dict[str, Any]) -> None:
    codec = Codec(event)
    payload = codec.decode(json.dumps([event.name, {**event.example, **fields, "projectId": "p"}]).encode())
    bare = codec.decode(json.dumps([event.name, {"projectId": "p"}]).encode())
    for each in (payload, bare):
        SERVER_EVENT.validate([event.name, json.loads(encode(codec.deliver(each, SENDER)))])


@pytest.mark.parametrize(
    "event",
    [
        ["task:craete", {"projectId": "p"}],
        ["canvas:cursor", {"position": 1}],
        ["users:count", {"count": -1}],
        ["users:active", {"users": [{"userId": "u"}], "count": 1}],
        ["user:joined", {"socketId": "s", "userId": "u", "userName": "A", "timestamp": "t", "userImage": None}],
        ["connected"],
        [],
        {"projectId": "p"},
    ],
)
def test_events_that_the_server_does_not_send_are_invalid(event: object) -> None:
    """An unknown event, and one without the server's fields about the sender."""
    assert not SERVER_EVENT.is_valid(event)


@pytest.mark.parametrize("argument", [7, None, {}, {"token": 7}])
def test_a_fresh_token_is_a_string_or_has_one(argument: object) -> None:
    """The schema of `auth:refresh` accepts what can succeed. The server answers everything else with `ok: false`."""
    assert not CLIENT_EVENT.is_valid(["auth:refresh", argument])
    assert CLIENT_EVENT.is_valid(["auth:refresh", "token"])
    assert CLIENT_EVENT.is_valid(["auth:refresh", {"token": "token"}])
