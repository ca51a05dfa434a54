"""Handlers' types with sets and dictionaries whose keys a client can choose so that all of them have the same hash.

Python gives each process other hashes of texts and bytes, but not of numbers: all multiples of 2**61 - 1 have the hash
0 (https://docs.python.org/3/library/stdtypes.html, "Hashing of numeric types"). So have UUIDs and decimals, and tuples
can be made to. A set of n such keys takes n² comparisons: 200 kB of UUIDs take seven seconds.
"""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, Final

from msgspec import inspect

#: Bytes of an event's JSON that may become such sets and dictionaries: some ten milliseconds.
MAX_SIZE: Final = 16_384

_LONG_NUMBER: Final = re.compile(rb"[0-9]{20}")  # beyond 64 bits; of smaller ones at most sixteen have the same hash

_TEXTS: Final = (inspect.StrType, inspect.BytesType, inspect.BoolType, inspect.NoneType)
_SAFE: Final = (*_TEXTS, inspect.FloatType, inspect.EnumType, inspect.LiteralType)
_TIMES: Final = (inspect.DateTimeType, inspect.DateType, inspect.TimeType)
_SETS: Final = (inspect.SetType, inspect.FrozenSetType)
_TUPLES: Final = (inspect.TupleType, inspect.VarTupleType)
_SAFE_IN_PYDANTIC: Final = ("str", "bytes", "bool", "none", "float", "enum", "literal", "datetime", "date", "time")


class Risk(IntEnum):
    """What a client can do with keys of some type."""

    NONE = 0
    LONG_NUMBERS = 1  # give integers of more than 64 bits the same hash
    ANY_SIZE = 2  # give any number of keys the same hash


def risk_of(types: Iterable[Any]) -> Risk:
    """The greatest risk of types, which msgspec describes; those that they consist of are among them."""
    return max(map(_risk_within, types), default=Risk.NONE)


def are_possible(risk: Risk, data: bytes) -> bool:
    """Whether JSON may hold so many keys of the same hash that it takes long to decode."""
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
        return Risk.LONG_NUMBERS  # of what JSON has, other keys have other hashes in each process
    if isinstance(key, _TUPLES):  # (-1,) and (-2,) have the same hash
        items = key.item_types if isinstance(key, inspect.TupleType) else (key.item_type,)
        return Risk.NONE if all(isinstance(item, _TEXTS) for item in items) else Risk.ANY_SIZE
    return Risk.ANY_SIZE


def _pydantic_keys(model: Any) -> Iterator[Any]:
    """The schemas of the keys within a pydantic model (pydantic-core, core_schema.py)."""
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
