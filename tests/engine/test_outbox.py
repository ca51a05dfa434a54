import asyncio

import pytest
from tests.engine.outboxes import LIMIT, Client, message, names
from tests.support.clocks import Clock
from tests.support.logs import capture_logs
from tests.support.sessions import MemoryTransport, turn

from synkora.engine import outbox as outbox_module
from synkora.engine.backlog import VOLATILE_LIMIT, most_messages
from synkora.engine.close_reasons import OutboxFull
from synkora.engine.message import Message
from synkora.engine.outbox import FLUSH_CHUNK, Flusher, Outbox


async def test_all_messages_of_a_turn_are_one_write_per_client(flusher: Flusher) -> None:
    one, two, idle = Client(flusher), Client(flusher), Client(flusher)
    one.outbox.put(message("a"))
    flusher.broadcast(message("b"), [one.outbox, two.outbox], None)
    one.outbox.put(message("c"))
    assert one.carrier.writes == []
    await turn()
    assert names(one) == ["a", "b", "c"]
    assert names(two) == ["b"]
    assert [len(client.carrier.writes) for client in (one, two, idle)] == [1, 1, 0]
    await one.get(message("d"))
    assert len(one.carrier.writes) == 2


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(0.0, 0.5), (0.25, 0.25), (0.5, None), (60.0, None)],
    ids=["at once", "sooner", "just in time", "idle"],
)
async def test_two_writes_are_an_interval_apart(
    monkeypatch: pytest.MonkeyPatch, gap: float, expected: float | None
) -> None:
    """The event loop sleeps after the second write, for the rest of the interval."""
    clock, pauses = Clock(), list[float]()
    monkeypatch.setattr(outbox_module, "perf_counter", lambda: clock.now)
    flusher = Flusher(0.5, pauses.append)
    client = Client(flusher)
    for text in ("a", "b"):
        await client.get(message(text))
        assert names(client) == ["a", "b"][: "ab".index(text) + 1]
        clock.now += gap
    assert pauses == ([] if expected is None else [expected])


