"""Hash collisions: types with sets and dictionaries whose keys a client can choose to have the same hash.

Python randomises the hashes of str and bytes, but not of numbers: all multiples of 2**61 - 1 have the hash 0
(https://docs.python.org/3/library/stdtypes.html, "Hashing of numeric types"). The same holds for UUIDs and decimals,
and tuples can be chosen alike. A set of n such keys takes n² comparisons: 200 kB of UUIDs take seven seconds.
"""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, Final

from msgspec import inspect

#: Maximum bytes of an event's JSON for such sets and dictionaries: about ten milliseconds.
MAX_SIZE: Final = 16_384

_LONG_NUMBER: Final = re.compile(rb"[0-9]{20}")  # beyond 64 bits; at most sixteen smaller integers have the same hash

_TEXTS: Final = (inspect.StrType, inspect.BytesType, inspect.BoolType, inspect.NoneType)
_SAFE: Final = (*_TEXTS, inspect.FloatType, inspect.EnumType, inspect.LiteralType)
_TIMES: Final = (inspect.DateTimeType, inspect.DateType, inspect.TimeType)
_SETS: Final = (inspect.SetType, inspect.FrozenSetType)
_TUPLES: Final = (inspect.TupleType, inspect.VarTupleType)
_SAFE_IN_PYDANTIC: Final = ("str", "bytes", "bool", "none", "float", "enum", "literal", "datetime", "date", "time")


class Risk(IntEnum):
    """The collisions that a client can cause with keys of a type."""

    NONE = 0
    LONG_NUMBERS = 1  # integers of more than 64 bits can collide
    ANY_SIZE = 2  # any number of keys can collide


def risk_of(types: Iterable[Any]) -> Risk:
    """Return the greatest risk of types, as described by msgspec, including their parts."""
    return max(map(_risk_within, types), default=Risk.NONE)


def are_possible(risk: Risk, data: bytes) -> bool:
    """Whether JSON may hold so many colliding keys that decoding takes long."""
    if risk is Risk.NONE or len(data) <= MAX_SIZE:
        return False
    return risk is Risk.ANY_SIZE or _LONG_NUMBER.search(data) is not None


def _risk_within(found: Any) -> Risk:
    if isinstance(found, _SETS):
        return _risk_of_key(found.item_type)
    if isinstance(found, inspect.DictType):
        return _risk_of_key(found.key_type)
    if isinstance(found, inspect.CustomType) and found.cls is not object:
        return max(map(_risk_of_pydantic_key, _pydantic_keys(found.cls)), default=Risk.NONE)
    return Risk.NONE


def _risk_of_key(key: Any) -> Risk:
    if isinstance(key, (*_SAFE, *_TIMES)):
        return Risk.NONE
    if isinstance(key, inspect.UnionType):
        return max(map(_risk_of_key, key.types))
    if isinstance(key, inspect.IntType):
        has_least = key.ge is not None or key.gt is not None
        has_most = key.le is not None or key.lt is not None
        return Risk.NONE if has_least and has_most else Risk.LONG_NUMBERS
    if isinstance(key, inspect.AnyType):
        return Risk.LONG_NUMBERS  # the hashes of JSON's other keys are random for each process
    if isinstance(key, _TUPLES):  # (-1,) and (-2,) have the same hash
        items = key.item_types if isinstance(key, inspect.TupleType) else (key.item_type,)
        return Risk.NONE if all(isinstance(item, _TEXTS) for item in items) else Risk.ANY_SIZE
    return Risk.ANY_SIZE


def _pydantic_keys(model: Any) -> Iterator[Any]:
    """Yield the schemas of the keys within a pydantic model (pydantic-core, core_schema.py)."""
    model.model_rebuild()
    waiting = [model.__pydantic_core_schema__]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, dict):
            if schema.get("type") in ("set", "frozenset"):
                yield schema.get("items_schema", {"type": "any"})
            elif schema.get("type") == "dict":
                yield schema.get("keys_schema", {"type": "str"})
            waiting.extend(schema.values())
        elif isinstance(schema, list | tuple):
            waiting.extend(schema)


def _risk_of_pydantic_key(schema: Any) -> Risk:
    kind = schema["type"]
    if kind in _SAFE_IN_PYDANTIC:
        return Risk.NONE
    if kind == "int":
        is_bounded = schema.keys() & {"ge", "gt"} and schema.keys() & {"le", "lt"}
        return Risk.NONE if is_bounded else Risk.LONG_NUMBERS
    return Risk.LONG_NUMBERS if kind == "any" else Risk.ANY_SIZE
