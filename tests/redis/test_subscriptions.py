"""The subscription commands for the wanted channels."""

from hypothesis import given
from hypothesis import strategies as st

from synkora.redis.subscriptions import Subscriptions


def nothing(_: bytes) -> None:
    """Ignore a message."""


def test_a_channel_is_subscribed_once() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(b"a", nothing)
    subscriptions.add(b"a", nothing)
    assert subscriptions.take_new() == [b"a"]
    subscriptions.add(b"a", nothing)
    subscriptions.drop(b"a")
    subscriptions.add(b"a", nothing)
    assert (subscriptions.take_new(), subscriptions.take_old()) == ([], [])
    subscriptions.drop(b"a")
    subscriptions.drop(b"a")
    assert (subscriptions.take_new(), subscriptions.take_old()) == ([], [b"a"])


def test_a_new_connection_subscribes_all_channels() -> None:
    subscriptions = Subscriptions()
    for channel in (b"a", b"b", b"c"):
        subscriptions.add(channel, nothing)
    subscriptions.take_new()
    subscriptions.drop(b"b")
    subscriptions.forget_told()
    assert (subscriptions.take_new(), subscriptions.take_old()) == ([b"a", b"c"], [])


@given(st.lists(st.tuples(st.sampled_from(["add", "drop", "tell new", "tell all", "forget"]), st.integers(0, 3))))
def test_messages_arrive_after_all_subscriptions(steps: list[tuple[str, int]]) -> None:
    """In any order of changes. No unknown channel is unsubscribed, and no known one is subscribed again."""
    subscriptions = Subscriptions()
    heard: set[bytes] = set()

    def tell_new() -> None:
        for channel in subscriptions.take_new():
            assert channel not in heard
            heard.add(channel)

    def tell_all() -> None:
        tell_new()
        for channel in subscriptions.take_old():
            heard.remove(channel)

    for step, number in steps:
        if step == "add":
            subscriptions.add(b"%d" % number, nothing)
        elif step == "drop":
            subscriptions.drop(b"%d" % number)
        elif step == "tell new":
            tell_new()
        elif step == "tell all":
            tell_all()
        else:
            heard.clear()
            subscriptions.forget_told()
    tell_all()
    assert heard == set(subscriptions.receivers)
