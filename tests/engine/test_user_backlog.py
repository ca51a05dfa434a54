"""What waits for all connections of a user."""

import pytest
from tests.engine.outboxes import LIMIT, Client, message
from tests.support.sessions import turn

from synkora.engine import outbox as outbox_module
from synkora.engine.backlog import FREE_BYTES_OF_USER, FULL_OF_USER, UserBacklog
from synkora.engine.close_reasons import OutboxFull
from synkora.engine.outbox import FLUSH_CHUNK, Flusher


async def test_what_waits_for_all_connections_of_a_user_is_limited(
    flusher: Flusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent, dropped or handed over counts no longer."""
    monkeypatch.setattr(outbox_module, "MOST_OF_USER", 30)
    backlog, stranger = UserBacklog(), Client(flusher)
    clients = [Client(flusher) for _ in range(4)]
    for client in clients:
        client.outbox.count_for(backlog)
    for client in (*clients, stranger):
        client.carrier.writable = False
        await client.get(*[message("a")] * 7)
    assert backlog.messages == 28
    clients[0].resume()
    clients[1].outbox.retire()
    clients[2].carrier.writable = True
    clients[2].outbox.send_all()
    assert backlog.messages == 7
    await clients[3].get(*[message("b")] * 23)
    assert clients[3].failures == []
    await clients[3].get(message("c"))
    (failure,) = clients[3].failures
    assert isinstance(failure, OutboxFull)
    assert backlog.messages == 0
    assert stranger.failures == []


async def test_what_waits_for_all_connections_of_a_user_is_limited_in_bytes(flusher: Flusher) -> None:
    """Each connection is within its own limit. The one whose backlog would exceed the limit of the user ends."""
    backlog, other = UserBacklog(), Client(flusher)
    clients = [Client(flusher) for _ in range(FULL_OF_USER + 2)]
    for client in clients:
        client.outbox.count_for(backlog)
        client.carrier.writable = False
        await client.get(message("a", size=LIMIT // 2))
    other.carrier.writable = False
    for client in (*clients[: FULL_OF_USER - 2], other):
        await client.get(message("b", size=LIMIT // 2 - 100))
    assert FULL_OF_USER * LIMIT - 2000 < backlog.bytes <= FULL_OF_USER * LIMIT
    assert not any(client.failures for client in clients)
    small = Client(flusher)
    small.outbox.count_for(backlog)
    small.carrier.writable = False
    while backlog.bytes <= FULL_OF_USER * LIMIT:
        await small.get(message("s", size=LIMIT // (2 * FULL_OF_USER) - 100))
    assert small.failures == []  # its end would not make room
    await small.get(message("s", size=FREE_BYTES_OF_USER))
    assert len(small.failures) == 1
    small.outbox.clear()
    await clients[-1].get(message("c", size=LIMIT // 2 - 100))
    (failure,) = clients[-1].failures
    assert str(failure) == "too much waited for the client"
    assert not any(client.failures for client in (*clients[:-1], other))
    await clients[-2].get(message("d", size=LIMIT // 2 - 100))
    assert clients[-2].failures == []


async def test_bytes_that_no_longer_wait_do_not_count_for_the_user(flusher: Flusher) -> None:
    """They are sent, at once or in parts, or dropped, or the client has gone, or its user has changed."""
    ann, bob = UserBacklog(), UserBacklog()
    clients = [Client(flusher, 2 * FLUSH_CHUNK) for _ in range(4)]
    for client in clients:
        client.outbox.count_for(ann)
        client.carrier.writable = False
        await client.get(message("a", size=50_000))
    clients[0].outbox.put_all([message("b", size=FLUSH_CHUNK // 2)] * 2)
    size = message("a", size=50_000).size
    assert ann.bytes > 4 * size + FLUSH_CHUNK
    for client in clients[:2]:
        client.resume()
    await turn()
    assert ann.bytes == 2 * size
    clients[2].outbox.count_for(bob)
    assert (ann.bytes, bob.bytes) == (size, size)
    for client in clients[2:]:
        client.outbox.retire()
    assert (ann.bytes, bob.bytes) == (0, 0)


async def test_what_waits_counts_for_the_user_who_signed_in_last(slow: Client) -> None:
    """Also what came before. Nothing is left when all is sent."""
    ann, bob = UserBacklog(), UserBacklog()
    await slow.get(*[message("a")] * 3)
    for user, expected in ((ann, (3, 0)), (bob, (0, 3)), (bob, (0, 3))):
        slow.outbox.count_for(user)
        assert (ann.messages, bob.messages) == expected
    await slow.get(message("b"))
    assert (ann.messages, bob.messages) == (0, 4)
    slow.resume()
    assert (ann.messages, bob.messages) == (0, 0)
