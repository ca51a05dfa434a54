"""The AsyncAPI document."""

import copy
import json
import re
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError
from tests.docs.documents import ROOT

from synkora import __version__
from synkora.app.schema.asyncapi import document
from synkora.app.schema.messages import from_clients, to_clients

#: AsyncAPI's own schema of such documents, from its package of specifications.
SPECIFICATION = ROOT / "tests/clients/node_modules/@asyncapi/specs/schemas/3.0.0.json"
DOCUMENT = document()
MESSAGES = DOCUMENT["components"]["messages"]
IN_CHANNEL = "#/channels/main/messages/"


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    """AsyncAPI's own schema of AsyncAPI documents."""
    return Draft7Validator(json.loads(SPECIFICATION.read_text(encoding="utf-8")))


def find(reference: str) -> Any:
    node: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node


def test_it_is_one(official: Draft7Validator) -> None:
    """AsyncAPI's own schema accepts the document. The document has the server's version."""
    official.validate(DOCUMENT)
    assert DOCUMENT["info"]["version"] == __version__


def test_a_mistake_would_be_seen(official: Draft7Validator) -> None:
    wrong = copy.deepcopy(DOCUMENT)
    wrong["operations"]["sendPong"]["action"] = "shout"
    assert not official.is_valid(wrong)


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": "(#/[^"]+)"', json.dumps(DOCUMENT)))
    for reference in references:
        assert find(reference)
    parts = DOCUMENT["components"]
    assert {f"#/components/{kind}/{name}" for kind in parts for name in parts[kind]} <= references


def test_there_is_an_operation_for_each_event() -> None:
    """The server receives clients' events, and sends its own."""
    operations = DOCUMENT["operations"].values()
    for action, messages in (("receive", from_clients()), ("send", to_clients())):
        names = [
            MESSAGES[reference["$ref"].removeprefix(IN_CHANNEL)]["name"]
            for operation in operations
            if operation["action"] == action
            for reference in operation["messages"]
        ]
        assert names == [message.name for message in messages]


def test_a_ping_is_answered_by_a_pong() -> None:
    """A client's event names its possible answers: the ack, events, and the refusal."""
    replies = {
        name: [reference["$ref"].removeprefix(IN_CHANNEL) for reference in operation["reply"]["messages"]]
        for name, operation in DOCUMENT["operations"].items()
        if operation["action"] == "receive"
    }
    assert replies["receivePing"] == ["Ack", "Pong", "Error"]
    assert replies["receiveJoinProject"] == ["Ack", "UsersActive", "Error"]
    assert replies["receiveAuthRefresh"] == ["AuthRefreshAck", "Error"]
    assert replies["receiveTaskCreate"] == ["Ack", "Error"]


@pytest.mark.parametrize("title", [title for title in MESSAGES if "examples" in MESSAGES[title]])
def test_examples(title: str) -> None:
    """Each matches the schema of its message. Only a message without an argument has none."""
    validator = Draft7Validator({**MESSAGES[title]["payload"], "components": DOCUMENT["components"]})
    for example in MESSAGES[title]["examples"]:
        validator.validate(example["payload"])


def test_messages_without_examples() -> None:
    """Those without an argument, and the answer to a refresh."""
    assert {title for title in MESSAGES if "examples" not in MESSAGES[title]} == {"Ping", "Ack", "AuthRefreshAck"}


def test_a_wrong_payload_is_refused() -> None:
    payload = {**MESSAGES["TaskCreate"]["payload"], "components": DOCUMENT["components"]}
    with pytest.raises(ValidationError, match="'projectId' is a required property"):
        Draft7Validator(payload).validate({"task": {}})
