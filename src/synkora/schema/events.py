"""The events of an application: those of its handlers, and those that it declares to emit."""

import inspect
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from itertools import chain, count
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

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


#: The ack of a handler that does not say what it returns.
ANYTHING: Final = (Argument("answer", Any, is_required=False),)


@dataclass(frozen=True, slots=True)
class Message:
    """An event in one direction: its arguments, and the lists of arguments that its ack may have.

    `acks` is empty if the ack has no arguments.
    """

    name: str
    description: str
    arguments: tuple[Argument, ...]
    acks: tuple[tuple[Argument, ...], ...] = ()

    @property
    def title(self) -> str:
        """The name as a type name: `task:create` is `TaskCreate`."""
        return "".join(word[:1].upper() + word[1:] for word in _WORD.findall(self.name))


def titles_of(namespaces: Iterable[Namespace]) -> list[str]:
    r"""Return the names of namespaces as type names, each once; empty for the main namespace: `/room-\d+` is `Room`."""
    titles: list[str] = []
    for namespace in namespaces:
        title = Message(_CLASS.sub("", namespace.name), "", ()).title
        if namespace.name != "/" and not title[:1].isalpha():
            title = f"Namespace{title}"
        titles.append(unused(title, titles))
    return titles


def unused(name: str, used: Container[str]) -> str:
    """Return a name, with a number behind it if it is used already."""
    numbered = (f"{name}{number}" for number in count(2))
    return next(each for each in chain((name,), numbered) if each not in used)


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
            () if declared.answer is None else ((Argument("answer", declared.answer),),),
        )
        for event, declared in sorted(declared_events(namespace).items())
    ]


def types_of(messages: Iterable[Message]) -> list[Any]:
    """Return the types of all arguments of events and of their acks."""
    return [
        argument.type
        for message in messages
        for arguments in (message.arguments, *message.acks)
        for argument in arguments
    ]


def _message(event: str, function: Callable[..., Any], functions: list[Callable[..., Any]]) -> Message:
    parameters = Parameters(function, f"the handler of {event!r}")
    arguments = [
        Argument(name, shape, is_required=index < parameters.required)
        for index, (name, shape) in enumerate(zip(parameters.names, parameters.shapes, strict=True))
    ]
    if parameters.rest is not None:
        arguments.append(Argument("args", parameters.rest, is_required=False, is_rest=True))
    return Message(
        event,
        (inspect.getdoc(function) or "").partition("\n\n")[0],
        tuple(arguments),
        _acks([result_of(each) for each in functions]),
    )


def _acks(results: list[Any]) -> tuple[tuple[Argument, ...], ...]:
    """Return the lists of arguments that an ack may have, from the result types of the handlers of an event.

    The first result that is not None is the ack, and an ack without arguments if there is none. A tuple is several
    arguments.
    """
    kinds = [_alternatives(result) for result in results]
    if any(Any in kind for kind in kinds):
        return (ANYTHING,)
    acks = [
        _several(each) if _is_tuple(each) else (Argument("answer", each),)
        for kind in kinds
        for each in kind
        if each is not NoneType
    ]
    if acks and all(NoneType in kind for kind in kinds):
        acks.append(())
    return tuple(acks)


def _alternatives(shape: Any) -> list[Any]:
    """Return the types of a union; of another type, the type alone."""
    if shape is None:
        return [NoneType]
    if get_origin(shape) in (Union, UnionType):
        return [each for alternative in get_args(shape) for each in _alternatives(alternative)]
    if get_origin(shape) is Annotated and (_is_tuple(shape.__origin__) or len(_alternatives(shape.__origin__)) > 1):
        return _alternatives(shape.__origin__)
    return [shape]


def _is_tuple(shape: Any) -> bool:
    kind = get_origin(shape) or shape
    return isinstance(kind, type) and issubclass(kind, tuple)


def _several(shape: Any) -> tuple[Argument, ...]:
    """Return the arguments that a tuple becomes."""
    names = getattr(shape, "_fields", None)
    if names is not None:
        hints = get_type_hints(shape, include_extras=True)
        return tuple(Argument(name, hints.get(name, Any)) for name in names)
    shapes = get_args(shape)
    if not shapes and get_origin(shape) is not None:  # tuple[()]
        return ()
    if not shapes or shapes[-1] is Ellipsis:
        return (Argument("answers", shapes[0] if shapes else Any, is_required=False, is_rest=True),)
    return tuple(Argument(f"answer{index}", each) for index, each in enumerate(shapes, 1))
