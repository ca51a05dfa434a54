"""Checks the number and types of arguments against a handler's signature, before the call.

Annotations are the types of arguments: builtins, msgspec Structs, dataclasses, TypedDicts, pydantic models and
combinations by `typing`. An argument without an annotation, or with `Any` or `object`, may be anything.
"""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from synkora.protocol.errors import InvalidPayload
from synkora.protocol.json import Decoder, convert
from synkora.protocol.socketio import decode_arguments
from synkora.sockets import collisions
from synkora.sockets.errors import ConnectRefused, EventRefused

_PLACE: Final = re.compile(r"\[(?P<index>\d+)\](?P<rest>.*)", re.DOTALL)
#: The prefix of a problem that contains a path inside the value.
_INSIDE: Final = "@"
_MISSING: Final = object()
#: Maximum problems of a pydantic model to describe: very many would take seconds and several hundred megabytes.
_MAX_PROBLEMS: Final = 100
_TOO_MANY_KEYS: Final = f"Too large: {collisions.MAX_SIZE} bytes of JSON at most, because it has numbers or ids as keys"
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Parameters:
    """The parameters of a handler after its first ones, which are the socket and further arguments from Synkora.

    `names` and `shapes` are those of the positional parameters, of which `required` have no default. `rest` is the
    shape of `*args`, None where there is no such parameter.
    Raises `TypeError` for a handler that cannot be called with as many arguments as `given`, or whose annotations
    cannot be resolved.
    """

    def __init__(self, handler: Callable[..., Any], what: str, given: int = 1) -> None:
        self.names: list[str] = []
        self.shapes: list[Any] = []
        self.required = 0
        self.rest: Any = None
        try:
            parameters = list(inspect.signature(handler).parameters.values())
        except (TypeError, ValueError):
            if not callable(handler):
                raise TypeError(f"{what} is not a function: {handler!r}") from None
            self.rest = Any  # a C function without a known signature
            return
        known = _globals_of(handler)
        positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
        rest = next((each for each in parameters if each.kind is inspect.Parameter.VAR_POSITIONAL), None)
        if len(positional) < given and rest is None:
            raise TypeError(f"{what} takes {given} argument{'s' * (given > 1)} at least, the socket first")
        for parameter in parameters:
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is inspect.Parameter.empty:
                raise TypeError(f"{what} is called without keywords, so {parameter.name} needs a default")
        if positional and given:
            _check_socket(positional[0], known, what)
        for parameter in positional[given:]:
            self.names.append(parameter.name)
            self.shapes.append(_shape(parameter, known, what))
            self.required += parameter.default is inspect.Parameter.empty
        if rest is not None:
            self.rest = _shape(rest, known, what)

    @property
    def is_untyped(self) -> bool:
        """Whether every argument may be anything."""
        return all(shape is Any for shape in (*self.shapes, Any if self.rest is None else self.rest))

    def takes(self, count: int) -> bool:
        """Whether `count` arguments are allowed."""
        return self.required <= count and (self.rest is not None or count <= len(self.names))

    def wrong_count(self, event: str, count: int) -> EventRefused:
        """Return the refusal of an event with a wrong number of arguments."""
        least, most = self.required, len(self.names)
        if self.rest is not None:
            expected = f"at least {_arguments(least)}"
        elif least == most:
            expected = _arguments(most) if most else "no arguments"
        else:
            expected = f"{least} to {_arguments(most)}"
        return EventRefused(f"{event} takes {expected}, got {count}")


def caller(event: str, handler: Callable[..., Any]) -> Callable[[Any, bytes, tuple[bytes, ...]], object]:
    """Return a function that calls `handler(socket, *args)` with the arguments in an event's JSON array.

    The function raises `EventRefused` for arguments that the handler does not accept.
    """
    parameters = Parameters(handler, f"the handler of {event!r}")
    if not parameters.is_untyped:
        arguments = _Arguments(event, parameters)
        return lambda socket, data, attachments: handler(socket, *arguments.decode(data, attachments))

    def call(socket: Any, data: bytes, attachments: tuple[bytes, ...]) -> object:
        values = decode_arguments(data, attachments)
        if not parameters.takes(len(values) - 1):
            raise parameters.wrong_count(event, len(values) - 1)
        return handler(socket, *values[1:])

    return call


def connect_caller(what: str, handler: Callable[..., Any]) -> Callable[[Any, dict[str, Any]], Any]:
    """Return a function that calls `handler(socket, auth)` or `handler(socket)`.

    The function raises `ConnectRefused` for a payload of CONNECT that does not have the annotated type.
    """
    parameters = Parameters(handler, what)
    if parameters.required > 1 or "environ" in parameters.names:  # python-socketio's name for the request
        raise TypeError(f"{what} takes (socket) or (socket, auth): the request is socket.handshake")
    if not parameters.names and parameters.rest is None:
        return lambda socket, auth: handler(socket)
    shape = parameters.shapes[0] if parameters.shapes else parameters.rest
    if shape is Any or shape in (dict, dict[str, Any], dict[str, object]):
        return handler
    check_type(shape, what, parameters.names[0])
    is_optional = parameters.required == 0
    risk = _risk_of(shape)

    def call(socket: Any, auth: dict[str, Any]) -> object:
        if is_optional and not auth:
            return handler(socket)
        if collisions.are_possible(risk, socket._auth):
            raise ConnectRefused(_TOO_MANY_KEYS)
        try:
            return handler(socket, convert(auth, shape, _make))
        except InvalidPayload as error:
            raise ConnectRefused(_at("auth", f".{error.path}" if error.path else "", error.problem)) from None

    return call


