"""The newest changes, as a killed process leaves them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.recovery.tail import HALF, Tail, TailGap


@pytest.fixture
def tail(tmp_path: Path) -> Tail:
    """A tail whose file exists already, and is empty."""
    Tail(tmp_path / "tail").close()
    return Tail(tmp_path / "tail")


def test_changes_are_read_by_the_next_process(tail: Tail, tmp_path: Path) -> None:
    """Those that the database does not have, in order, from both halves."""
    for number in range(1, 6):
        if number in (2, 4):
            tail.swap()
        tail.write(number, b"change %d" % number)
    again = Tail(tmp_path / "tail")
    assert again.read(1) == [b"change 2", b"change 3", b"change 4", b"change 5"]
    assert again.read(3) == [b"change 4", b"change 5"]
    assert again.read(5) == []


def test_older_changes_are_overwritten(tail: Tail, tmp_path: Path) -> None:
    """Their rest after the newer ones is not read."""
    for number in range(1, 4):
        tail.write(number, b"old")
    for _ in (0, 1):
        tail.swap()
    tail.write(4, b"new")
    assert Tail(tmp_path / "tail").read(3) == [b"new"]


def test_a_missing_change_is_noticed(tail: Tail, tmp_path: Path) -> None:
    tail.write(2, b"change")
    with pytest.raises(TailGap):
        Tail(tmp_path / "tail").read(0)
    tail.swap()
    tail.write(4, b"change")
    with pytest.raises(TailGap):
        Tail(tmp_path / "tail").read(1)


def test_a_damaged_change_is_noticed_by_the_next_one(tail: Tail, tmp_path: Path) -> None:
    """A process killed during a write damages only its last change, which had no effect yet."""
    for number in (1, 2):
        tail.write(number, b"change %d" % number)
        tail.swap()
    content = (tmp_path / "tail").read_bytes()
    (tmp_path / "tail").write_bytes(content.replace(b"change 2", b"chance 2"))
    assert Tail(tmp_path / "tail").read(0) == [b"change 1"]
    (tmp_path / "tail").write_bytes(content.replace(b"change 1", b"chance 1"))
    with pytest.raises(TailGap):
        Tail(tmp_path / "tail").read(0)


def test_a_change_that_finds_no_room_is_noticed(tail: Tail, tmp_path: Path) -> None:
    """Even if no later change was written. When the database has it, the tail is complete again."""
    tail.write(1, b"change")
    tail.write(2, bytes(HALF))
    tail.write(3, b"change")
    with pytest.raises(TailGap):
        Tail(tmp_path / "tail").read(0)
    assert Tail(tmp_path / "tail").read(3) == []
    tail.swap()
    tail.write(4, b"change 4")
    assert Tail(tmp_path / "tail").read(3) == [b"change 4"]


def test_a_cleared_tail_is_empty(tail: Tail, tmp_path: Path) -> None:
    tail.write(7, b"change")
    tail.clear()
    assert Tail(tmp_path / "tail").read(0) == []


@given(data=st.binary(max_size=200), number=st.integers(0, 10))
def test_any_content_is_changes_or_a_gap(tmp_path_factory: pytest.TempPathFactory, data: bytes, number: int) -> None:
    path = tmp_path_factory.mktemp("tail") / "tail"
    path.write_bytes(data.ljust(2 * HALF, b"\0"))
    tail = Tail(path)
    try:
        assert tail.read(number) == []
    except TailGap:
        pass
    finally:
        tail.close()


def test_changes_that_were_not_written_are_noticed(tail: Tail, tmp_path: Path) -> None:
    tail.write(1, b"a")
    tail.spoil()
    with pytest.raises(TailGap, match="could not be written"):
        Tail(tmp_path / "tail").read(1)
