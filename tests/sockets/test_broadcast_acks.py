from typing import Any

from synkora.sockets.broadcast_acks import BroadcastAcks


def test_each_is_heard_once_and_only_if_asked() -> None:
    """A client can answer neither for another nor twice. The first argument counts."""
    acks, heard = BroadcastAcks(), list[Any]()
    question = acks.open(5, ["a", "b", "c"], heard.append)
    assert question.asked == 3
    acks.resolve(5, "b", ["b", "more"])
    acks.resolve(5, "b", ["again"])
    acks.resolve(5, "stranger", ["stranger"])
    acks.resolve(6, "a", ["another event"])
    acks.resolve(5, "a", [])
    assert heard == ["b", None]


def test_nothing_is_stored_of_a_closed_request() -> None:
    acks, heard = BroadcastAcks(), list[Any]()
    acks.open(1, ["a"], heard.append)
    acks.resolve(1, "a", [1])
    assert acks.open(2, [], heard.append).asked == 0
    question = acks.open(3, ["a", "b"], heard.append)
    acks.resolve(3, "a", [3])
    assert len(acks) == 1
    question.close()
    question.close()
    acks.resolve(3, "b", [4])
    assert len(acks) == 0
    assert heard == [1, 3]


def test_ids_are_given_once() -> None:
    """From 0, as in Socket.IO."""
    acks = BroadcastAcks()
    assert [acks.next_id() for _ in range(3)] == [0, 1, 2]