def takes_exactly(what: str, handler: Callable[..., Any], *names: str) -> None:
    """Check that a handler can be called with these arguments, the socket first. Raises `TypeError`."""
    parameters = Parameters(handler, what)
    if not parameters.takes(len(names) - 1):
        found = ", ".join(map(str, inspect.signature(handler).parameters))
        raise TypeError(f"{what} takes ({', '.join(names)}), not ({found})")


def takes_any(what: str, handler: Callable[..., Any]) -> None:
    """Check that a handler can be called as `handler(socket, event, *args)`. Raises `TypeError`."""
    parameters = Parameters(handler, what, given=2)
    if parameters.rest is None or parameters.required:
        raise TypeError(f"{what} takes (socket, event, *args)")


def takes_any_outgoing(what: str, handler: Callable[..., Any]) -> None:
    """Check that a handler can be called as `handler(event, *args)`. Raises `TypeError`."""
    parameters = Parameters(handler, what, given=0)
    if parameters.rest is None or parameters.required > 1:
        raise TypeError(f"{what} takes (event, *args)")


class _Arguments:
    """Decodes the arguments of one event by the types in a handler's signature."""

    def __init__(self, event: str, parameters: Parameters) -> None:
        self._event = event
        self._parameters = parameters
        what = f"the handler of {event!r}"
        fields: list[Any] = [("event", Any)]
        for index, (name, shape) in enumerate(zip(parameters.names, parameters.shapes, strict=True)):
            check_type(shape, what, name)
            default = () if index < parameters.required else (msgspec.field(default_factory=lambda: _MISSING),)
            fields.append((f"argument{index}", shape, *default))
        self._shape = msgspec.defstruct("Arguments", fields, array_like=True, forbid_unknown_fields=True)
        self._rest = None if parameters.rest is None else list[parameters.rest]  # type: ignore[name-defined]  # a type made here
        if self._rest is not None:
            check_type(self._rest, what, "args")
        self._decoder: Decoder[Any] = Decoder(self._shape, dec_hook=_make)
        # JSON has no bytes: they arrive as attachments. msgspec would also decode base64 texts as bytes.
        self._is_split = self._rest is not None or any(map(_may_be_bytes, parameters.shapes))
        shapes = parameters.shapes if self._rest is None else [*parameters.shapes, self._rest]
        self._risk = max(map(_risk_of, shapes), default=collisions.Risk.NONE)

    def decode(self, data: bytes, attachments: tuple[bytes, ...]) -> list[Any]:
        """Return the arguments in an event's JSON array. Raises `EventRefused` with the path of the invalid value."""
        if collisions.are_possible(self._risk, data):
            raise EventRefused(_TOO_MANY_KEYS)
        if not attachments and not self._is_split:
            try:
                return _given(self._decoder.decode(data))
            except InvalidPayload as error:
                raise self._refusal(error, len(decode_arguments(data)) - 1) from None
        values = decode_arguments(data, attachments)
        count, split = len(values) - 1, len(self._parameters.names) + 1
        if not self._parameters.takes(count):
            raise self._parameters.wrong_count(self._event, count)
        try:
            found = _given(convert(values[:split], self._shape, _make))
        except InvalidPayload as error:
            raise self._refusal(error, count) from None
        if self._rest is None:
            return found
        try:
            return [*found, *convert(values[split:], self._rest, _make)]
        except InvalidPayload as error:
            raise EventRefused(_at("args", error.path, error.problem)) from None

    def _refusal(self, error: InvalidPayload, count: int) -> EventRefused:
        if not self._parameters.takes(count):
            return self._parameters.wrong_count(self._event, count)
        place = _PLACE.fullmatch(error.path)
        if place is None:
            return EventRefused(str(error))
        return EventRefused(_at(self._parameters.names[int(place["index"]) - 1], place["rest"], error.problem))


def result_of(handler: Callable[..., Any]) -> Any:
    """Return the annotated result type of a handler: `Any` without an annotation, None for the annotation None."""
    try:
        returned = inspect.signature(handler).return_annotation
    except (TypeError, ValueError):
        return Any
    if isinstance(returned, str):
        hints = get_type_hints(
            SimpleNamespace(__annotations__={"it": returned}), _globals_of(handler), include_extras=True
        )
        returned = hints["it"]
    if returned in (None, type(None)):
        return None
    return Any if returned in (inspect.Signature.empty, object) else returned


def _given(arguments: msgspec.Struct) -> list[Any]:
    """Return the received arguments. The arguments after the first missing one have their defaults."""
    values = list(msgspec.structs.astuple(arguments))
    while values[-1] is _MISSING:
        values.pop()
    return values[1:]


