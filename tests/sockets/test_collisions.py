"""Keys that a client chooses so that all of them have the same hash."""

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from synkora import ConnectRefused, EventRefused
from synkora.sockets.collisions import MAX_SIZE, Risk, are_possible, risk_of
from synkora.sockets.signatures import _risk_of, caller, connect_caller

PERIOD = 2**61 - 1  # its multiples have the same hash


@dataclass(frozen=True)
class Cell:
    row: int
    column: int


class Sheet(msgspec.Struct):
    cells: dict[int, str]


class Board(pydantic.BaseModel):
    votes: dict[str, set[int] | None]


class Shapes(pydantic.BaseModel):
    selected: frozenset[uuid.UUID]


class Position(pydantic.BaseModel):
    x: int


class Row(pydantic.BaseModel):
    cells: list[Position]


class Titles(pydantic.BaseModel):
    of: dict[str, set[Annotated[int, pydantic.Field(ge=0, le=9)]]]


Within: Any = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


@pytest.mark.parametrize(
    ("shape", "risk"),
    [
        (dict[str, list[int]], Risk.NONE),
        (set[str | float | None], Risk.NONE),
        (set[tuple[str, ...]], Risk.NONE),
        (set[Literal[1, 2]], Risk.NONE),
        (dict[Within, int], Risk.NONE),
        (Titles, Risk.NONE),
        (set[int], Risk.LONG_NUMBERS),
        (frozenset[str | int], Risk.LONG_NUMBERS),
        (set[Any], Risk.LONG_NUMBERS),
        (list[Sheet], Risk.LONG_NUMBERS),
        (Board, Risk.LONG_NUMBERS),
        (dict[uuid.UUID, str], Risk.ANY_SIZE),
        (set[Decimal], Risk.ANY_SIZE),
        (set[tuple[int, int]], Risk.ANY_SIZE),
        (set[Cell], Risk.ANY_SIZE),
        (list[Shapes], Risk.ANY_SIZE),
    ],
)
def test_the_risk_of_a_type(shape: Any, risk: Risk) -> None:
    """Texts, and keys that cannot be chosen freely, are no risk, anywhere in a type."""
    assert _risk_of(shape) is risk


def test_a_small_event_and_one_without_long_numbers_are_decoded() -> None:
    assert not are_possible(Risk.ANY_SIZE, b"1" * MAX_SIZE)
    assert are_possible(Risk.ANY_SIZE, b"x" * (MAX_SIZE + 1))
    assert not are_possible(Risk.LONG_NUMBERS, b"1234567890123456789," * MAX_SIZE)
    assert are_possible(Risk.LONG_NUMBERS, b"12345678901234567890," * MAX_SIZE)
    assert not are_possible(Risk.NONE, b"12345678901234567890," * MAX_SIZE)
    assert risk_of(()) is Risk.NONE


def _numbers(socket: object, values: set[int]) -> None: ...


def _keyed(socket: object, values: Sheet) -> None: ...


def _ids(socket: object, *values: set[uuid.UUID]) -> None: ...


def _models(socket: object, values: Board) -> None: ...


@pytest.mark.parametrize(
    ("handler", "value"),
    [
        (_numbers, [number * PERIOD for number in range(20_000)]),
        (_keyed, {"cells": {str(number * PERIOD): "" for number in range(20_000)}}),
        (_ids, [str(uuid.UUID(int=number * PERIOD)) for number in range(5_000)]),
        (_models, {"votes": {"a": [number * PERIOD for number in range(20_000)]}}),
    ],
)
def test_keys_of_one_hash_are_refused_before_they_are_keys(handler: Callable[..., None], value: Any) -> None:
    """Such an event would block the server for several seconds."""
    with pytest.raises(EventRefused, match=re.escape(f"Too large: {MAX_SIZE} bytes of JSON at most")):
        caller("e", handler)(None, json.dumps(["e", value]).encode(), ())


def test_those_of_connect_are_refused_too() -> None:
    auth = {"cells": {str(number * PERIOD): "" for number in range(2_500)}}
    socket = SimpleNamespace(_auth=json.dumps(auth).encode())

    def welcome(socket: object, auth: Sheet) -> None: ...

    with pytest.raises(ConnectRefused, match="Too large"):
        connect_caller("on_connect", welcome)(socket, auth)


def test_very_many_wrong_values_of_a_model_are_only_counted() -> None:
    """Collecting each problem of a 1 MB event took ten seconds and 670 MB."""

    def handler(socket: object, sheet: Row) -> None: ...

    event = json.dumps(["e", {"cells": [{}] * 100_000}]).encode()
    with pytest.raises(EventRefused, match=r"^sheet: 100000 values are wrong$"):
        caller("e", handler)(None, event, ())