async def test_without_writes_there_is_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only received causes no sleep."""
    monkeypatch.setattr(outbox_module, "perf_counter", Clock())
    pauses: list[float] = []
    flusher = Flusher(0.5, pauses.append)
    for _ in range(3):
        flusher.arm()
        await turn()
    assert pauses == []


async def test_one_message_is_one_object_for_all_recipients(flusher: Flusher) -> None:
    clients = [Client(flusher) for _ in range(3)]
    shared = message("a")
    flusher.broadcast(shared, [client.outbox for client in clients], None)
    await turn()
    assert all(client.carrier.writes[0][0] is shared for client in clients)


async def test_the_sender_can_be_left_out(flusher: Flusher) -> None:
    """`skip` gets nothing, everybody else does."""
    sender, other = Client(flusher), Client(flusher)
    flusher.broadcast(message("a"), [sender.outbox, other.outbox], sender.outbox)
    await turn()
    assert (names(sender), names(other)) == ([], ["a"])


async def test_the_backlog_is_sent_in_order_when_the_client_reads_again(slow: Client) -> None:
    """Volatile and other messages keep their order over several turns and the release."""
    for text, volatile in (("a", False), ("b", True), ("c", False)):
        await slow.get(message(text, volatile=volatile))
    assert slow.outbox.waiting_bytes > 0
    slow.outbox.put(message("d"))
    slow.resume()
    assert names(slow) == ["a", "b", "c", "d"]
    assert len(slow.carrier.writes) == 1
    assert slow.outbox.is_empty
    assert slow.outbox.waiting_bytes == 0
    await turn()
    assert names(slow) == ["a", "b", "c", "d"]


async def test_the_oldest_volatile_messages_are_dropped_first(slow: Client) -> None:
    """The newest cursors within the limit stay, and no other message is lost."""
    slow.outbox.put(message("first", volatile=False))
    for number in range(100):
        await slow.get(message(str(number), volatile=True, size=1000))
    await slow.get(message("last", volatile=False))
    slow.resume()
    first, *kept, last = names(slow)
    assert (first, last) == ("first", "last")
    assert kept == [str(number) for number in range(100 - len(kept), 100)]
    assert len(kept) == VOLATILE_LIMIT // 1004
    assert slow.failures == []


async def test_the_backlog_is_sent_in_parts(flusher: Flusher) -> None:
    """A long backlog takes several turns, between turns of other clients. Later messages come after it."""
    client, other = Client(flusher, limit=10_000_000), Client(flusher)
    client.carrier.writable = False
    for number in range(100):
        client.outbox.put(message(str(number), size=10_000))
    await turn()
    client.resume()
    flusher.broadcast(message("after"), [client.outbox, other.outbox], None)
    assert len(client.carrier.writes) == 1
    await asyncio.sleep(0)
    assert names(other) == ["after"]
    assert len(client.carrier.writes) == 2
    for _ in range(5):
        await turn()
    assert names(client) == [*map(str, range(100)), "after"]
    assert len(client.carrier.writes) == 4
    assert all(sum(item.size for item in part) < FLUSH_CHUNK + 10_004 for part in client.carrier.writes)
    assert client.outbox.is_empty


async def test_many_messages_of_one_client_go_out_in_parts() -> None:
    """After waiting messages, and before later ones."""
    client = Client(Flusher(), limit=10_000_000)
    client.outbox.put(message("before"))
    client.outbox.put_all([message(str(number), size=10_000) for number in range(100)])
    client.outbox.put(message("after"))
    await asyncio.sleep(0)
    assert len(client.carrier.writes) == 1
    for _ in range(5):
        await turn()
    assert names(client) == ["before", *map(str, range(100)), "after"]
    assert all(sum(item.size for item in part) < FLUSH_CHUNK + 10_004 for part in client.carrier.writes)
    assert client.outbox.is_empty


async def test_messages_that_a_backlog_has_no_room_for_are_written_at_once() -> None:
    """The client reads, and is not disconnected because of them."""
    client = Client(Flusher(), limit=300_000)
    client.outbox.put_all([message(str(number), size=10_000) for number in range(31)])
    await turn()
    assert names(client) == [*map(str, range(31))]
    assert client.failures == []


async def test_few_bytes_of_one_client_are_one_write(flusher: Flusher, client: Client) -> None:
    client.outbox.put_all([message("a"), message("b")])
    client.outbox.put(message("c"))
    await asyncio.sleep(0)
    assert names(client) == ["a", "b", "c"]
    assert len(client.carrier.writes) == 1
    assert (flusher.deliveries, flusher.bytes_out) == (3, 3 * message("a").size)


@pytest.mark.parametrize("waits", [True, False], ids=["held", "in its carrier"])
async def test_a_client_that_reads_a_little_has_the_same_limit(waits: bool) -> None:
    """The carrier's accepted part of a backlog makes room for that much, and for no second backlog."""
    client = Client(Flusher(), limit=1_000_000)
    client.carrier.writable = False
    for _ in range(90):
        client.outbox.put(message("a", size=10_000))
    await turn()
    client.carrier.writable = not waits
    client.outbox.flush()
    client.carrier.writable = False
    written = sum(item.size for part in client.carrier.writes for item in part)
    count = 0
    while not client.failures:
        await client.get(message("b", size=10_000))
        count += 1
    assert count == (1_000_000 - 90 * 10_004 + written) // 10_004 + 1
    assert written < FLUSH_CHUNK + 10_004


async def test_volatile_messages_are_dropped_before_the_client_is_disconnected() -> None:
    """All of them, if other messages need the room."""
    client = Client(Flusher(), limit=100_000)
    client.carrier.writable = False
    for number in range(8):
        client.outbox.put(message("durable", size=10_000))
        await client.get(message(str(number), volatile=True, size=5_000))
    await client.get(message("huge", volatile=True, size=30_000))
    assert client.failures == []
    client.resume()
    assert names(client) == ["durable"] * 8


async def test_messages_dropped_for_slow_clients_are_counted(flusher: Flusher) -> None:
    """Each volatile message once per client that loses it, and each disconnected client."""
    slow, slower, fast = (Client(flusher, limit=100_000) for _ in range(3))
    everyone = [client.outbox for client in (slow, slower, fast)]
    slow.carrier.writable = slower.carrier.writable = False
    for number in range(10):
        flusher.broadcast(message(str(number), volatile=True, size=20_000), everyone, None)
        await turn()
    assert (flusher.dropped, flusher.cut_off) == (14, 0)
    for _ in range(6):
        await slower.get(message("durable", size=20_000))
    assert (flusher.dropped, flusher.cut_off) == (17, 1)
    assert len(slower.failures) == 1
    assert len(names(fast)) == 10


