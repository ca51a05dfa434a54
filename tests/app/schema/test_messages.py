"""The schema's messages agree with the messages of a running server."""

import itertools
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.collaboration.site import MemoryClient, Site, token_of, turn

from synkora.app.schema.json_schema import document, schemas_of
from synkora.app.schema.messages import from_clients, title, to_clients
from synkora.collaboration.events import CATALOGUE
from synkora.collaboration.server_events import CLIENT_EVENTS, SERVER_EVENTS

_IDS = itertools.count()


def exactly(definition: str) -> Draft202012Validator:
    """Validates values against a definition that allows no undescribed field."""
    schema = document()
    for each in schema["$defs"].values():
        if each.get("type") == "object":
            each["additionalProperties"] = False
    return Draft202012Validator({**schema, "anyOf": [{"$ref": f"#/$defs/{definition}"}]})


def test_every_event_appears_once_in_each_direction() -> None:
    """Relayed events appear in both directions, the server's own in one. All titles are different."""
    sent, got = list(from_clients()), list(to_clients())
    relayed = [event.name for event in CATALOGUE]
    assert [message.name for message in sent] == [*(ask.name for ask in CLIENT_EVENTS), *relayed]
    assert [message.name for message in got] == [*(notice.name for notice in SERVER_EVENTS), *relayed]
    assert len({message.title for message in (*sent, *got)}) == len(sent) + len(got)


@pytest.mark.parametrize(
    ("name", "expected"), [("task:create", "TaskCreate"), ("spreadsheet:cell-update", "SpreadsheetCellUpdate")]
)
def test_titles(name: str, expected: str) -> None:
    assert title(name) == expected


async def ask(client: MemoryClient, *event: object) -> list[Any]:
    """The ack of an event that is answered within the turn."""
    number = next(_IDS)
    client.send(f"42{number}{json.dumps(event)}")
    await turn()
    beginning = f"43{number}".encode()
    (ack,) = (packet for packet in client.transport.packets if packet.startswith(beginning + b"["))
    answer: list[Any] = json.loads(ack.removeprefix(beginning))
    return answer


async def test_every_event_of_the_server_is_in_the_schema(site: Site) -> None:
    """Two users send everything, valid and invalid: the schema describes all events that they get."""
    alice, bob = site.come("Alice", picture="https://a.test/a.png"), site.come("Bob")
    for client in (alice, bob, alice):
        await client.act("join-project", "project_1")
    for event in CATALOGUE:
        alice.emit(event.name, {"projectId": "project_1", **event.example})
        alice.emit(event.name, {"projectId": "project_1"})
        alice.emit(event.name, {"projectId": "project_2"})
        alice.emit(event.name)
    for wrong in (["join-project", 7], ["no-such-event"], ["auth:refresh"]):
        alice.emit(*wrong)
    for _ in range(70):
        alice.emit("ping")  # until it is too much
    site.collaboration.post_notice("project_1", "Maintenance at noon.")
    await bob.act("leave-project", "project_1")
    site.collaboration.announce_shutdown()
    await turn()
    validator = exactly("ServerEvent")
    heard = [*alice.take_events(), *bob.take_events()]
    for each in heard:
        validator.validate(each)
    assert {each[0] for each in heard} == {message.name for message in to_clients()}
    errors = [each[1] for each in heard if each[0] == "error"]
    assert any("retryAfter" in error for error in errors)


async def test_acks_are_in_the_schema(site: Site) -> None:
    """Each event's ack is described: empty, or one of the answers."""
    alice = site.come("Alice")
    assert await ask(alice, "join-project", "project_1") == []
    for message in from_clients():
        event = [message.name] if message.payload is None else [message.name, message.example]
        if not message.answers:
            assert await ask(alice, *event) == []
            await ask(alice, "join-project", "project_1")  # again, after leaving
            continue
        schemas, definitions = schemas_of(message.answers, "#/$defs/{name}")
        alternatives = [Draft202012Validator({**schema, "$defs": definitions}) for schema in schemas]
        answers = [await ask(alice, message.name, token) for token in (token_of("Alice"), "no token", token_of("Bob"))]
        taken = [[validator.is_valid(argument) for validator in alternatives] for (argument,) in answers]
        assert taken == [[True, False], [False, True], [False, True]]
