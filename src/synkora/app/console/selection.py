"""The first rows of a table in some order: selected on each instance, then merged."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from time import perf_counter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from synkora.app.console.rpc_messages import Row, Rows

Item = TypeVar("Item")
T = TypeVar("T")

_TURN: Final = 0.001  # seconds of work before other tasks get a turn
_PLACE: Final = attrgetter("number", "text", "id")


class Column(NamedTuple):
    """A sort order: by `key`, and for equal keys by `id`, so that all instances sort alike.

    All keys are numbers, or all are texts.
    """

    key: Callable[[Any], Any]
    id: Callable[[Any], str]
    is_descending: bool


async def select(
    items: Sequence[Item],
    column: Column,
    most: int,
    show: Callable[[Item], T],
    fits: Callable[[Item], bool] | None = None,
) -> tuple[int, list[Row[T]]]:
    """Return the number of matching items, and the first `most` of them in order. Yields to the event loop.

    It is fastest if items arrive in this order.
    """
    key, id_of, is_descending = column
    matched = 0
    first: list[tuple[Any, str, int]] = []
    new: list[tuple[Any, str, int]] = []
    last = None  # key of the last row, if the list is full
    over = perf_counter() + _TURN
    for index, item in enumerate(items):
        if perf_counter() >= over:
            first, new = sorted(first + new, reverse=is_descending)[:most], []
            last = first[-1][0] if len(first) == most else None
            await asyncio.sleep(0)
            over = perf_counter() + _TURN
        if fits is not None and not fits(item):
            continue
        matched += 1
        found = key(item)
        # Most items sort after the last row of a full list, and cost only this comparison.
        if last is None or (found >= last if is_descending else found <= last):
            new.append((found, id_of(item), index))
    rows: list[Row[T]] = []
    for found, row_id, index in sorted(first + new, reverse=is_descending)[:most]:
        if perf_counter() >= over:
            await asyncio.sleep(0)
            over = perf_counter() + _TURN
        number, text = (0, found) if isinstance(found, str) else (found, "")
        rows.append(Row(number, text, row_id, show(items[index])))
    return matched, rows


class Merged(NamedTuple, Generic[T]):
    """A row, and the instances that sent the row."""

    shown: T
    instances: list[str]


def merged(answers: Mapping[str, Rows[T]], offset: int, limit: int, *, is_descending: bool) -> list[Merged[T]]:
    """Merge each instance's first `offset + limit` rows; return up to `limit` rows from `offset` on.

    A row from several instances appears once, with the first instance's content.
    """
    told = [[(row, instance) for row in rows.rows] for instance, rows in sorted(answers.items())]
    found: dict[str, Merged[T]] = {}
    for row, instance in merge(*told, key=lambda one: _PLACE(one[0]), reverse=is_descending):
        known = found.get(row.id)
        if known is None:
            found[row.id] = Merged(row.shown, [instance])
        else:
            known.instances.append(instance)
    return list(found.values())[offset : offset + limit]