async def test_above_its_limit_one_client_fails_and_others_continue(flusher: Flusher) -> None:
    """The slow client is disconnected with its backlog. The next one loses nothing."""
    slow, other = Client(flusher), Client(flusher)
    slow.carrier.writable = False
    for number in range(30):
        flusher.broadcast(message(str(number), size=10_000), [slow.outbox, other.outbox], None)
        await turn()
        if slow.failures:
            break
    assert isinstance(slow.failures[0], OutboxFull)
    assert len(slow.failures) == 1
    assert slow.outbox.is_empty
    assert names(other) == [str(number) for number in range(len(other.carrier.writes))]
    assert len(other.carrier.writes) == LIMIT // 10_000


class Broken(MemoryTransport):
    def send(self, messages: list[Message]) -> None:
        raise RuntimeError("of the test")


async def test_an_error_in_one_carrier_costs_only_its_own_client() -> None:
    """An error while writing is logged and ends that client. Later ones get their messages."""

    flusher = Flusher()
    broken, other = Client(flusher), Client(flusher)
    broken.outbox.carrier = Broken()
    with capture_logs() as logs:
        flusher.broadcast(message("a"), [broken.outbox, other.outbox], None)
        await turn()
    assert [str(error) for error in broken.failures] == ["of the test"]
    assert names(other) == ["a"]
    assert logs[0]["event"] == "flush_failed"


async def test_a_message_added_during_a_flush_is_sent_in_the_next_turn(flusher: Flusher) -> None:
    """For example the close packet of a failing client."""
    other = Client(flusher)

    class Talkative(MemoryTransport):
        def send(self, messages: list[Message]) -> None:
            super().send(messages)
            if len(self.writes) == 1:
                flusher.broadcast(message("reply"), [other.outbox], None)

    one = Client(flusher)
    one.outbox.carrier = Talkative()
    await one.get(message("a"))
    await turn()
    assert names(other) == ["reply"]


async def test_clear_drops_waiting_messages(slow: Client) -> None:
    await slow.get(message("held"))
    slow.outbox.put(message("queued"))
    slow.outbox.clear()
    slow.carrier.writable = True
    await turn()
    assert slow.carrier.writes == []


@pytest.mark.parametrize("size", [LIMIT - 4, LIMIT - 3])
async def test_the_limit_itself_may_wait(size: int) -> None:
    """A client fails with the first byte above the limit."""
    client = Client(Flusher(), limit=LIMIT + 6)
    client.carrier.writable = False
    await client.get(message("a", size=size))
    assert client.outbox.waiting_bytes in (0, size + 10)
    assert bool(client.failures) is (size + 10 > LIMIT + 6)


async def test_a_send_from_a_thread_raises_and_later_sends_work(flusher: Flusher) -> None:
    one, other = Client(flusher), Client(flusher)
    with pytest.raises(RuntimeError, match="no running event loop"):
        await asyncio.to_thread(one.outbox.put, message("from a thread"))
    one.outbox.put(message("a"))
    await other.get(message("b"))
    assert names(one) == ["a"]
    assert names(other) == ["b"]


async def test_an_error_while_a_client_is_disconnected_affects_no_other() -> None:
    """The error is logged, and later clients get their messages."""

    def fail_again(error: Exception) -> None:
        raise LookupError("again")

    flusher = Flusher()
    other = Client(flusher)
    broken = Outbox(flusher, Broken(), LIMIT, fail_again)
    with capture_logs() as logs:
        flusher.broadcast(message("a"), [broken, other.outbox], None)
        await turn()
    assert names(other) == ["a"]
    assert [entry["exception"].rpartition(": ")[2] for entry in logs] == ["of the test", "again"]


