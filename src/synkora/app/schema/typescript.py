"""The catalogue as TypeScript declarations, for the typed events of `socket.io-client`."""

import json
from collections.abc import Iterator
from typing import Any, Final

from synkora import __version__
from synkora.app.schema.json_schema import Schema, schemas_of
from synkora.app.schema.messages import Message, from_clients, to_clients
from synkora.collaboration.events import CATALOGUE, Event

# An optional ack would do for `emit`, but `emitWithAck` would then take any arguments.
_HEAD: Final = f"""\
/*
 * The events of Synkora's WebSocket server {__version__}, for socket.io-client.
 * Made by `synkora schema typescript`: make it anew rather than edit it.
 */

/** An event's arguments, with or without an ack; what is refused gets `error`, and no ack. */
type MayAck<Arguments extends unknown[]> = Arguments | [...Arguments, ack: () => void];

/**
 * The app's own data in each event, which the server passes on as it is. Say what yours is by extending this:
 *
 *     interface OurData extends AppData {{
 *       "task:create": {{ task: Task }};
 *     }}
 *     const socket: Socket<ServerToClientEvents<OurData>, ClientToServerEvents<OurData>> = io(url);
 */
export interface AppData {{
"""
_SENT: Final = """
/** What a client may send. */
export interface ClientToServerEvents<Data extends AppData = AppData> {
"""
_GOT: Final = """
/** What a client may get. */
export interface ServerToClientEvents<Data extends AppData = AppData> {
"""
_RELAYED: Final = {event.name: event for event in CATALOGUE}


def document() -> str:
    """The declarations: `ClientToServerEvents` and `ServerToClientEvents`, and the payloads of the server's own."""
    types = _Types()
    parts = [
        _HEAD,
        *(_member(event.description, event.name, _own_data(event)) for event in CATALOGUE),
        "}\n",
        _SENT,
        *(_member(message.description, message.name, _sent(message, types)) for message in from_clients()),
        "}\n",
        _GOT,
        *(_member(message.description, message.name, _got(message, types)) for message in to_clients()),
        "}\n",
        *types.interfaces(),
    ]
    return "".join(parts)


class _Types:
    """Writes types in TypeScript, and then the interfaces that they name."""

    def __init__(self) -> None:
        self._definitions: dict[str, Schema] = {}

    def of(self, *types: Any) -> str:
        """What is of one of some types."""
        schemas, definitions = schemas_of(types, "{name}")
        self._definitions |= definitions
        return " | ".join(_type(schema) for schema in schemas)

    def interfaces(self) -> Iterator[str]:
        """All that have been named."""
        for name, schema in self._definitions.items():
            yield f"\n/** {schema['description']} */\nexport interface {name} {{\n"
            for field, value in schema["properties"].items():
                yield _member(value.get("description"), field, _type(value), field in schema["required"])
            yield "}\n"


def _member(description: str | None, name: str, type: str, is_required: bool = True) -> str:
    comment = f"  /** {description} */\n" if description else ""
    return f"{comment}  {name if name.isidentifier() else json.dumps(name)}{'' if is_required else '?'}: {type};\n"


def _own_data(event: Event) -> str:
    names = (event.whole,) if event.whole else event.fields
    return f"{{ {'; '.join(f'{name}?: unknown' for name in names)} }}"


def _sent(message: Message, types: _Types) -> str:
    if message.name in _RELAYED:
        payload = f'payload: {{ projectId: string }} & Data["{message.name}"]'
    else:
        payload = f"payload: {types.of(message.payload)}" if message.payload is not None else ""
    if message.answers:
        return f"({payload}, ack: (answer: {types.of(*message.answers)}) => void) => void"
    return f"(...args: MayAck<[{payload}]>) => void"


def _got(message: Message, types: _Types) -> str:
    event = _RELAYED.get(message.name)
    return f"(payload: {types.of(message.payload) if event is None else _delivery(event)}) => void"


def _delivery(event: Event) -> str:
    data = f'Data["{event.name}"]'
    if event.whole:
        return f'{data}["{event.whole}"]'
    sender = "; ".join(f"{name}: string" for name in event.sender)
    return f"{{ {sender} }} & {data}" if sender else data


def _type(schema: Schema) -> str:
    match schema:
        case {"$ref": name}:
            return str(name)
        case {"anyOf": alternatives}:
            return " | ".join(_type(each) for each in alternatives)
        case {"const": value}:
            return json.dumps(value)
        case {"type": "array", "items": items}:
            return f"Array<{_type(items)}>"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as name}:
            return str(name)
    raise NotImplementedError(schema)  # no message has such a schema: this one is new
