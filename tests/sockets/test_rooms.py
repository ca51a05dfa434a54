from hypothesis import given
from hypothesis import strategies as st
from tests.support.sessions import MemoryTransport

from synkora.engine.outbox import Flusher, Outbox
from synkora.sockets.rooms import Rooms

SIDS = "abcdef"
NAMES = ["one", "two", "three", "a"]


def outbox() -> Outbox:
    return Outbox(Flusher(), MemoryTransport(), 1000, lambda error: None)


def rooms_of(**members: str) -> Rooms:
    """Rooms whose members are single letters. Everybody is in the namespace."""
    rooms = Rooms()
    for sid in SIDS:
        rooms.add(sid, outbox())
    for room, sids in members.items():
        for sid in sids:
            rooms.join(sid, room)
    return rooms


def test_without_rooms_all_are_selected() -> None:
    """The whole namespace, except the excepted rooms."""
    rooms = rooms_of(one="ab", two="bc")
    assert set(rooms.select((), ())) == set(SIDS)
    assert set(rooms.select((), ("one", "two"))) == {"d", "e", "f"}


def test_a_member_of_several_rooms_is_selected_once() -> None:
    """Exceptions are removed from the union of the rooms."""
    rooms = rooms_of(one="ab", two="bc")
    assert sorted(rooms.select(("one", "two"), ())) == ["a", "b", "c"]
    assert sorted(rooms.select(("one", "two"), ("two",))) == ["a"]
    assert sorted(rooms.select(("one",), ("nowhere",))) == ["a", "b"]


def test_an_unknown_room_has_no_members() -> None:
    """An event for it reaches nobody, instead of everybody."""
    assert rooms_of().select(("nowhere",), ()) == {}
    assert len(rooms_of()["nowhere"]) == 0


def test_every_socket_is_reached_by_a_room_named_like_its_id() -> None:
    """That room is not counted, and needs no join."""
    rooms = rooms_of(one="b")
    assert set(rooms["a"]) == {"a"}
    assert sorted(rooms.select(("a", "one"), ())) == ["a", "b"]
    assert set(rooms.select((), ("a",))) == set(SIDS) - {"a"}
    assert "a" not in rooms
    assert len(rooms) == 1


def test_joining_a_room_named_like_a_sockets_id_does_not_affect_the_socket() -> None:
    """Events for an id reach its owner even if others are in that room. An excepted id excepts the owner."""
    rooms = rooms_of(a="b")
    assert set(rooms["a"]) == {"a", "b"}
    assert set(rooms.select(("a",), ())) == {"a", "b"}
    assert "a" not in rooms.select((), ("a",))


def test_an_empty_room_is_removed() -> None:
    """Leaving a room without membership changes nothing."""
    rooms = rooms_of(one="ab")
    rooms.leave("a", "one")
    assert "one" in rooms
    rooms.leave("a", "one")
    rooms.leave("a", "never")
    rooms.leave("b", "one")
    assert "one" not in rooms
    assert len(rooms) == 0


def test_a_removed_socket_is_in_no_room() -> None:
    rooms = rooms_of(one="a", two="ab")
    rooms.remove("a", ["one", "two"])
    assert len(rooms) == 1
    assert set(rooms["two"]) == {"b"}
    assert "a" not in rooms.select((), ())
    assert rooms["a"] == {}


@given(
    st.lists(st.tuples(st.sampled_from(["join", "leave"]), st.sampled_from(SIDS), st.sampled_from(NAMES))),
    st.sets(st.sampled_from([*NAMES, "b"])),
    st.sets(st.sampled_from([*NAMES, "b"])),
)
def test_any_history_selects_like_plain_sets(
    history: list[tuple[str, str, str]], chosen: set[str], except_rooms: set[str]
) -> None:
    """Joins and leaves in any order, then any rooms and exceptions."""
    rooms = rooms_of()
    open_rooms = set(SIDS)
    rooms.opened = lambda room: _toggle(open_rooms, room, to=True)
    rooms.emptied = lambda room: _toggle(open_rooms, room, to=False)
    model: dict[str, set[str]] = {name: set() for name in NAMES}
    for action, sid, room in history:
        if action == "join":
            rooms.join(sid, room)
            model[room].add(sid)
        else:
            rooms.leave(sid, room)
            model[room].discard(sid)

    def members(name: str) -> set[str]:
        return model.get(name, set()) | ({name} if name in SIDS else set())

    included = set(SIDS) if not chosen else set().union(*(members(name) for name in chosen))
    barred = set().union(*(members(name) for name in except_rooms))
    assert set(rooms.select(chosen, except_rooms)) == included - barred
    assert len(rooms) == sum(1 for sids in model.values() if sids)
    assert rooms.names() == open_rooms == {*SIDS, *(name for name, sids in model.items() if sids)}


def _toggle(names: set[str], name: str, *, to: bool) -> None:
    """Record a change. Fails if nothing has changed."""
    assert (name in names) is not to
    (names.add if to else names.remove)(name)


def _telling() -> tuple[Rooms, list[str]]:
    """Rooms, and a list of those that opened and were emptied."""
    rooms, told = Rooms(), list[str]()
    rooms.opened = lambda room: told.append(f"+{room}")
    rooms.emptied = lambda room: told.append(f"-{room}")
    return rooms, told


def test_the_first_and_the_last_member_are_reported() -> None:
    """Once each, whatever happens between, also for the rooms of sockets' ids."""
    rooms, told = _telling()
    for sid in ("a", "b"):
        rooms.add(sid, outbox())
        rooms.join(sid, "one")
        rooms.join(sid, "one")
    assert told == ["+a", "+one", "+b"]
    told.clear()
    rooms.leave("a", "one")
    rooms.leave("a", "one")
    rooms.remove("b", ["one"])
    rooms.remove("b", ["one"])
    rooms.remove("never there", [])
    assert told == ["-one", "-b"]


def test_a_room_named_like_a_sockets_id_is_open_while_it_reaches_a_socket() -> None:
    """Its owner and its members count alike, in any order of leaves."""
    for first in ("owner", "member"):
        rooms, told = _telling()
        rooms.add("owner", outbox())
        rooms.add("member", outbox())
        rooms.join("member", "owner")
        assert told == ["+owner", "+member"]
        rooms.remove(first, ["owner"] if first == "member" else [])
        assert "-owner" not in told
        rooms.remove("member" if first == "owner" else "owner", ["owner"] if first == "owner" else [])
        assert told.count("-owner") == 1
        rooms.add("member", outbox())
        rooms.join("member", "owner")
        rooms.add("owner", outbox())
        assert told[-2:] == ["+member", "+owner"]