async def test_the_newest_volatile_message_is_kept_however_large(slow: Client) -> None:
    """A single one above the limit replaces the older ones."""
    for text in ("small", "large", "larger"):
        await slow.get(message(text, volatile=True, size=10 if text == "small" else VOLATILE_LIMIT + 1))
    slow.resume()
    assert names(slow) == ["larger"]


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("flushed", [True, False])
async def test_all_that_waits_can_be_handed_over_at_once(writable: bool, flushed: bool) -> None:
    """Held messages, then later ones: in order, once, and none remains."""

    class Patient(MemoryTransport):
        def send(self, messages: list[Message]) -> None:
            self.writes.append(messages)

    client = Client(Flusher())
    client.carrier = Patient(writable=writable)
    client.outbox.carrier = client.carrier
    for text in "ab":
        client.outbox.put(message(text))
        if flushed:
            await turn()
    client.outbox.send_all()
    await turn()
    assert names(client) == ["a", "b"]
    assert client.outbox.is_empty


async def test_messages_are_counted_once_per_recipient(flusher: Flusher) -> None:
    """A skipped client is not counted, member or not. Bytes are those of a WebSocket's frames."""
    sender, other, stranger = Client(flusher), Client(flusher), Client(flusher)
    first = message("a", size=200)
    flusher.broadcast(first, [sender.outbox, other.outbox], sender.outbox)
    flusher.broadcast(first, [sender.outbox, other.outbox], stranger.outbox)
    flusher.broadcast(first, [], None)
    assert flusher.deliveries == 3
    assert flusher.bytes_out == 3 * len(first.frames)


async def test_each_turn_with_messages_is_timed_once(flusher: Flusher, client: Client) -> None:
    for _ in range(2):
        client.outbox.put(message("a"))
        await client.get(message("b"))
    flusher.arm()
    await turn()
    assert sum(flusher.turns.counts) == 2
    assert flusher.turns.sum > 0


async def test_a_turn_is_timed_from_the_first_message_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing starts with received messages, before any outbox has one."""
    clock = Clock()
    monkeypatch.setattr(outbox_module, "perf_counter", clock)
    flusher = Flusher()
    client = Client(flusher)
    flusher.arm()
    clock.now += 2
    client.outbox.put(message("a"))
    clock.now += 1
    await turn()
    assert flusher.turns.sum == 3


async def test_messages_for_the_next_turn_do_not_shorten_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that fails during a write is informed in the next turn. This turn's duration stays."""
    clock = Clock()
    monkeypatch.setattr(outbox_module, "perf_counter", clock)
    flusher = Flusher()
    client, other = Client(flusher), Client(flusher)

    def send(_: object) -> None:
        clock.now += 3
        other.outbox.put(message("b"))

    monkeypatch.setattr(client.carrier, "send", send)
    await client.get(message("a"))
    assert flusher.turns.sum == 3


async def test_slow_consumers_are_counted(flusher: Flusher) -> None:
    """While their outboxes hold messages: until all are sent, dropped, or handed over."""
    clients = [Client(flusher) for _ in range(4)]
    for client in clients:
        client.carrier.writable = False
        client.outbox.put(message("a"))
    await turn()
    assert flusher.backlogged == {client.outbox for client in clients}
    first, second, third, fourth = clients
    for client in (first, third):
        client.carrier.writable = True
    first.outbox.flush()
    second.outbox.clear()
    third.outbox.send_all()
    assert flusher.backlogged == {fourth.outbox}
    await fourth.get(message("b", size=LIMIT + 1))
    assert flusher.backlogged == set()
    assert len(fourth.failures) == 1


async def test_small_messages_are_limited_in_number(flusher: Flusher) -> None:
    """An ack of 7 bytes takes fifty times as much memory."""
    most = most_messages(LIMIT)
    slow, held = Client(flusher), Client(flusher).outbox.hold()
    slow.carrier.writable = False
    ack = Message(b"430[]")
    await slow.get(*[ack] * most)
    assert slow.failures == []
    await slow.get(ack)
    (failure,) = slow.failures
    assert str(failure) == "too much waited for the client"
    for _ in range(most + 1):
        held.put(ack)
    await turn()
    assert held.is_over_limit
    assert held.is_empty


async def test_nothing_is_stored_for_a_disconnected_client(flusher: Flusher, client: Client) -> None:
    """Late messages for a retired outbox are dropped."""
    client.outbox.retire()
    client.carrier.writable = False
    await client.get(message("a"))
    assert client.outbox.is_empty
    assert flusher.backlogged == set()
