"""The catalogue as TypeScript declarations, for the typed events of `socket.io-client`."""

from typing import Final

from synkora import __version__
from synkora.app.schema.json_schema import schemas_of
from synkora.app.schema.messages import Message, from_clients, to_clients
from synkora.collaboration.events import CATALOGUE, Event
from synkora.schema.typescript import Types, member

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
    types = Types(schemas_of)
    parts = [
        _HEAD,
        *(member(event.description, event.name, _own_data(event)) for event in CATALOGUE),
        "}\n",
        _SENT,
        *(member(message.description, message.name, _sent(message, types)) for message in from_clients()),
        "}\n",
        _GOT,
        *(member(message.description, message.name, _got(message, types)) for message in to_clients()),
        "}\n",
        *types.interfaces(),
    ]
    return "".join(parts)


def _own_data(event: Event) -> str:
    names = (event.whole,) if event.whole else event.fields
    return f"{{ {'; '.join(f'{name}?: unknown' for name in names)} }}"


def _sent(message: Message, types: Types) -> str:
    if message.name in _RELAYED:
        payload = f'payload: {{ projectId: string }} & Data["{message.name}"]'
    else:
        payload = f"payload: {types.of(message.payload)}" if message.payload is not None else ""
    if message.answers:
        return f"({payload}, ack: (answer: {types.of(*message.answers)}) => void) => void"
    return f"(...args: MayAck<[{payload}]>) => void"


def _got(message: Message, types: Types) -> str:
    event = _RELAYED.get(message.name)
    return f"(payload: {types.of(message.payload) if event is None else _delivery(event)}) => void"


def _delivery(event: Event) -> str:
    data = f'Data["{event.name}"]'
    if event.whole:
        return f'{data}["{event.whole}"]'
    sender = "; ".join(f"{name}: string" for name in event.sender)
    return f"{{ {sender} }} & {data}" if sender else data
