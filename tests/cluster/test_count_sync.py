"""Counts over several instances, through a real Redis."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.support.links import MakeLink
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.relay import relaying
from tests.support.servers import until

from synkora.cluster.count_sync import CountSync, Report
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.handshake import HandshakeRefused
from synkora.protocol.json import encode
from synkora.redis.link import Link, LinkSettings

ADDRESS = "192.0.2.1"
NEVER = 1e6  # seconds
# Replaces its connection after Tallies that are quick have taken others for dead.
SLOW = LinkSettings(beat_interval=NEVER, first_delay=0.01, longest_delay=0.05)


class Instance:
    def __init__(self, link: Link, *, beat: float = NEVER, silence: float = NEVER) -> None:
        self.link = link
        self.failures = FailureBackoff(3)
        self.tallies = CountSync(link, self.failures, beat=beat, silence=silence)
        self.tallies.start()

    @property
    def users(self) -> Callable[[str], int]:
        return self.tallies.users.total


Make = Callable[..., Awaitable[Instance]]


@pytest.fixture
def make(make_link: MakeLink) -> Make:
    async def make_instance(link: Link | None = None, **timing: float) -> Instance:
        link = link or make_link()
        instance = Instance(link, **timing)
        assert await link.start(PATIENCE)
        return instance

    return make_instance


async def test_counts_of_one_instance_apply_to_all(make: Make) -> None:
    """Connections of users and addresses, as they open and close."""
    a, b, c = [await make() for _ in range(3)]
    a.tallies.users.add("ann")
    a.tallies.users.add("ann")
    b.tallies.users.add("ann")
    b.tallies.addresses.add(ADDRESS)
    await until(lambda: a.users("ann") == b.users("ann") == c.users("ann") == 3)
    await until(lambda: c.tallies.addresses.total(ADDRESS) == 1)
    assert c.users(ADDRESS) == 0
    a.tallies.users.remove("ann")
    b.tallies.users.remove("ann")
    await until(lambda: a.users("ann") == b.users("ann") == c.users("ann") == 1)


async def test_a_gate_counts_an_address_over_all(make: Make) -> None:
    """A disconnect on one instance makes room on the other."""
    a, b = [await make() for _ in range(2)]
    limiters = [
        ConnectionLimiter(ConnectionLimits(connections_per_address=2), each.tallies.addresses) for each in (a, b)
    ]
    limiters[0].add("2001:db8::1")
    limiters[1].add("2001:db8::2")
    for gate, each in zip(limiters, (a, b), strict=True):
        await until(lambda each=each: each.tallies.addresses.total("2001:db8::/64") == 2)
        with pytest.raises(HandshakeRefused):
            gate.check("2001:db8::3")
    limiters[0].remove("2001:db8::1")
    await until(lambda: b.tallies.addresses.total("2001:db8::/64") == 1)
    limiters[1].check("2001:db8::3")


async def test_failed_sign_ins_of_an_address_count_over_all(make: Make) -> None:
    """Attempts on alternating instances have the same delay as on one."""
    a, b = [await make() for _ in range(2)]
    assert a.failures.note(ADDRESS) == b.failures.note(ADDRESS) == 0
    await until(lambda: a.failures.counts == b.failures.counts == {ADDRESS: 2})
    assert a.failures.note(ADDRESS) == 0
    await until(lambda: b.failures.counts == {ADDRESS: 3})
    assert b.failures.note(ADDRESS) == 0.5


async def test_a_newcomer_learns_all(make: Make) -> None:
    a, b = [await make() for _ in range(2)]
    a.tallies.users.add("ann")
    b.tallies.users.add("ann")
    a.failures.note(ADDRESS)
    b.failures.note(ADDRESS)
    await until(lambda: a.users("ann") == b.users("ann") == 2 and a.failures.counts == b.failures.counts)
    newcomer = await make()
    await until(lambda: newcomer.users("ann") == 2)
    await until(lambda: newcomer.failures.counts == {ADDRESS: 2})
    assert [each.failures.counts for each in (a, b)] == [{ADDRESS: 2}] * 2
    assert [each.users("ann") for each in (a, b)] == [2, 2]


async def test_an_instance_that_dies_counts_no_longer(make: Make) -> None:
    """After its silence. The others continue to count."""
    a, b, dying = [await make(beat=0.05, silence=0.5) for _ in range(3)]
    for each in (a, b, dying):
        each.tallies.users.add("ann")
    await until(lambda: a.users("ann") == b.users("ann") == 3)
    assert dying.link._task is not None
    dying.link._task.cancel()  # without a message
    await until(lambda: a.users("ann") == b.users("ann") == 2)


async def test_a_stopped_instance_no_longer_counts(make: Make) -> None:
    """Other instances do not wait for its silence, and later changes there are not published."""
    a, leaving = [await make() for _ in range(2)]
    leaving.tallies.users.add("ann")
    leaving.tallies.users.add("bob")
    await until(lambda: a.users("ann") == 1)
    leaving.tallies.users.remove("bob")
    leaving.tallies.close()
    leaving.tallies.users.remove("ann")
    await leaving.link.close()
    await until(lambda: a.users("ann") == 0)
    await a.link.call("PING")
    assert a.tallies.users._elsewhere == {}


async def test_an_instance_that_was_considered_dead_counts_again(
    make: Make, make_link: MakeLink, redis: RedisServer
) -> None:
    a = await make(beat=0.05, silence=0.4)
    async with relaying(redis.port) as relay:
        late = await make(make_link(f"redis://127.0.0.1:{relay.port}", SLOW), beat=0.05, silence=0.4)
        a.tallies.users.add("ann")
        late.tallies.users.add("ann")
        await until(lambda: a.users("ann") == late.users("ann") == 2)
        relay.is_stuck = True
        await until(lambda: a.users("ann") == late.users("ann") == 1)
        relay.is_stuck = False
        await until(lambda: a.users("ann") == late.users("ann") == 2)


async def test_without_redis_one_counts_its_own_alone_and_all_again_when_it_is_back(
    make: Make, redis: RedisServer
) -> None:
    """Both learn of each other's changes during the outage."""
    a, b = [await make(beat=0.05, silence=0.3) for _ in range(2)]
    a.tallies.users.add("ann")
    b.tallies.users.add("ann")
    await until(lambda: a.users("ann") == b.users("ann") == 2)
    redis.kill()
    await until(lambda: a.users("ann") == b.users("ann") == 1)
    a.tallies.users.add("bob")
    b.tallies.users.remove("ann")
    a.failures.note(ADDRESS)
    await until(lambda: not a.link.is_up and not b.link.is_up)
    redis.start()
    await until(lambda: b.users("bob") == a.users("bob") == 1)
    await until(lambda: a.users("ann") == b.users("ann") == 1)
    await until(lambda: a.failures.counts == b.failures.counts == {ADDRESS: 1})


