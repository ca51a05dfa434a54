"""The first rows of a table by some order: chosen from many here, and put together from all instances."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from synkora.app.console.topics import Key, Rows
from synkora.protocol.json import Raw

T = TypeVar("T")

# In one turn of the event loop, which takes half a millisecond.
_LOOKED_AT: Final = 500
_WRITTEN: Final = 100


class Column(NamedTuple):
    """What rows are sorted by: `key` of each, those of equal keys by their `id`, so that all instances agree on it."""

    key: Callable[[Any], Any]
    id: Callable[[Any], str]
    is_descending: bool


async def select(
    items: Sequence[T],
    column: Column,
    most: int,
    write: Callable[[T], bytes],
    fits: Callable[[T], bool] | None = None,
) -> tuple[int, list[tuple[Key, str, Raw]]]:
    """How many items fit, and the first `most` of them in order, as JSON; the event loop goes on meanwhile.

    It is quickest where items come in that order.
    """
    matched = 0
    first: list[tuple[Any, str, int]] = []
    for start in range(0, len(items), _LOOKED_AT):
        found = range(start, min(start + _LOOKED_AT, len(items)))
        fitting = found if fits is None else [index for index in found if fits(items[index])]
        matched += len(fitting)
        first = _first(first, items, fitting, column, most)
        await asyncio.sleep(0)
    rows: list[tuple[Key, str, Raw]] = []
    for start in range(0, len(first), _WRITTEN):
        rows += [(key, row_id, Raw(write(items[index]))) for key, row_id, index in first[start : start + _WRITTEN]]
        await asyncio.sleep(0)
    return matched, rows


def _first(
    first: list[tuple[Any, str, int]], items: Sequence[Any], more: Sequence[int], column: Column, most: int
) -> list[tuple[Any, str, int]]:
    """The first `most` of some that are in order and of some more."""
    key, row_id, is_descending = column
    is_full = len(first) == most
    last, last_id, _ = first[-1] if is_full else (None, "", 0)
    new = []
    for index in more:
        item = items[index]
        found = key(item)
        # Most come after the last of a full list, and cost no more than this.
        if is_full and (found < last if is_descending else found > last):
            continue
        found_id = row_id(item)
        if is_full and found == last and (found_id < last_id if is_descending else found_id > last_id):
            continue
        new.append((found, found_id, index))
    return sorted(first + new, reverse=is_descending)[:most] if new else first


class Merged(NamedTuple):
    """A row as JSON, and the instances that have told of it."""

    row: Raw
    instances: list[str]


def merged(answers: Mapping[str, Rows], offset: int, limit: int, *, is_descending: bool) -> list[Merged]:
    """The rows from `offset` on, up to `limit` of them, from each instance's first `offset + limit` ones.

    One that several instances tell of comes once, as the first of them has it.
    """
    told = [
        [(key, row_id, row, instance) for key, row_id, row in rows.rows] for instance, rows in sorted(answers.items())
    ]
    found: dict[str, Merged] = {}
    for _, row_id, row, instance in merge(*told, key=itemgetter(0, 1), reverse=is_descending):
        known = found.get(row_id)
        if known is None:
            found[row_id] = Merged(row, [instance])
        else:
            known.instances.append(instance)
    return list(found.values())[offset : offset + limit]
