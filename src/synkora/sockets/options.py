"""Validates a server's options, with messages that name a correct value."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast, get_args

from synkora.engine.settings import TransportName

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_LONGEST: Final = 3600  # seconds: a larger value is probably in milliseconds
_LONGEST_WRITE_INTERVAL: Final = 0.01  # seconds: each client waits for it
_TRANSPORTS: Final = get_args(TransportName)


def seconds(name: str, value: object) -> float:
    """Check a duration. Raises `TypeError` and `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if value > _LONGEST:
        raise ValueError(
            f"{name} is in seconds, at most {_LONGEST:,}: {value:,} is too long. Are they milliseconds? Then it is "
            f"{name}={value / 1000:g}"
        )
    if not value > 0:
        raise ValueError(f"{name} is a number of seconds above 0, not {value:g}")
    return value


def write_interval(value: object) -> float:
    """Check the least time between two writes. Raises `TypeError` and `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"write_interval is a number of seconds, not {value!r}")
    if not 0 <= value <= _LONGEST_WRITE_INTERVAL:
        raise ValueError(f"write_interval is a number of seconds from 0 to {_LONGEST_WRITE_INTERVAL}, not {value:g}")
    return value


def size(name: str, value: object) -> int:
    """A number of bytes. Raises `TypeError` and `ValueError`."""
    return count(name, value, " of bytes")


def count(name: str, value: object, of: str = "") -> int:
    """A whole number above 0. Raises `TypeError` and `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number{of}, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} is a number{of} above 0, not {value}")
    return value


def texts(name: str, value: object, example: str) -> tuple[str, ...]:
    """A list of texts. Raises `TypeError` for one text, which Python would take letter by letter."""
    if isinstance(value, str):
        raise TypeError(f"{name} is a list: {name}=[{value!r}]")
    items = tuple(value) if isinstance(value, Iterable) else None
    if items is None or not all(isinstance(item, str) for item in items):
        raise TypeError(f"{name} is a list of texts, such as {example}, not {value!r}")
    return items


def origins(value: Sequence[str]) -> tuple[str, ...]:
    """A list of origins. Raises `TypeError` and `ValueError`."""
    found = texts("origins", value, '["https://app.example"]')
    for origin in found:
        scheme, separator, rest = origin.partition("://")
        if origin in ("*", "null") or (separator and scheme == "file"):
            continue
        if not separator:
            raise ValueError(f"origins: {origin!r} has no scheme: https://{origin}, or http://{origin}")
        if not rest or "/" in rest.removesuffix("/"):
            host = rest.partition("/")[0] or "app.example"
            raise ValueError(
                f"origins: {origin!r} is no origin, which has a scheme, a host and a port: {scheme}://{host}"
            )
    return found


def transports(value: Sequence[str]) -> tuple[TransportName, ...]:
    """A list of transports. Raises `TypeError` and `ValueError`."""
    found = texts("transports", value, '["websocket"]')
    for name in found:
        if name not in _TRANSPORTS:
            raise ValueError(f"transports: {name!r} is not one of {', '.join(map(repr, _TRANSPORTS))}")
    if not found:
        raise ValueError("transports: one at least, or no client can connect")
    return cast("tuple[TransportName, ...]", found)


def path(value: object) -> str:
    """A path, with its last slash. Raises `TypeError` and `ValueError`."""
    if not isinstance(value, str):
        raise TypeError(f"path is a text, not {value!r}")
    if not value.startswith("/"):
        raise ValueError(f"path begins with a slash: /{value.rstrip('/')}/")
    return value.rstrip("/") + "/"


def of_type(name: str, value: object, kind: type[T], expected: str) -> T:
    """A value of one type. Raises `TypeError`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {expected}, not {value!r}")
    return value


def function(name: str, value: F, expected: str) -> F:
    """A function, or an object that can be called. Raises `TypeError` for a class, which its caller forgot to call."""
    if isinstance(value, type) or not callable(value):
        raise TypeError(f"{name} is {expected}, not {value!r}")
    return value