async def test_connections_that_ended_during_an_outage_no_longer_count(
    make: Make, make_link: MakeLink, redis: RedisServer
) -> None:
    """Even if Redis was back before the instance was considered dead."""
    a = await make()
    async with relaying(redis.port) as relay:
        b = await make(make_link(f"redis://127.0.0.1:{relay.port}"))
        b.tallies.users.add("ann")
        b.tallies.users.add("bob")
        await until(lambda: a.users("ann") == a.users("bob") == 1)
        relay.cut()
        await until(lambda: not b.link.is_up)
        b.tallies.users.remove("ann")
        await until(lambda: b.link.is_up)
        await until(lambda: a.users("ann") == 0)
        assert a.users("bob") == 1


async def test_a_failure_that_is_reported_twice_counts_once(make: Make) -> None:
    """An instance may have to publish all its counts in the turn of the failure."""
    a, b = [await make() for _ in range(2)]
    a.failures.note(ADDRESS)
    a.tallies._introduce()
    a.tallies.users.add("ann")
    await until(lambda: b.users("ann") == 1)
    assert b.failures.counts == {ADDRESS: 1}
    a.failures.note(ADDRESS)
    a.tallies._receive(encode(Report(b.link.uid, asks=True)))
    a.tallies.users.add("bob")
    await until(lambda: b.users("bob") == 1)
    assert b.failures.counts == {ADDRESS: 2}


async def test_an_instance_that_stops_says_so_before_its_connections_end(make: Make) -> None:
    """The others know that it was not lost, and count its connections until the end."""
    a, b = await make(), await make()
    a.tallies.users.add("ann")
    await until(lambda: b.users("ann") == 1)
    a.tallies.announce_stop()
    await until(lambda: list(b.tallies.stopped) == [a.link.uid])
    assert b.users("ann") == 1
    a.tallies.close()
    await until(lambda: b.users("ann") == 0)
    assert list(a.tallies.stopped) == []


async def test_changes_of_one_turn_are_one_message(make: Make, link: Link) -> None:
    """A thousand simultaneous clients cause one message, and no reply."""
    a = await make()
    received: list[bytes] = []
    link.subscribe(b"synkora:tallies", received.append)
    await link.call("PING")
    for number in range(1000):
        a.tallies.users.add(f"user-{number % 500}")
    await until(lambda: received)
    await a.link.call("PING")
    await link.call("PING")
    assert len(received) == 1
    assert len(msgspec.json.decode(received[0])["users"]) == 500


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"instance":1}',
        b'{"instance":"x","users":{"ann":"1"}}',
        b'{"instance":"%b","users":{"ann":1}}' % (b"x" * 41),
    ],
)
async def test_an_invalid_report_is_ignored(make: Make, link: Link, message: bytes) -> None:
    a = await make()
    link.publish(b"synkora:tallies", message)
    await until(lambda: a.tallies.unreadable == 1)
    assert a.users("ann") == 0


async def test_deployments_with_different_prefixes_count_separately(make: Make, make_link: MakeLink) -> None:
    a = await make()
    other = make_link()
    tallies = CountSync(other, FailureBackoff(3), prefix="synkora:staging:")
    tallies.start()
    assert await other.start(PATIENCE)
    tallies.users.add("ann")
    await other.call("PING")
    await other.call("PING")
    await a.link.call("PING")
    assert a.users("ann") == 0
