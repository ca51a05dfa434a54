"""The catalogue as JSON Schema (draft 2020-12)."""

from collections.abc import Iterable
from typing import Any, Final

from synkora import __version__
from synkora.app.schema.messages import Message, from_clients, to_clients
from synkora.schema.json_schema import Schema
from synkora.schema.json_schema import schemas_of as types_to_schemas

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_CANNOT_SAY: Final = (
    "A schema speaks of values alone. The server also refuses data that is nested too deeply or larger than "
    "WS_MAX_PAYLOAD, edits by clients that may not write to the project, cursors, selections and typing in a project "
    "that the client has not joined, and what is above the limits. Of a key that comes twice it takes the last, and "
    "half a surrogate pair in a project's id becomes U+FFFD. "
    "To auth:refresh it answers whatever comes, with `ok: false` where it is no token."
)


def document() -> Schema:
    """Return the schema of an event on the wire: a Socket.IO array of name and argument.

    `$defs` has the payload of each event; `ClientEvent` and `ServerEvent` connect events and payloads. Further
    arguments and further fields of objects are ignored.
    """
    sent, got = list(from_clients()), list(to_clients())
    payloads, definitions = payload_schemas([*sent, *got], "#/$defs/{name}")
    return {
        "$schema": DIALECT,
        "$id": f"urn:synkora:events:{__version__}",
        "title": f"Events of Synkora {__version__}",
        "description": f"An event as it is on the wire: an array of its name and its argument. {_CANNOT_SAY}",
        "anyOf": [{"$ref": "#/$defs/ClientEvent"}, {"$ref": "#/$defs/ServerEvent"}],
        "$defs": {
            "ClientEvent": _events("What a client may send.", sent, payloads),
            "ServerEvent": _events("What a client may get.", got, payloads),
            **definitions,
        },
    }


def payload_schemas(messages: Iterable[Message], reference: str) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return references to the messages' payloads, by message title, and the referenced definitions, by name.

    `reference` contains `{name}`. A message without an argument has no reference. The schemas are also valid in draft
    7, which AsyncAPI uses.
    """
    having = [message for message in messages if message.payload is not None]
    schemas, definitions = schemas_of([message.payload for message in having], reference)
    payloads = {}
    for message, schema in zip(having, schemas, strict=True):
        if "$ref" in schema:
            payloads[message.title] = schema
        else:
            definitions[message.title] = {"title": message.title, **schema}
            payloads[message.title] = {"$ref": reference.format(name=message.title)}
    return payloads, definitions


def schemas_of(
    types: Iterable[Any], reference: str, taken: Iterable[str] = ()
) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schema of each type, and the definitions of the Structs in them, by name."""
    schemas, definitions = types_to_schemas(types, reference, taken)
    for definition in definitions.values():
        definition["properties"] = {
            name: _left_out(schema) for name, schema in definition.get("properties", {}).items()
        }
    return schemas, definitions


def _left_out(schema: Schema) -> Schema:
    """Return a field's schema without null, which marks an omitted field in a Struct."""
    if "default" not in schema:
        return schema
    value: Schema
    (value,) = (each for each in schema["anyOf"] if each != {"type": "null"})
    return {name: each for name, each in schema.items() if name not in ("anyOf", "default")} | value


def _events(description: str, messages: Iterable[Message], payloads: dict[str, Schema]) -> Schema:
    return {"description": description, "anyOf": [_event(message, payloads.get(message.title)) for message in messages]}


def _event(message: Message, payload: Schema | None) -> Schema:
    items: list[Schema] = [{"const": message.name}] + ([payload] if payload is not None else [])
    return {
        "title": message.name,
        "description": message.description,
        "type": "array",
        "prefixItems": items,
        "minItems": len(items),
        "examples": [[message.name] + ([message.example] if payload is not None else [])],
    }
