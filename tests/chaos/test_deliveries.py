"""The checks find each kind of wrong delivery, and nothing else."""

import pytest
from tests.chaos.deliveries import lost, misdelivered, owed
from tests.chaos.faults import PAUSE, SILENCE, Faults
from tests.chaos.record import Book, Connection, Instance


def page(book: Book, name: str, place: int = 0) -> Connection:
    connection = Connection(book, f"user-{name}", Instance(place), name)
    connection.enter("project", 0)
    connection.take(["users:active", {"users": [], "count": 0}], 1)
    return connection


def send_to_bob(book: Book, at: float) -> None:
    """Let Alice send a message to Bob on another instance."""
    alice = page(book, "alice")
    page(book, "bob", 1)
    alice.send(at)


def deliver(receiver: Connection, id: str, at: float = 21) -> None:
    receiver.take(["canvas:update", {"id": id}], at)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def faults() -> Faults:
    return Faults()


def test_no_fault_is_reported_if_all_messages_arrived(book: Book, faults: Faults) -> None:
    """A message that came once, in order, is neither lost nor misdelivered, and was owed."""
    alice, bob = page(book, "alice"), page(book, "bob", 1)
    for message in (alice.send(20), alice.send(20)):
        deliver(bob, message.id)
    assert not [*book.faults, *misdelivered(book), *lost(book, faults)]
    assert owed(book, faults) == (0, 2)


def test_duplicates_are_found(book: Book) -> None:
    alice, bob = page(book, "alice"), page(book, "bob")
    message = alice.send(20)
    deliver(bob, message.id)
    assert not [*misdelivered(book)]
    deliver(bob, message.id)
    assert "twice" in next(misdelivered(book))


def test_reordering_is_found(book: Book) -> None:
    """A message that comes after a later one of the same connection is misdelivered."""
    alice, bob = page(book, "alice"), page(book, "bob")
    first, second = alice.send(20), alice.send(20)
    deliver(bob, second.id)
    deliver(bob, first.id)
    assert "after" in next(misdelivered(book))


def test_misdirected_messages_are_found(book: Book) -> None:
    """A message of another project, or of a project that the client has left, is a fault immediately."""
    alice, bob, carol = (page(book, name) for name in ("alice", "bob", "carol"))
    message = alice.send(20)
    bob.leave(20)
    deliver(bob, message.id)
    assert not book.faults  # it was on its way
    bob.take(["pong", {}], 22)
    deliver(bob, message.id, 23)
    carol.leave(20)
    carol.take(["pong", {}], 21)
    carol.enter("another", 22)
    deliver(carol, message.id, 23)
    assert len(book.faults) == 2


@pytest.mark.parametrize("place", [0, 1])
def test_missing_messages_are_found(book: Book, faults: Faults, place: int) -> None:
    alice, bob = page(book, "alice"), page(book, "bob", place)
    alice.send(20)
    assert str(bob) in next(lost(book, faults))


def test_a_joining_or_leaving_client_is_owed_nothing(book: Book, faults: Faults) -> None:
    """A message before the join, or just before a leave or the sender's end, may be lost."""
    alice, bob, carol = (page(book, name) for name in ("alice", "bob", "carol"))
    alice.send(0.5)
    bob.leave(22)
    carol.end(22)
    alice.send(20)
    carol.send(20)
    assert not [*lost(book, faults)]


@pytest.mark.parametrize("place", [0, 1, None])
def test_a_fault_on_the_way_excuses_a_loss(book: Book, faults: Faults, place: int | None) -> None:
    """Messages to other instances may be lost during an outage. Local ones may not."""
    alice, bob = page(book, "alice"), page(book, "bob", 1)
    alice.send(20)
    fault = faults.begin("cut off", place, 19)
    fault.ended = 30
    assert not [*lost(book, faults)]
    bob.instance = alice.instance
    assert [*lost(book, faults)]


def test_a_fault_elsewhere_excuses_no_loss(book: Book, faults: Faults) -> None:
    """Neither a fault of a third instance nor an earlier one."""
    send_to_bob(book, 40)
    faults.begin("cut off", 2, 39)
    faults.begin("cut off", 1, 10).ended = 20
    assert [*lost(book, faults)]


def test_a_frozen_instance_loses_nothing(book: Book, faults: Faults) -> None:
    """Messages to or from a frozen instance must arrive when it continues."""
    send_to_bob(book, 20)
    faults.begin(PAUSE, 1, 19).ended = 27
    assert [*lost(book, faults)]


def test_short_silences_of_redis_add_up(book: Book, faults: Faults) -> None:
    """A link survives one short silence, but perhaps not several without a pause."""
    send_to_bob(book, 20)
    faults.begin(SILENCE, 1, 19).ended = 22
    assert [*lost(book, faults)]
    faults.begin(SILENCE, None, 22).ended = 25
    assert not [*lost(book, faults)]


def test_a_message_of_an_earlier_round_may_come_once(book: Book) -> None:
    """To a client that was cut off, and never to one that got it, or to its sender."""
    alice, bob, carol = page(book, "alice"), page(book, "bob"), page(book, "carol")
    message = alice.send(20)
    deliver(bob, message.id)
    book.forget_past()
    deliver(carol, message.id)
    assert book.faults == []
    for receiver in (bob, carol, alice):
        deliver(receiver, message.id)
    assert [fault.rpartition(" got ")[2] for fault in book.faults] == [f"{message.id!r} again, of an earlier round"] * 3
