"""The events of an application: those of its handlers, and those that it declares to emit."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from synkora.sockets.internals import declared_events, handlers_of
from synkora.sockets.namespace import Namespace
from synkora.sockets.signatures import Parameters, result_of

_WORD: Final = re.compile(r"[A-Za-z0-9]+")
#: Parts of a pattern that match varying text.
_CLASS: Final = re.compile(r"\\[A-Za-z]|\[[^\]]*\]|\{[^}]*\}|\(\?(?:P<\w+>|:)")


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of an event; `is_rest` marks any number of such arguments."""

    name: str
    type: Any
    is_required: bool = True
    is_rest: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """An event in one direction: its arguments, and the types of its ack, empty for an ack without arguments."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    answers: tuple[Any, ...] = ()

    @property
    def title(self) -> str:
        """The name as a type name: `task:create` is `TaskCreate`."""
        return "".join(word[:1].upper() + word[1:] for word in _WORD.findall(self.name))


def title_of(namespace: Namespace) -> str:
    r"""Return a namespace's name as a type name, empty for the main namespace: `/room-\d+` is `Room`."""
    return Message(_CLASS.sub("", namespace.name), "", ()).title


def received(namespace: Namespace) -> list[Message]:
    """Return the events that clients may send to a namespace: one for each name with a handler."""
    return [_message(event, functions[0], functions) for event, functions in sorted(handlers_of(namespace).items())]


def emitted(namespace: Namespace) -> list[Message]:
    """Return the events that a namespace declares to emit."""
    return [
        Message(
            event,
            declared.description,
            tuple(Argument(name, shape) for name, shape in declared.arguments.items()),
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
