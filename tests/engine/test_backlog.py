from hypothesis import given
from hypothesis import strategies as st

from synkora.engine.backlog import UPDATE_LIMIT, VOLATILE_LIMIT, Backlog
from synkora.engine.message import Message
from synkora.engine.state_updates import Update


def message(text: str, *, volatile: bool, size: int) -> Message:
    return Message(text.encode().ljust(size - 1, b"."), volatile=volatile)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 30_000)), max_size=40), st.integers(1, 5), st.integers(1, 90_000)
)
def test_the_backlog_keeps_its_order_and_its_count_of_bytes(
    sizes: list[tuple[bool, int]], batch: int, most: int
) -> None:
    """All non-volatile messages and the newest volatile ones are released in order, and the bytes add up."""
    held = Backlog(10_000_000)
    messages = [message(str(index), volatile=volatile, size=size) for index, (volatile, size) in enumerate(sizes)]
    dropped = sum(held.add(messages[start : start + batch]) for start in range(0, len(messages), batch))
    expected = held.bytes
    released: list[Message] = []
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


class Project:
    def full_state(self, outbox: object) -> list[Message]:
        return []

    def has_recipient(self, outbox: object) -> bool:
        return True


def update(text: str, subject: Project, *, size: int = 0, replaces: str | None = None) -> Update:
    return Update(text.encode().ljust(size, b"."), subject, replaces and (subject, replaces))


def texts(messages: list[Message]) -> list[str]:
    return [item.packet[1:].rstrip(b".").decode() for item in messages]


def test_an_update_replaces_an_older_one_with_the_same_key() -> None:
    """Only the newest list of a project waits, in its own place. Other projects and changes stay."""
    held, one, two = Backlog(10_000_000), Project(), Project()
    held.add([update("list 1", one, replaces="list"), update("joined", one), message("edit", volatile=False, size=9)])
    held.add([update("list of two", two, replaces="list"), message("cursor", volatile=True, size=9)])
    held.add([update("list 2", one, replaces="list"), message("edit", volatile=False, size=9)])
    size = held.bytes
    released = held.release()
    assert texts(released) == ["joined", "edit", "list of two", "cursor", "list 2", "edit"]
    assert sum(item.size for item in released) == size
    assert held.is_empty
    assert held.bytes == 0
    assert not held.lost


def test_an_update_that_has_been_released_is_not_replaced() -> None:
    held, project = Backlog(10_000_000), Project()
    for number in range(3):
        held.add([update(f"list {number}", project, replaces="list")])
        assert texts(held.release()) == [f"list {number}"]


def test_updates_above_their_limit_are_dropped_and_their_subjects_stored() -> None:
    """At more than 64 kB, updates of the subject are dropped from then on. Everything else stays."""
    held, busy, quiet = Backlog(10_000_000), Project(), Project()
    held.add([message("edit", volatile=False, size=9)])
    held.add([update(str(number), busy, size=1000) for number in range(200)])
    held.add([update("other", quiet)])
    assert held.lost == {busy}
    assert held.bytes < 200
    assert texts(held.release()) == ["edit", "other"]
    assert held.bytes == 0


def test_updates_are_dropped_before_the_rest_is_too_much() -> None:
    held, project = Backlog(10_000), Project()
    held.add([update("joined", project, size=5000), message("edit", volatile=False, size=8000)])
    assert held.lost == {project}
    assert texts(held.release()) == ["edit"]


@given(
    st.lists(st.tuples(st.sampled_from("udv"), st.integers(0, 2), st.booleans(), st.integers(1, 40_000)), max_size=40),
    st.integers(1, 90_000),
)
def test_bytes_and_order_are_right_for_any_backlog(kinds: list[tuple[str, int, bool, int]], most: int) -> None:
    """With updates, edits and cursors mixed: no edit is lost, and an update only if a later one replaces it."""
    held, projects = Backlog(100_000), [Project() for _ in range(3)]
    messages: list[Message] = []
    for index, (kind, project, has_key, size) in enumerate(kinds):
        if kind == "u":
            key = "list" if has_key else None
            messages.append(update(str(index), projects[project], size=size, replaces=key))
        else:
            messages.append(message(str(index), volatile=kind == "v", size=size))
        held.add(messages[-1:])
    expected = held.bytes
    released: list[Message] = []
    while not held.is_empty:
        released += held.release(most)
        assert held.bytes == expected - sum(item.size for item in released)
    assert held.bytes == 0
    assert released == [item for item in messages if item in released]
    updates = [item for item in messages if isinstance(item, Update)]
    assert sum(item.size for item in released if item in updates) <= UPDATE_LIMIT
    durable = [item for item in messages if not item.volatile and item not in updates]
    assert [item for item in released if item in durable] == durable
    newest = {item.replaces: item for item in updates if item.replaces}
    for item in updates:
        if item not in released and item.subject not in held.lost:
            assert newest[item.replaces] is not item
