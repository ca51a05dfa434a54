"""The checker finds each kind of wrong presence, and nothing else."""

from typing import Any

import pytest
from tests.chaos.faults import Faults
from tests.chaos.record import Book, Connection, Instance, Visit
from tests.chaos.rosters import View, untrue


def users(*names: str) -> list[Any]:
    """A list of users who all joined at the same time."""
    return [
        "users:active",
        {"users": [{"userId": f"user-{name}", "joinedAt": "then"} for name in names], "count": len(names)},
    ]


def count(number: int) -> list[Any]:
    return ["users:count", {"count": number}]


def joined(name: str) -> list[Any]:
    return ["user:joined", {"socketId": name, "userId": f"user-{name}", "timestamp": "then"}]


def left(name: str) -> list[Any]:
    return ["user:left", {"socketId": name, "userId": f"user-{name}"}]


class Room:
    def __init__(self) -> None:
        self.book = Book()
        self.faults = Faults()
        self.alice = self.enter("alice", 0)
        self.now = 1.0

    def enter(self, name: str, at: float, place: int = 0) -> Visit:
        visit = Connection(self.book, f"user-{name}", Instance(place), name).enter("project", at)
        visit.confirmed = at
        return visit

    def tell(self, *events: list[Any]) -> None:
        """Send an event to Alice, a second after the previous one."""
        self.now += 1
        for event in events:
            self.alice.connection.take(event, self.now)

    @property
    def wrong(self) -> list[str]:
        """The faults in what Alice has received, when nothing changes."""
        view = View(self.alice)
        return [*view.replay(self.book, self.faults), *untrue(self.book, view, 100)]


@pytest.fixture
def room() -> Room:
    return Room()


def test_no_fault_is_reported_if_all_changes_were_announced(room: Room) -> None:
    """Each join and each leave was announced once."""
    room.enter("bob", 0)
    room.tell(users("alice", "bob"), count(2))
    carol = room.enter("carol", 3)
    room.tell(joined("carol"), count(3))
    carol.connection.end(10)
    room.now = 10
    room.tell(left("carol"), users("alice", "bob"), count(2))
    assert room.wrong == []


BOB, CAROL = joined("bob"), joined("carol")
#: The announcements of Bob, who joined, and of Carol, who joined and left.
CASES: dict[str, list[list[Any]]] = {
    "bob of user-bob joined twice": [BOB, count(2), BOB],
    "carol of user-carol left twice": [CAROL, left("carol"), left("carol"), users("alice"), count(1)],
    "carol of user-carol joined for the 2. time, and did for the 1.": [CAROL, left("carol"), CAROL, left("carol")],
    "who was not there": [left("carol"), users("alice"), count(1)],
    "bob of user-bob left, but is a member": [BOB, left("bob"), users("alice"), count(1)],
    "['user-bob'] are not listed": [BOB, users("alice"), count(1)],
    "['user-bob'] are listed, and were not announced": [users("alice", "bob"), count(2)],
    "carol of user-carol is listed, and has left": [CAROL, left("carol"), users("alice", "carol"), count(2)],
    "2 are counted, and 1 were announced": [count(2)],
    "its join": [joined("alice")],
    "lacks ['user-bob']": [],
    "shows ['user-carol']": [CAROL, count(2)],
    "counts 1, and 2 are there": [],
    "has not been told that user-carol (carol, instance 1) has left": [CAROL, count(2)],
    "(bob, instance 0) has joined": [],
}


@pytest.mark.parametrize("fault", CASES)
def test_wrong_presence_is_found(room: Room, fault: str) -> None:
    room.tell(users("alice"), count(1))
    room.enter("bob", 3)
    room.enter("carol", 3, 1).connection.end(4)
    room.now = 10
    room.tell(*CASES[fault])
    assert any(fault in wrong for wrong in room.wrong), room.wrong


def test_a_connection_that_was_silent_may_leave_and_return(room: Room) -> None:
    """An instance that was silent for long is considered dead: its members leave and rejoin."""
    bob = room.enter("bob", 3, 1)
    room.tell(users("alice"), count(1))
    room.tell(joined("bob"), count(2))
    room.now = 30
    room.tell(left("bob"), users("alice"), count(1))
    room.tell(joined("bob"), count(2))
    assert len(room.wrong) == 2
    room.faults.begin("paused", 1, 24).ended = 31
    assert room.wrong == []

    bob.connection.leave(60)
    room.now = 60
    room.tell(left("bob"), users("alice"), count(1))
    bob.connection.enter("project", 61).confirmed = 61
    room.tell(joined("bob"), count(2))
    assert room.wrong == []


def test_a_short_silence_is_no_reason_to_leave(room: Room) -> None:
    """Nobody leaves because of an instance that was silent for a moment."""
    room.enter("bob", 3, 1)
    room.tell(users("alice"), count(1))
    room.tell(joined("bob"), count(2))
    room.now = 30
    room.faults.begin("paused", 1, 29).ended = 31
    room.tell(left("bob"), users("alice"), count(1))
    room.tell(joined("bob"), count(2))
    assert len(room.wrong) == 2


def test_a_short_leave_need_not_be_announced(room: Room) -> None:
    """A second page of a listed user joined before Alice's list: leaving and joining again immediately need not be
    announced.
    """
    room.alice.confirmed = 5
    room.enter("bob", 1)
    again = Connection(room.book, "user-bob", Instance(0), "bob's other page")
    again.enter("project", 2).left = 6
    room.now = 6
    room.tell(users("alice", "bob"), count(2))
    again.enter("project", 6.5)
    assert room.wrong == []

    room.tell(["user:left", {"socketId": "bob's other page", "userId": "user-bob"}])
    assert "(bob's other page, instance 0) has joined" in room.wrong[-1]
