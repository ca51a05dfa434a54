"""Positions in the order of events."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.recovery.position import Ahead, Position, later, new_epoch, parse

POSITIONS = st.builds(
    Position, st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=16), st.integers(0)
)


@given(st.integers(0, 2**59))
def test_a_position_is_read_from_its_text(number: int) -> None:
    for ahead in (None, Ahead("aB3xyz", number)):
        position = Position(new_epoch(), number, ahead)
        assert parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        b"k3.1z",
        "",
        ".",
        "k3",
        "k3.",
        ".1",
        "k3.1g",
        "K3.1",
        "k3.-1",
        "k3.1\n",
        "k3.1 ",
        f"{'k' * 17}.1",
        f"k.{'1' * 16}",
        "k3.1.",
        "k3.1.aB3xyz",
        "k3.1.aB3xyz.",
        "k3.1.aB3xyz.1g",
    ],
)
def test_an_invalid_position_is_none(text: object) -> None:
    """A client may send any text of any length."""
    assert parse(text) is None


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    found = parse(text)
    assert found is None or parse(str(found)) == found


@pytest.mark.parametrize("event", [["a"], ["a", 1, {"b": []}], ["ñ", "x"], ["a", {"_placeholder": True, "num": 0}]])
def test_the_position_is_the_last_element_of_an_event(event: list[object]) -> None:
    position = Position("k3f9a2", 71)
    assert json.loads(position.after_event(json.dumps(event).encode())) == [*event, "k3f9a2.47"]
    ahead = position._replace(ahead=Ahead("aB3xyz", 10))
    assert json.loads(ahead.after_event(json.dumps(event).encode())) == [*event, "k3f9a2.47.aB3xyz.a"]


def test_a_replay_starts_at_the_later_of_two_positions() -> None:
    """An offset of an older session, of another epoch, or a missing one, does not replay earlier events."""
    began = Position("e", 10)
    assert later(Position("e", 12), began) == Position("e", 12)
    assert later(Position("e", 3), began) == began
    assert later(Position("e", 10, Ahead("aB3xyz", 1)), began) == Position("e", 10, Ahead("aB3xyz", 1))
    assert later(Position("f", 99), began) == began
    assert later(None, began) == began


def test_a_replay_leaves_out_what_had_been_delivered_without_redis_where_the_session_began() -> None:
    """Also if the client brings a later offset: such events may have got their place in the log after it."""
    ahead = Ahead("aB3xyz", 5)
    began = Position("e", 10, ahead)
    assert later(Position("e", 12), began) == Position("e", 12, ahead)
    assert later(Position("e", 10, Ahead("aB3xyz", 3)), began) == began
    for others in (Ahead("aB3xyz", 6), Ahead("another", 3)):
        assert later(Position("e", 12, others), began) == Position("e", 12, others)
