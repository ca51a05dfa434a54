"""The first rows of a table, selected on each instance and merged."""

import asyncio
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import given

from synkora.app.console import selection
from synkora.app.console.rpc_messages import Row, Rows
from synkora.app.console.selection import Column, merged, select


class Item(NamedTuple):
    """A row of a table, sorted by `key`."""

    key: Any
    id: str


KEYS = (st.integers(0, 3), st.floats(0, 10, allow_nan=False), st.sampled_from(("", "a", "b", "ä")))
ORDERS = st.booleans()


@st.composite
def tables(draw: st.DrawFn) -> list[Item]:
    """Items with different ids and keys of one type."""
    keys = draw(st.sampled_from(KEYS))
    ids = draw(st.lists(st.text("abcxyz", min_size=1, max_size=4), unique=True, max_size=40))
    return [Item(draw(keys), row_id) for row_id in ids]


def column(*, is_descending: bool) -> Column:
    return Column(lambda item: item.key, lambda item: item.id, is_descending)


async def rows_of(items: list[Item], most: int, *, is_descending: bool) -> Rows[str]:
    matched, rows = await select(items, column(is_descending=is_descending), most, lambda item: item.id)
    return Rows(len(items), matched, rows)


@pytest.fixture(autouse=True)
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices so short that every table needs several."""
    monkeypatch.setattr(selection, "_TURN", 0.0)


@given(tables(), st.integers(1, 50), ORDERS, st.integers(0, 3))
async def test_the_first_of_many(items: list[Item], most: int, is_descending: bool, fitting: int) -> None:
    """The result equals sorting all matching items, and all matching items are counted."""
    wanted = [item for item in items if len(item.id) >= fitting]
    matched, rows = await select(
        items, column(is_descending=is_descending), most, lambda item: item.id, lambda item: item in wanted
    )
    assert matched == len(wanted)
    is_text = bool(items) and isinstance(items[0].key, str)
    found = [(row.text if is_text else row.number, row.id) for row in rows]
    assert found == sorted(wanted, reverse=is_descending)[:most]
    assert [row.shown for row in rows] == [row_id for _, row_id in found]


@given(tables(), st.data(), ORDERS, st.integers(0, 50), st.integers(1, 50))
async def test_rows_of_several_instances_are_rows_of_the_whole(
    items: list[Item], data: st.DataObject, is_descending: bool, offset: int, limit: int
) -> None:
    """For every order and page, although each instance sends only its own first rows. A row of several appears once."""
    homes = {item.id: data.draw(st.sets(st.sampled_from("0123"), min_size=1)) for item in items}
    answers = {
        home: await rows_of(
            [item for item in items if home in homes[item.id]], offset + limit, is_descending=is_descending
        )
        for home in "0123"
    }
    page = merged(answers, offset, limit, is_descending=is_descending)
    whole = sorted(items, reverse=is_descending)[offset : offset + limit]
    assert [(row, sorted(instances)) for row, instances in page] == [
        (item.id, sorted(homes[item.id])) for item in whole
    ]


async def test_the_event_loop_continues_while_a_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table yields after each millisecond, with few or many items."""
    clock = 0.0
    turns_of_others = 0

    def fits(_: Item) -> bool:
        nonlocal clock
        clock += 0.0006
        return True

    def show(item: Item) -> str:
        nonlocal clock
        clock += 0.0003
        return item.id

    async def go_on() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(selection, "perf_counter", lambda: clock)
    monkeypatch.setattr(selection, "_TURN", 0.001)
    other = asyncio.create_task(go_on())
    items = [Item(number, str(number)) for number in range(20)]
    assert (await select(items, column(is_descending=False), 20, show, fits))[0] == 20
    other.cancel()
    assert turns_of_others == 9 + 5  # after every second item, and after every fourth row


def test_inconsistent_rows_are_merged() -> None:
    answers = {
        "a": Rows(2, 2, [Row(2, "", "x", "x of a"), Row(1, "", "y", "y")]),
        "b": Rows(2, 2, [Row(0, "one", "z", "z"), Row(1, "", "x", "x of b"), Row(0, "", "z", "z again")]),
    }
    page = merged(answers, 0, 10, is_descending=False)
    assert sorted(shown for shown, _ in page) in (["x of a", "y", "z"], ["x of b", "y", "z"])
