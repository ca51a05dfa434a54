"""An application's events as AsyncAPI."""

from typing import Any, Final

from synkora.schema.events import Argument, Message, emitted, received, title_of
from synkora.schema.json_schema import Schema, schemas_of
from synkora.sockets.internals import is_dynamic, namespaces_of
from synkora.sockets.server import SocketServer

SOCKET_IO: Final = "x-socket.io"
_SCHEMA: Final = "#/components/schemas/{name}"


def asyncapi(server: SocketServer, *, title: str = "Socket.IO server", version: str = "1.0.0") -> dict[str, Any]:
    """Return the AsyncAPI 3.0.0 document: a channel for each namespace, and a message for each event.

    The payload of a message is the array of the event's arguments.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    schemas: dict[str, Schema] = {}
    for namespace in namespaces_of(server):
        name, prefix = namespace.name, title_of(namespace)
        channel = prefix or "main"
        titles = []
        for action, found in (("receive", received(namespace)), ("send", emitted(namespace))):
            for message in found:
                key = f"{action}{prefix}{message.title}"
                payload, definitions = _payload(message.arguments)
                schemas |= definitions
                messages[key] = _node(message, payload, "EVENT")
                operations[key] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{channel}"},
                    "messages": [{"$ref": f"#/channels/{channel}/messages/{key}"}],
                }
                titles.append(key)
                if message.answers:
                    answers, definitions = schemas_of(message.answers, _SCHEMA)
                    schemas |= definitions
                    messages[f"{key}Ack"] = {
                        "title": f"Ack of {message.name}",
                        "payload": answers[0] if len(answers) == 1 else {"anyOf": answers},
                        SOCKET_IO: {"packet": "ACK"},
                    }
                    titles.append(f"{key}Ack")
                    reply = {"$ref": f"#/channels/{channel}/messages/{key}Ack"}
                    operations[key]["reply"] = {
                        "channel": {"$ref": f"#/channels/{channel}"},
                        "messages": [reply],
                    }
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


def _payload(arguments: tuple[Argument, ...]) -> tuple[Schema, dict[str, Schema]]:
    schemas, definitions = schemas_of([argument.type for argument in arguments], _SCHEMA)
    fixed = [schema for argument, schema in zip(arguments, schemas, strict=True) if not argument.is_rest]
    rest = [schema for argument, schema in zip(arguments, schemas, strict=True) if argument.is_rest]
    required = sum(argument.is_required for argument in arguments)
    payload: Schema = {"type": "array", "minItems": required}
    if fixed:
        payload["items"] = fixed  # the form of tuples in draft 7, which AsyncAPI uses
        payload["additionalItems"] = rest[0] if rest else False
    elif rest:
        payload["items"] = rest[0]
    else:
        payload["maxItems"] = 0
    return payload, definitions


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
