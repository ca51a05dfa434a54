"""The catalogue as an AsyncAPI document (3.0.0)."""

from collections.abc import Iterable
from typing import Any, Final

from synkora import __version__
from synkora.app.schema.json_schema import payload_schemas, schemas_of
from synkora.app.schema.messages import Message, from_clients, to_clients
from synkora.identity.cookies import AUTHJS_V5, NEXTAUTH_V4

Node = dict[str, Any]

SOCKET_IO: Final = "x-socket.io"
_SCHEMA: Final = "#/components/schemas/{name}"
_CHANNEL: Final = "#/channels/main"
_INFO: Final = (
    "Synkora's pages collaborate over this server: they tell the others in a project what they do, and learn who is "
    "there.\n\n"
    "It speaks Socket.IO v5 over Engine.IO v4, which wraps each message: use a Socket.IO client, not a bare WebSocket. "
    "A message here is one Socket.IO event of the namespace `/`: its `name` is the event's, its payload the event's "
    "argument. An operation with a reply may be sent with a Socket.IO ack; what is refused is answered with `error`, "
    "and gets no ack. The limits are in the server's documentation."
)
_SECURITY: Final = {
    "token": {
        "type": "apiKey",
        "in": "user",
        "description": "`auth.token` of Socket.IO's CONNECT packet: a token made with the web app's NEXTAUTH_SECRET.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The same token in the header of the request that opens the session.",
    },
    "authjs": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": AUTHJS_V5,
        "description": "The session cookie of Auth.js v5, with or without `__Secure-` or `__Host-`; maybe in chunks.",
    },
    "nextauth": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": NEXTAUTH_V4,
        "description": "The session cookie of NextAuth v4, with the same rules.",
    },
}
_HANDSHAKE: Final = {
    "method": "GET",
    "query": {
        "type": "object",
        "properties": {"EIO": {"const": "4"}, "transport": {"enum": ["polling", "websocket"]}},
        "required": ["EIO", "transport"],
    },
    "headers": {
        "type": "object",
        "properties": {"Origin": {"type": "string", "description": "Of a page: one that ALLOWED_ORIGINS names."}},
    },
    "bindingVersion": "0.1.0",
}


def document() -> Node:
    """Return the AsyncAPI 3.0.0 document, from the server's view: it receives clients' events and sends its own."""
    sent, got = list(from_clients()), list(to_clients())
    payloads, schemas = payload_schemas([*sent, *got], _SCHEMA)
    messages = {message.title: _message(message, payloads.get(message.title)) for message in (*sent, *got)}
    for message in sent:
        if message.answers:
            answers, definitions = schemas_of(message.answers, _SCHEMA)
            schemas |= definitions
            messages[_ack(message)] = {
                "title": f"Ack of {message.name}",
                "payload": {"oneOf": answers},
                SOCKET_IO: {"packet": "ACK"},
            }
    messages["Ack"] = {"title": "Ack without an argument", SOCKET_IO: {"packet": "ACK"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Synkora WebSocket server",
            "version": __version__,
            "description": _INFO,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "development": _server("localhost:3001", "ws"),
            "production": _server("{host}", "wss")
            | {"variables": {"host": {"description": "Where it is.", "default": "app.example.com"}}},
        },
        "channels": {
            "main": {
                "address": "/",
                "title": "Socket.IO's main namespace",
                "messages": {title: {"$ref": f"#/components/messages/{title}"} for title in messages},
                "bindings": {"ws": _HANDSHAKE},
                SOCKET_IO: {"namespace": "/"},
            }
        },
        "operations": {
            **{f"receive{message.title}": _operation("receive", message) | _reply(message, got) for message in sent},
            **{f"send{message.title}": _operation("send", message) for message in got},
        },
        "components": {"messages": messages, "schemas": schemas, "securitySchemes": _SECURITY},
    }


def _server(host: str, protocol: str) -> Node:
    return {
        "host": host,
        "protocol": protocol,
        "pathname": "/socket.io/",
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
        SOCKET_IO: {"protocol": 5, "engine.io": 4},
    }


def _message(message: Message, payload: Node | None) -> Node:
    node: Node = {
        "name": message.name,
        "title": message.name,
        "summary": message.description,
        SOCKET_IO: {"packet": "EVENT"},
    }
    if payload is not None:
        node |= {"payload": payload, "examples": [{"payload": message.example}]}
    return node


def _operation(action: str, message: Message) -> Node:
    return {
        "action": action,
        "channel": {"$ref": _CHANNEL},
        "summary": message.description,
        "messages": _references([message.title]),
    }


def _reply(message: Message, got: Iterable[Message]) -> Node:
    """The possible answers to a client's event: the ack, events, and the refusal."""
    events = [each.title for each in got if each.name in (*message.replies, "error")]
    return {"reply": {"channel": {"$ref": _CHANNEL}, "messages": _references([_ack(message), *events])}}


def _ack(message: Message) -> str:
    return f"{message.title}Ack" if message.answers else "Ack"


def _references(titles: Iterable[str]) -> list[Node]:
    return [{"$ref": f"{_CHANNEL}/messages/{title}"} for title in titles]
