"""An instance's copy of one project."""

import pytest

from synkora.cluster.replica import ANNOUNCEMENT, SNAPSHOT, Announcement, Changes, Replica, ReplicaSnapshot
from synkora.collaboration.presence import PresenceEntry
from synkora.identity.user import user_from_claims
from synkora.protocol.json import encode

OURS, THEIRS = "ours00", "theirs"


def entry(socket_id: str, second: int = 0) -> PresenceEntry:
    return PresenceEntry(socket_id, f"user-{socket_id}", "User", f"2026-01-02T03:04:{second:02}.000Z")


def announced(
    before: int, version: int, *, left: tuple[str, ...] = (), joined: tuple[str, ...] = (), author: str = THEIRS
) -> Announcement:
    return Announcement(author, before, version, list(left), [entry(socket_id) for socket_id in joined])


def told(changes: Changes) -> str:
    """The reported changes in order, with a ? if a snapshot is needed."""
    signs = [f"-{each.socketId}" for each in changes.left] + [f"+{each.socketId}" for each in changes.joined]
    return " ".join([*signs, "?"] if changes.has_gap else signs)


@pytest.fixture
def replica() -> Replica:
    """A copy at version 10, with its own connection `o` and one of another instance, `x`."""
    replica = Replica(OURS)
    replica.join(entry("o"))
    replica.await_snapshot()
    replica.restore(ReplicaSnapshot(10, [entry("x")]))
    return replica


def sees(replica: Replica) -> set[str]:
    return {each.socketId for each in replica.presence.entries}


def test_an_announcement_is_reported_once(replica: Replica) -> None:
    assert told(replica.heed(announced(10, 11, left=("x", "never"), joined=("y",)))) == "-x +y"
    assert told(replica.heed(announced(11, 12, left=("x",), joined=("y",)))) == ""
    assert sees(replica) == {"o", "y"}


def test_a_connection_that_left_and_rejoined_is_reported_as_both(replica: Replica) -> None:
    """Whether announced, or only visible from a different time of the join."""
    assert told(replica.heed(announced(10, 11, left=("x",), joined=("x",)))) == "-x +x"
    assert told(replica.restore(ReplicaSnapshot(12, [entry("x", 1)]))) == "-x +x"


def test_its_own_are_its_own_business(replica: Replica) -> None:
    """Redis' reports about own connections are ignored. If others have removed one, Redis gets it again."""
    assert told(replica.heed(announced(10, 11, left=("o",), joined=("o",), author=OURS))) == ""
    assert told(replica.heed(announced(11, 12, left=("o",)))) == "?"
    assert sees(replica) == {"o", "x"}


def test_an_own_connection_that_has_left_does_not_return(replica: Replica) -> None:
    """It left before its join was confirmed. If Redis still lists it, Redis gets the members again."""
    replica.join(entry("p"))
    replica.leave("p")
    assert told(replica.heed(announced(10, 11, joined=("p",), author=OURS))) == "?"
    assert sees(replica) == {"o", "x"}


def test_a_lost_announcement_is_noticed(replica: Replica) -> None:
    """The next one names an unknown version. Its changes are valid."""
    assert told(replica.heed(announced(11, 12, joined=("y",)))) == "+y ?"


def test_an_announcement_contained_in_the_snapshot_is_not_a_gap(replica: Replica) -> None:
    """An own announcement may come after the reply that contains it."""
    assert told(replica.heed(announced(8, 10, joined=("o",), author=OURS))) == ""


def test_while_a_snapshot_is_awaited_nothing_is_missing(replica: Replica) -> None:
    """Announcements before the snapshot are older, and are reported."""
    replica.await_snapshot()
    assert told(replica.heed(announced(20, 21, joined=("y",)))) == "+y"
    assert replica.agrees_with(21)


def test_an_audit_finds_lost_changes(replica: Replica) -> None:
    """Redis has another version than the known one."""
    assert replica.agrees_with(10)
    assert not replica.agrees_with(11)


def test_a_connection_missing_in_a_snapshot_is_in_doubt(replica: Replica) -> None:
    """It stays until `settle`, and is then reported once."""
    replica.heed(announced(10, 11, joined=("y", "z")))
    assert told(replica.restore(ReplicaSnapshot(12, [entry("z"), entry("new")]))) == "+new"
    assert sees(replica) == {"o", "x", "y", "z", "new"}
    assert told(replica.heed(announced(12, 13, joined=("y",)))) == ""
    assert told(replica.settle()) == "-x"
    assert not replica.is_in_doubt
    assert told(replica.settle()) == ""


