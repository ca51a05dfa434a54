"""An application's events as AsyncAPI."""

from collections.abc import Mapping
from typing import Any, Final

from synkora.schema.events import ANYTHING, Argument, Message, emitted, received, titles_of, types_of, unused
from synkora.schema.json_schema import Schema, schemas_of
from synkora.sockets.internals import is_dynamic, namespaces_of
from synkora.sockets.server import SocketServer

SOCKET_IO: Final = "x-socket.io"
_SCHEMA: Final = "#/components/schemas/{name}"
#: `EventRefused(message, **details)`, as a client gets it.
_REFUSAL: Final[Schema] = {
    "type": "object",
    "properties": {"message": {"type": "string"}, "event": {"type": "string"}},
    "required": ["message", "event"],
}
_REFUSED: Final[Schema] = {
    "title": "Refused",
    "description": "An ack that refuses its event.",
    "type": "object",
    "properties": {"error": _REFUSAL},
    "required": ["error"],
}
_REFUSED_ARGUMENT: Final[Schema] = {"$ref": _SCHEMA.format(name="Refused")}


def _array(items: list[Schema], required: int, *rest: Schema) -> Schema:
    """Return the schema of an array: `items`, the first `required` of them not optional, and any number of `rest`."""
    array: Schema = {"type": "array", "minItems": required}
    if items:
        return array | {"items": items, "additionalItems": rest[0] if rest else False}  # draft 7
    return array | ({"items": rest[0]} if rest else {"maxItems": 0})


_ERROR: Final = {
    "name": "error",
    "title": "error",
    "summary": "An event has been refused.",
    "payload": _array([_REFUSAL], 1),
    SOCKET_IO: {"packet": "EVENT"},
}


def asyncapi(server: SocketServer, *, title: str = "Socket.IO server", version: str = "1.0.0") -> dict[str, Any]:
    """Return the AsyncAPI 3.0.0 document: a channel for each namespace, and a message for each event.

    The payload of a message is the array of the arguments of the event or ack.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    namespaces = namespaces_of(server)
    events = [(received(namespace), emitted(namespace)) for namespace in namespaces]
    has_refusals = any(namespace.refusals == "ack" for namespace in namespaces)
    types = types_of(message for both in events for each in both for message in each)
    schemas, definitions = schemas_of(types, _SCHEMA, ["Refused"] if has_refusals else [])
    by_type = {id(shape): _draft_7(schema) for shape, schema in zip(types, schemas, strict=True)}
    definitions = {name: _draft_7(schema) for name, schema in definitions.items()}
    if has_refusals:
        definitions["Refused"] = _REFUSED
    for namespace, prefix, (got, sent) in zip(namespaces, titles_of(namespaces), events, strict=True):
        name = namespace.name
        channel = prefix or "main"
        titles = []
        is_refused = namespace.refusals == "ack"
        for action, found in (("receive", got), ("send", sent)):
            for message in found:
                key = unused(f"{action}{prefix}{message.title}", messages)
                messages[key] = _node(message, _payload(message.arguments, by_type), "EVENT")
                operations[key] = _operation(action, channel, key)
                titles.append(key)
                ack = _ack(message, by_type, is_refused and action == "receive")
                if ack is not None:
                    ack_key = unused(f"{key}Ack", messages)
                    messages[ack_key] = ack
                    titles.append(ack_key)
                    operations[key]["reply"] = {
                        "channel": {"$ref": f"#/channels/{channel}"},
                        "messages": [{"$ref": f"#/channels/{channel}/messages/{ack_key}"}],
                    }
        key = unused(f"send{prefix}Error", messages)
        messages[key] = _ERROR
        operations[key] = _operation("send", channel, key)
        titles.append(key)
        channels[channel] = {
            "address": None if is_dynamic(namespace) else name,
            "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in titles},
            SOCKET_IO: {"namespace": name},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": definitions},
    }


def _operation(action: str, channel: str, key: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{key}"}],
    }


def _ack(message: Message, schemas: Mapping[int, Schema], is_refused: bool) -> dict[str, Any] | None:
    """Return the ack of an event, None if the ack has no arguments; `is_refused` says that it may be a refusal."""
    if message.acks == (ANYTHING,):
        payloads: list[Schema] = [{"type": "array"}]
    else:
        payloads = [_payload(acked, schemas) for acked in message.acks]
        if is_refused:
            payloads.append(_array([_REFUSED_ARGUMENT], required=1 if payloads else 0))
    if not payloads:
        return None
    return {
        "title": f"Ack of {message.name}",
        "payload": payloads[0] if len(payloads) == 1 else {"anyOf": payloads},
        SOCKET_IO: {"packet": "ACK"},
    }


def _payload(arguments: tuple[Argument, ...], schemas: Mapping[int, Schema]) -> Schema:
    """Return the schema of the array of arguments; `schemas` has those of their types, by the type's id."""
    fixed = [schemas[id(argument.type)] for argument in arguments if not argument.is_rest]
    rest = [schemas[id(argument.type)] for argument in arguments if argument.is_rest]
    return _array(fixed, sum(argument.is_required for argument in arguments), *rest)


def _draft_7(node: Any) -> Any:
    """Return a schema in draft 7, which AsyncAPI uses: `prefixItems` is newer."""
    if isinstance(node, list):
        return [_draft_7(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {name: _draft_7(each) for name, each in node.items()}
    if node.get("type") == "array" and isinstance(node.get("prefixItems"), list):
        if "items" in node:
            node["additionalItems"] = node["items"]
        node["items"] = node.pop("prefixItems")
    return node


def _node(message: Message, payload: Schema, packet: str) -> dict[str, Any]:
    node: dict[str, Any] = {
        "name": message.name,
        "title": message.name,
        "payload": payload,
        SOCKET_IO: {"packet": packet},
    }
    if message.description:
        node["summary"] = message.description
    return node
