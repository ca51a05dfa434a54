from hypothesis import given
from hypothesis import strategies as st

from synkora.engine.held import VOLATILE_LIMIT, Held
from synkora.engine.outgoing import Outgoing


def message(text: str, *, volatile: bool, size: int) -> Outgoing:
    return Outgoing(f"4{text}".encode().ljust(size, b"."), volatile=volatile)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 30_000)), max_size=40), st.integers(1, 5), st.integers(1, 90_000)
)
def test_what_is_held_keeps_its_order_and_its_count_of_bytes(
    sizes: list[tuple[bool, int]], batch: int, most: int
) -> None:
    """Whatever comes, all that is not volatile and the newest of the rest are released in order, and bytes add up."""
    held = Held(10_000_000)
    messages = [message(str(index), volatile=volatile, size=size) for index, (volatile, size) in enumerate(sizes)]
    dropped = sum(held.add(messages[start : start + batch]) for start in range(0, len(messages), batch))
    expected = held.bytes
    released: list[Outgoing] = []
    while not held.is_empty:
        part = held.release(most)
        assert sum(item.size for item in part[:-1]) < most
        assert sum(item.size for item in part) >= most or held.is_empty
        released += part
        assert held.bytes == expected - sum(item.size for item in released)
    assert held.release(most) == []
    assert sum(item.size for item in released if item.volatile) <= VOLATILE_LIMIT
    assert released == [item for item in messages if item in released]
    assert [item for item in released if not item.volatile] == [item for item in messages if not item.volatile]
    volatile = [item for item in messages if item.volatile]
    kept = [item for item in released if item.volatile]
    assert kept == volatile[len(volatile) - len(kept) :]
    assert dropped == len(volatile) - len(kept)
