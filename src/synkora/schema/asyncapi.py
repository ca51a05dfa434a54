"""An application's events as AsyncAPI."""

from typing import Any, Final

from synkora.schema.events import ANYTHING, Argument, Message, emitted, received, title_of
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
    schemas: dict[str, Schema] = {}
    for namespace in namespaces_of(server):
        name, prefix = namespace.name, title_of(namespace)
        channel = prefix or "main"
        titles = []
        is_refused = namespace.refusals == "ack"
        if is_refused:
            schemas["Refused"] = _REFUSED
        for action, found in (("receive", received(namespace)), ("send", emitted(namespace))):
            for message in found:
                key = f"{action}{prefix}{message.title}"
                payload, definitions = _payload(message.arguments)
                schemas |= definitions
                messages[key] = _node(message, payload, "EVENT")
                operations[key] = _operation(action, channel, key)
                titles.append(key)
                ack, definitions = _ack(message, is_refused and action == "receive")
                schemas |= definitions
                if ack is not None:
                    messages[f"{key}Ack"] = ack
                    titles.append(f"{key}Ack")
                    operations[key]["reply"] = {
                        "channel": {"$ref": f"#/channels/{channel}"},
                        "messages": [{"$ref": f"#/channels/{channel}/messages/{key}Ack"}],
                    }
        key = f"send{prefix}Error"
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
        "components": {"messages": messages, "schemas": schemas},
    }


def _operation(action: str, channel: str, key: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{key}"}],
    }


def _ack(message: Message, is_refused: bool) -> tuple[dict[str, Any] | None, dict[str, Schema]]:
    """Return the ack of an event, None if the ack has no arguments, and the definitions that the ack refers to.

    `is_refused` says that the ack may be a refusal.
    """
    payloads: list[Schema] = []
    schemas: dict[str, Schema] = {}
    if message.acks == (ANYTHING,):
        payloads.append({"type": "array"})
    else:
        for acked in message.acks:
            payload, definitions = _payload(acked)
            payloads.append(payload)
            schemas |= definitions
        if is_refused:
            payloads.append(_array([_REFUSED_ARGUMENT], required=1 if payloads else 0))
    if not payloads:
        return None, {}
    ack = {
        "title": f"Ack of {message.name}",
        "payload": payloads[0] if len(payloads) == 1 else {"anyOf": payloads},
        SOCKET_IO: {"packet": "ACK"},
    }
    return ack, schemas


def _payload(arguments: tuple[Argument, ...]) -> tuple[Schema, dict[str, Schema]]:
    schemas, definitions = schemas_of([argument.type for argument in arguments], _SCHEMA)
    schemas = _draft_7(schemas)
    fixed = [schema for argument, schema in zip(arguments, schemas, strict=True) if not argument.is_rest]
    rest = [schema for argument, schema in zip(arguments, schemas, strict=True) if argument.is_rest]
    required = sum(argument.is_required for argument in arguments)
    return _array(fixed, required, *rest), {name: _draft_7(schema) for name, schema in definitions.items()}


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