def test_a_connection_in_doubt_may_be_announced_as_left(replica: Replica) -> None:
    replica.restore(ReplicaSnapshot(12, []))
    assert told(replica.heed(announced(12, 13, left=("x",)))) == "-x"
    assert not replica.is_in_doubt


def test_a_snapshot_is_reported_in_order_of_arrival(replica: Replica) -> None:
    """By the time of joining, since Redis keeps no order."""
    assert told(replica.restore(ReplicaSnapshot(11, [entry("c", 3), entry("x"), entry("b", 2)]))) == "+b +c"


def test_others_can_be_forgotten(replica: Replica) -> None:
    assert told(replica.forget_others()) == "-x"
    assert sees(replica) == {"o"}


def test_its_own_join_and_leave_once(replica: Replica) -> None:
    """A repeat changes nothing. Connections of other instances cannot be removed."""
    assert not replica.join(entry("o", 5))
    assert replica.leave("x") is None
    assert replica.leave("o") == entry("o")
    assert replica.leave("o") is None


def test_messages_are_read_as_they_are_written() -> None:
    who = b'{"socketId":"s","userId":"u","userName":"U","joinedAt":"t"}'
    announcement = ANNOUNCEMENT.decode(b'{"author":"a","before":0,"version":7,"left":["x"],"joined":[' + who + b"]}")
    assert announcement == Announcement("a", 0, 7, ["x"], [PresenceEntry("s", "u", "U", "t")])
    assert SNAPSHOT.decode(b'{"version":7,"entries":[' + who + b"]}") == ReplicaSnapshot(
        7, [PresenceEntry("s", "u", "U", "t")]
    )


def test_names_with_very_many_halves_of_characters_are_read() -> None:
    """The names of two hundred connections, each with as many halves as it may have."""
    user = user_from_claims({"id": "u", "name": "\ud83d" * 100})
    assert user is not None
    entries = [PresenceEntry(f"s{number}", user.id, user.name, "t") for number in range(200)]
    assert SNAPSHOT.decode(encode(ReplicaSnapshot(7, entries))).entries == entries
    assert ANNOUNCEMENT.decode(encode(Announcement("a", 0, 7, [], entries))).joined == entries


def test_a_return_from_another_instance_is_not_reported(replica: Replica) -> None:
    """The entry is the one that the others know."""
    assert replica.join(entry("x", 30)) == entry("x")
    assert sees(replica) == {"o", "x"}
    assert told(replica.heed(announced(10, 11, joined=("x",), author=OURS))) == ""


def test_a_return_to_another_instance_is_not_reported(replica: Replica) -> None:
    """The held connection belongs to the other instance from then on, which alone can remove it."""
    replica.hold("o")
    assert told(replica.heed(announced(10, 11, joined=("o",)))) == ""
    assert replica.leave("o") == entry("o")
    assert sees(replica) == {"o", "x"}
    assert told(replica.heed(announced(11, 12, left=("o",)))) == "-o"


def test_a_snapshot_contains_connections_that_returned_to_another_instance(replica: Replica) -> None:
    replica.hold("o")
    replica.await_snapshot()
    assert told(replica.restore(ReplicaSnapshot(12, [entry("o"), entry("x")]))) == ""
    replica.leave("o")
    assert sees(replica) == {"o", "x"}


def test_a_moved_connection_may_return(replica: Replica) -> None:
    replica.hold("o")
    replica.heed(announced(10, 11, joined=("o",)))
    assert replica.join(entry("o", 40)) == entry("o")
    assert told(replica.heed(announced(11, 12, left=("o",)))) == "?"


def test_an_adopted_entry_is_as_the_others_know_it(replica: Replica) -> None:
    replica.join(entry("y", 50))
    replica.await_snapshot()
    replica.restore(ReplicaSnapshot(12, [entry("x")], [entry("y")]))
    assert replica.own["y"] == replica.presence.get("y") == entry("y")


def test_a_live_connection_does_not_move(replica: Replica) -> None:
    """The other instance's announcement is late: the client is connected here."""
    assert told(replica.heed(announced(10, 11, joined=("o",)))) == ""
    assert replica.leave("o") == entry("o")
    assert sees(replica) == {"x"}