def _at(name: str, rest: str, problem: str) -> str:
    """Return a problem with its path: `message.text: Expected str, got int`."""
    if problem.startswith(_INSIDE):
        inside, _, problem = problem[1:].partition(": ")
        rest += f".{inside}" if inside else ""
    return f"{name}{rest}: {problem}"


def _make(shape: type, value: Any) -> Any:
    """Convert a value to a type that msgspec does not know: anything, or a pydantic model."""
    if shape is object:
        return value
    try:
        return shape.model_validate(value)  # type: ignore[attr-defined]  # `check_type` accepts no other type
    except ValueError as error:
        count = error.error_count()  # type: ignore[attr-defined]  # pydantic's ValidationError
        if count > _MAX_PROBLEMS:
            raise ValueError(f"{count} values are wrong") from None
        first = error.errors(include_url=False)[0]  # type: ignore[attr-defined]  # pydantic's ValidationError
        raise ValueError(f"{_INSIDE}{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _check_socket(parameter: inspect.Parameter, known: dict[str, Any], what: str) -> None:
    """Check that the first parameter is not annotated as data. Raises `TypeError`."""
    try:
        shape = _shape(parameter, known, what)
    except TypeError:
        return  # a name defined only for type checkers
    shape = get_origin(shape) or shape
    if not isinstance(shape, type) or shape is object:
        return
    is_data = shape.__module__ == "builtins" or is_dataclass(shape) or hasattr(shape, "model_validate")
    if is_data or issubclass(shape, msgspec.Struct):
        raise TypeError(f"{what} gets the socket first: {parameter.name} is a Socket, not a {shape.__name__}")


def _shape(parameter: inspect.Parameter, known: dict[str, Any], what: str) -> Any:
    shape = parameter.annotation
    if isinstance(shape, str):
        try:
            hints = get_type_hints(SimpleNamespace(__annotations__={"it": shape}), known, include_extras=True)
        except Exception as error:
            raise TypeError(f"{what}: the annotation of {parameter.name}, {shape}, is not defined: {error}") from error
        shape = hints["it"]
    return Any if shape in (inspect.Parameter.empty, object) else shape


def check_type(shape: Any, what: str, name: str) -> None:
    """Check that values can be converted to a type. Raises `TypeError`."""
    try:
        found = msgspec.inspect.type_info(shape)
    except Exception as error:
        raise TypeError(f"{what}: {name}{_unsupported_place(shape)} cannot be checked: {error}") from error
    for place, each in _placed_parts(found):
        is_unknown = isinstance(each, msgspec.inspect.CustomType) and each.cls is not object
        if is_unknown and not hasattr(each.cls, "model_validate"):
            raise TypeError(
                f"{what}: {name}{place} cannot be a {each.cls.__name__}: take a builtin, a dataclass, a TypedDict, a "
                "msgspec Struct or a pydantic model"
            )


def _unsupported_place(shape: Any, seen: tuple[Any, ...] = ()) -> str:
    """Return the place of what msgspec does not support within a type, `.user.name`; empty for the type itself."""
    try:
        fields = get_type_hints(shape, include_extras=True) if isinstance(shape, type) and not get_origin(shape) else {}
    except NameError:
        fields = {}
    inside = [("", each) for each in get_args(shape)] + [(f".{name}", each) for name, each in fields.items()]
    for step, each in inside:
        if each in seen:
            continue
        try:
            msgspec.inspect.type_info(each)
        except Exception:  # noqa: BLE001  # msgspec's errors have several types
            return step + _unsupported_place(each, (*seen, shape))
    return ""


def _may_be_bytes(shape: Any) -> bool:
    types = (msgspec.inspect.BytesType, msgspec.inspect.ByteArrayType, msgspec.inspect.MemoryViewType)
    return any(isinstance(each, types) for each in _parts(msgspec.inspect.type_info(shape)))


def _risk_of(shape: Any) -> collisions.Risk:
    return collisions.risk_of(_parts(msgspec.inspect.type_info(shape)))


def _parts(found: Any) -> list[Any]:
    """Return a type and all types within it, as described by msgspec."""
    return [each for _, each in _placed_parts(found)]


def _placed_parts(found: Any) -> list[tuple[str, Any]]:
    """Return a type and all types within it, as described by msgspec, each after its place: `.user.name`."""
    seen: dict[int, tuple[str, Any]] = {}
    waiting = [("", found)]
    while waiting:
        place, each = waiting.pop()
        if isinstance(each, tuple):
            waiting.extend((place, item) for item in each)
        elif isinstance(each, msgspec.Struct) and id(each) not in seen:
            if isinstance(each, msgspec.inspect.Field):
                place = f"{place}.{each.name}"
            seen[id(each)] = (place, each)
            waiting.extend((place, getattr(each, name)) for name in each.__struct_fields__)
    return list(seen.values())


def _globals_of(handler: Any) -> dict[str, Any]:
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = inspect.unwrap(getattr(handler, "__func__", handler))
    if not hasattr(function, "__globals__"):
        function = type(handler).__call__
    return dict(getattr(function, "__globals__", {}))


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"
