"""The events of an application: those that its handlers take, and those that it declares to emit."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from synkora.schema.json_schema import Schema, schemas_of
from synkora.schema.typescript import Types, member
from synkora.sockets.internals import declared_events, handlers_of
from synkora.sockets.namespace import Namespace
from synkora.sockets.server import SocketServer
from synkora.sockets.signatures import Parameters, result_of

SOCKET_IO: Final = "x-socket.io"
_SCHEMA: Final = "#/components/schemas/{name}"
_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_HEAD: Final = """\
/*
 * The events of a Socket.IO server, for socket.io-client.
 * Generated from the server's handlers by `python -m synkora.schema typescript`. Do not edit: generate again.
 */

/** An event's arguments, with or without an ack. */
type MayAck<Arguments extends unknown[], Answer extends unknown[] = []> =
  | Arguments
  | [...Arguments, ack: (...answer: Answer) => void];
"""
_REFUSED: Final = """
/** An ack that refuses its event. */
export interface Refused {
  error: { message: string; event: string; [detail: string]: unknown };
}
"""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of an event; `is_rest` marks any number of such arguments."""

    name: str
    type: Any
    is_required: bool = True
    is_rest: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """An event in one direction: its arguments, and the types of its ack, none where it has no argument."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    answers: tuple[Any, ...] = ()

    @property
    def title(self) -> str:
        """Its name in the form of a type's: `task:create` is `TaskCreate`."""
        return "".join(word[:1].upper() + word[1:] for word in _WORD.findall(self.name))


def received(namespace: Namespace) -> list[Message]:
    """What clients may send to a namespace: an event for each name that has a handler."""
    return [_message(event, functions[0], functions) for event, functions in sorted(handlers_of(namespace).items())]


def emitted(namespace: Namespace) -> list[Message]:
    """What a namespace declares to emit."""
    return [
        Message(
            event,
            declared.description,
            tuple(Argument(f"argument{index}", each) for index, each in enumerate(declared.types, 1)),
            () if declared.answer is None else (declared.answer,),
        )
        for event, declared in sorted(declared_events(namespace).items())
    ]


def _message(event: str, function: Callable[..., Any], functions: list[Callable[..., Any]]) -> Message:
    parameters = Parameters(function, f"the handler of {event!r}")
    arguments = [
        Argument(name, shape, is_required=index < parameters.required)
        for index, (name, shape) in enumerate(zip(parameters.names, parameters.shapes, strict=True))
    ]
    if parameters.rest is not None:
        arguments.append(Argument("args", parameters.rest, is_required=False, is_rest=True))
    answers = tuple(found for found in map(result_of, functions) if found is not None)
    return Message(event, (inspect.getdoc(function) or "").partition("\n\n")[0], tuple(arguments), answers)


def typescript(server: SocketServer) -> str:
    """Declarations of `ClientToServerEvents` and `ServerToClientEvents`, with the names of other namespaces before."""
    types, parts = Types(), [_HEAD]
    refuses = any(namespace.refusals == "ack" for namespace in server.namespaces.values())
    if refuses:
        parts.append(_REFUSED)
    for name, namespace in sorted(server.namespaces.items()):
        prefix = Message(name, "", ()).title
        is_refused = namespace.refusals == "ack"
        parts.append(f"\n/** What a client may send to {name}. */\nexport interface {prefix}ClientToServerEvents {{\n")
        parts += (_member(message, _sent(message, types, is_refused)) for message in received(namespace))
        parts.append(
            f"}}\n\n/** What a client of {name} may get. */\nexport interface {prefix}ServerToClientEvents {{\n"
        )
        parts += (_member(message, _got(message, types)) for message in emitted(namespace))
        parts.append("  error: (refusal: { message: string; event: string }) => void;\n}\n")
    return "".join([*parts, *types.interfaces()])


def _member(message: Message, type: str) -> str:
    return member(message.description.replace("\n", " ") or None, message.name, type)


def _arguments(message: Message, types: Types) -> Iterator[str]:
    for argument in message.arguments:
        written = types.of(argument.type)
        if argument.is_rest:
            yield f"...{argument.name}: Array<{written}>"
        else:
            yield f"{argument.name}{'' if argument.is_required else '?'}: {written}"


def _sent(message: Message, types: Types, is_refused: bool) -> str:
    """An event that clients send; `is_refused` says that its ack may be a refusal."""
    arguments = list(_arguments(message, types))
    if any(not argument.is_required for argument in message.arguments):
        return f"({', '.join(arguments)}) => void"  # nothing may follow what may be missing
    if message.answers:
        answer = types.of(*message.answers) + (" | Refused" if is_refused else "")
        return f"({', '.join([*arguments, f'ack: (answer: {answer}) => void'])}) => void"
    answer = ", [refused?: Refused]" if is_refused else ""
    return f"(...args: MayAck<[{', '.join(arguments)}]{answer}>) => void"


def _got(message: Message, types: Types) -> str:
    ack = [f"ack: (answer: {types.of(*message.answers)}) => void"] if message.answers else []
    return f"({', '.join([*_arguments(message, types), *ack])}) => void"


def asyncapi(server: SocketServer, *, title: str = "Socket.IO server", version: str = "1.0.0") -> dict[str, Any]:
    """The server as AsyncAPI 3.0.0 sees it: a channel for each namespace, and a message for each event.

    The payload of a message is the array of the event's arguments.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    schemas: dict[str, Schema] = {}
    for name, namespace in sorted(server.namespaces.items()):
        prefix = Message(name, "", ()).title
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
            "address": name,
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
        payload["items"] = fixed  # draft 7, which AsyncAPI goes by, has tuples so
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
