"""The events of a library user's application as TypeScript declarations."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from synkora.schema.events import ANYTHING, Argument, Message, emitted, received, titles_of, types_of
from synkora.schema.typescript_types import Types, member
from synkora.sockets.internals import namespaces_of
from synkora.sockets.server import SocketServer

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
#: `EventRefused(message, **details)`, as a client gets it.
_REFUSAL: Final = "{ message: string; event: string; [detail: string]: unknown }"
_REFUSED: Final = f"""
/** An ack that refuses its event. */
export interface Refused {{
  error: {_REFUSAL};
}}
"""


def typescript(server: SocketServer) -> str:
    """Return `ClientToServerEvents` and `ServerToClientEvents`, for other namespaces with a prefix."""
    namespaces = namespaces_of(server)
    events = [(received(namespace), emitted(namespace)) for namespace in namespaces]
    titles = titles_of(namespaces)
    parts, taken = [_HEAD], ["MayAck", *(f"{each}ClientToServerEvents" for each in titles)]
    taken += (f"{each}ServerToClientEvents" for each in titles)
    if any(namespace.refusals == "ack" for namespace in namespaces):
        parts.append(_REFUSED)
        taken.append("Refused")
    types = Types(types_of(message for both in events for each in both for message in each), taken)
    for namespace, prefix, (got, sent) in zip(namespaces, titles, events, strict=True):
        name = namespace.name.replace("*/", "*\\/")  # a pattern may contain the end of a comment
        is_refused = namespace.refusals == "ack"
        parts.append(f"\n/** What a client may send to {name}. */\nexport interface {prefix}ClientToServerEvents {{\n")
        parts += (_member(message, _sent(message, types, is_refused)) for message in got)
        parts.append(
            f"}}\n\n/** What a client of {name} may get. */\nexport interface {prefix}ServerToClientEvents {{\n"
        )
        parts += (_member(message, _got(message, types)) for message in sent)
        parts.append(f"  error: (refusal: {_REFUSAL}) => void;\n}}\n")
    return "".join([*parts, *types.interfaces()])


def _member(message: Message, type: str) -> str:
    return member(message.description.replace("\n", " ") or None, message.name, type)


def _arguments(arguments: Iterable[Argument], types: Types) -> Iterator[str]:
    for argument in arguments:
        written = types.of(argument.type)
        if argument.is_rest:
            yield f"...{argument.name}: Array<{written}>"
        else:
            yield f"{argument.name}{'' if argument.is_required else '?'}: {written}"


def _sent(message: Message, types: Types, is_refused: bool) -> str:
    """Return the type of an event from clients; with `is_refused`, its ack may be a refusal."""
    lists = [", ".join(_arguments(arguments, types)) for arguments in _lists(message.arguments)]
    if message.acks and message.acks != (ANYTHING,):
        ack = _ack(message.acks, types, is_refused)
        tuples = [f"[{each}, {ack}]" if each else f"[{ack}]" for each in lists]
    else:
        answer = ", [answer?: unknown]" if message.acks else ", [refused?: Refused]" if is_refused else ""
        tuples = [f"MayAck<[{each}]{answer}>" for each in lists]
    if len(tuples) == 1 and tuples[0].startswith("[") and "..." not in lists[0]:
        return f"({tuples[0][1:-1]}) => void"
    return f"(...args: {' | '.join(tuples)}) => void"


def _lists(arguments: Sequence[Argument]) -> list[Sequence[Argument]]:
    """Return the lists of arguments that a client may send, since nothing may follow an optional element of a tuple."""
    required = sum(argument.is_required for argument in arguments)
    fixed = [replace(argument, is_required=True) for argument in arguments if not argument.is_rest]
    rest = [argument for argument in arguments if argument.is_rest]
    return [*(fixed[:count] for count in range(required, len(fixed))), [*fixed, *rest]]


def _ack(acks: Sequence[Sequence[Argument]], types: Types, is_refused: bool = False) -> str:
    """Return the ack as a parameter: a function of the arguments in one of the lists."""
    if all(len(acked) < 2 and not any(argument.is_rest for argument in acked) for acked in acks):
        written = types.of(*(argument.type for acked in acks for argument in acked))
        mark = "" if all(acks) else "?"
        return f"ack: (answer{mark}: {written}{' | Refused' if is_refused else ''}) => void"
    lists = [", ".join(_arguments(acked, types)) for acked in acks]
    if is_refused:
        lists.append("refused: Refused")
    if len(lists) == 1:
        return f"ack: ({lists[0]}) => void"
    return f"ack: (...answer: {' | '.join(f'[{each}]' for each in lists)}) => void"


def _got(message: Message, types: Types) -> str:
    ack = [_ack(message.acks, types)] if message.acks else []
    return f"({', '.join([*_arguments(message.arguments, types), *ack])}) => void"
