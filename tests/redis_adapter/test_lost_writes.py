"""The log of events over a Redis that has gone back: after a restart from an older file, or after a failover.

Replication and files lag behind. What was confirmed may be lost, and no position may get a second meaning.
"""

import pytest
from tests.contracts.event_log import event, name_of
from tests.redis_adapter.recovery_stores import Followed
from tests.support.clocks import Clock
from tests.support.links import MakeLink, started
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import until

from synkora.recovery.ports import Incomplete, LoggedEvent, LogUnavailable, Missed, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog


class Instance:
    """An instance with clients in each room: what it has delivered, and at which position."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self.link = link
        self.delivered: list[tuple[str, Position]] = []
        self.epochs: list[str] = []  # that the log has begun
        self.log: RedisLog = Followed(link, RecoverySettings(), clock).log("/", self._deliver)
        self.log._catch_up._local_rooms = lambda: ("p",)
        self.log.on_new_epoch = self._count

    def _deliver(self, delivered: LoggedEvent) -> None:
        self.delivered.append((name_of(delivered), self.log.position))

    def _count(self) -> None:
        self.epochs.append(self.log.epoch)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.delivered]

    def send(self, *names: str) -> None:
        for name in names:
            self.log.append(new_event(event(name), ("p",)))

    async def since(self, position: Position) -> list[str] | Incomplete:
        found = await self.log.read(("p",), position)
        return found if isinstance(found, Incomplete) else [name_of(each) for each in found]


@pytest.fixture
async def pair(redis: RedisServer, make_link: MakeLink) -> tuple[Instance, Instance]:
    """Both have delivered the events a and b, which Redis has saved."""
    links = make_link(), make_link()
    for link in links:
        assert await link.start(PATIENCE)
    clock = Clock()
    first, second = (Instance(link, clock) for link in links)
    for link in links:
        await link.call("PING")  # both have their position
    first.send("a")
    await until(lambda: second.names == ["a"])
    second.send("b")
    await until(lambda: first.names == second.names == [*"ab"])
    redis.do("SAVE")
    return first, second


async def go_back(redis: RedisServer, *links: Link, options: tuple[str, ...] = ()) -> None:
    """Start Redis again with what it had at the last SAVE."""
    redis.kill()
    for link in links:
        await until(lambda link=link: not link.is_up)
    redis.start(*options)


async def refused(redis: RedisServer, *instances: Instance) -> None:
    """Let Redis go back, and refuse all writes: a new master has no replica for a moment."""
    links = [each.link for each in instances]
    await go_back(redis, *links, options=("--min-replicas-to-write", "1"))
    await until(lambda: all(link.is_up and link.problem is not None for link in links))


def meanings(*instances: Instance) -> dict[str, set[str]]:
    """The names of the events that were delivered at each position in the order."""
    found: dict[str, set[str]] = {}
    for instance in instances:
        for name, position in instance.delivered:
            if position.ahead is None:
                found.setdefault(str(position), set()).add(name)
    return found


async def send_unsaved(first: Instance, second: Instance) -> None:
    """Send the events c, d and e, which Redis loses when it goes back."""
    first.send("c")
    second.send("d")
    first.send("e")
    await until(lambda: len(first.delivered) == len(second.delivered) == 5)


async def check_once(names: str, first: Instance, second: Instance, lost: Position) -> None:
    """Check that both have delivered each of the events once, and that the log has all, in a new epoch."""
    await until(lambda: first.log.kept_bytes == second.log.kept_bytes == 0)
    assert sorted(first.names) == sorted(second.names) == [*names]
    assert all(len(found) == 1 for found in meanings(first, second).values())
    assert await first.since(lost) is Incomplete.EPOCH
    kept = await first.since(Position(first.log.position.epoch, 0))
    assert isinstance(kept, list)
    assert sorted(kept) == [*names]
    assert (first.log.gaps, second.log.gaps, first.log.lost, second.log.lost) == (0, 0, 0, 0)


async def test_no_number_is_given_twice(redis: RedisServer, pair: tuple[Instance, Instance]) -> None:
    """Events that Redis has lost are in the log again, and each instance delivers each event once."""
    first, second = pair
    await send_unsaved(first, second)
    lost = second.log.position
    await go_back(redis, first.link, second.link)
    await until(lambda: first.link.is_up and second.link.is_up)
    first.send("f")
    second.send("g")
    await until(lambda: {"f", "g"} <= {*first.names} & {*second.names})
    assert first.log.position.epoch != lost.epoch
    for each in pair:
        assert each.epochs
        assert len({*each.epochs}) == len(each.epochs)  # none came back
    await check_once("abcdefg", first, second, lost)


@pytest.mark.parametrize("senders", [(0,), (1,), (0, 1)])
async def test_no_number_is_given_twice_where_redis_refused_to_settle_the_log(
    redis: RedisServer, pair: tuple[Instance, Instance], senders: tuple[int, ...]
) -> None:
    """Also if one instance sends before the other has settled the log. Events that came meanwhile are in the log."""
    first, second = pair
    await send_unsaved(first, second)
    lost = first.log.position
    await refused(redis, *pair)
    first.send("f")
    await until(lambda: first.names[-1] == "f")
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    for number, name in enumerate("ghijklmnop"):
        pair[senders[number % len(senders)]].send(name)
    await until(lambda: len(first.delivered) >= 16 and len(second.delivered) >= 16)
    await check_once("abcdefghijklmnop", first, second, lost)


async def test_a_new_instance_gives_no_number_twice_where_redis_refused_to_settle_the_log(
    redis: RedisServer, pair: tuple[Instance, Instance], make_link: MakeLink
) -> None:
    """Nor does it say before what a client has missed: the others know of lost events."""
    before = pair[0].log.position
    for instance, name in zip(pair, "cd", strict=True):
        instance.send(name)
    await until(lambda: all(len(each.delivered) == 4 for each in pair))
    await refused(redis, *pair)
    late = Instance(await started(make_link()), Clock())
    await until(lambda: late.link.problem is not None)
    missed: list[Missed] = []
    late.log.replay("me", {"p": 0}, before, missed.append)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    late.send(*"efgh")
    await until(lambda: all(len(each.delivered) >= 8 for each in pair))
    assert [sorted(each.names) for each in pair] == [[*"abcdefgh"]] * 2
    assert all(len(names) == 1 for names in meanings(*pair, late).values())
    await until(lambda: bool(missed))
    if isinstance(missed[0].events, list):
        assert [*"cd"] == [name_of(each) for each in missed[0].events if name_of(each) in "cd"]


async def test_instances_serve_each_other_while_redis_refuses_to_settle_the_log(
    redis: RedisServer, pair: tuple[Instance, Instance]
) -> None:
    """Its only replica may be away for hours: events are sent past the log, and clients that return are told so."""
    first, second = pair
    passed: list[bytes] = []
    second.link.subscribe(Channels.of("test", "/").room("p"), passed.append)
    await refused(redis, *pair)
    first.send("c")
    await until(lambda: first.names[-1] == "c")
    with pytest.raises(LogUnavailable):
        await first.log.append_once(new_event(event("d"), ("p",)), once="d")
    missed: list[Missed] = []
    first.log.replay("me", {"p": 0}, first.delivered[0][1], missed.append)
    await until(lambda: len(passed) == 1 and len(missed) == 1)
    assert b'["c"' in passed[0]
    assert missed[0].events is Incomplete.UNAVAILABLE
    assert (first.log.lost, first.log.kept_bytes) == (1, 0)
    first.log.replay("me", {"p": 0}, first.delivered[0][1], missed.append)
    assert missed[1].events is Incomplete.UNAVAILABLE


async def test_an_event_that_no_server_can_read_does_not_stop_a_log_that_redis_refuses_to_settle(
    redis: RedisServer, pair: tuple[Instance, Instance]
) -> None:
    """One member's edit may be nested too deeply for others. It is lost, and the events behind it are not."""
    first, second = pair
    await refused(redis, *pair)
    nested = b'["deep",' + b"[" * 10_000 + b'{"_placeholder":true,"num":0}' + b"]" * 10_000 + b"]"
    first.log.append(new_event(nested, ("p",), attachments=(b"attachment",)))
    await until(lambda: first.log.lost == 1)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    await until(lambda: first.link.problem is None and second.link.problem is None)
    second.send("c")
    await until(lambda: first.names[-1] == second.names[-1] == "c")


async def test_an_event_that_reached_one_instance_alone_reaches_the_others(
    redis: RedisServer, pair: tuple[Instance, Instance]
) -> None:
    """Redis dies after it has confirmed an event, before the message has left for the other instance."""
    first, second = pair
    channel = Channels.of("test", "/").room("p")
    second.link.subscribe(channel, lambda _: None)
    first.send("c")
    await until(lambda: first.names == [*"abc"] and first.log.kept_bytes == 0)
    await second.link.call("PING")
    second.link.subscribe(channel, second.log.receive)
    await go_back(redis, first.link, second.link)
    await until(lambda: second.names == [*"abc"])
    assert first.names == [*"abc"]


async def test_a_position_whose_event_is_lost_is_refused(
    redis: RedisServer, pair: tuple[Instance, Instance], make_link: MakeLink
) -> None:
    """Also if all instances that know of the event have ended with Redis."""
    first, second = pair
    known = first.log.position
    first.send("c")
    await until(lambda: second.names == [*"abc"])
    lost = first.log.position
    redis.kill()
    for each in pair:
        await until(lambda each=each: not each.link.is_up)
        each.log.close()
    redis.start()
    link = await started(make_link())
    late = Instance(link, Clock())
    late.send("x", "y")
    await until(lambda: late.names == [*"xy"])
    assert await late.since(lost) is Incomplete.EPOCH
    assert await late.since(known) == [*"xy"]
    assert late.log.position.number > lost.number


async def test_a_restart_that_loses_nothing_keeps_the_epoch(make_link: MakeLink) -> None:
    """A client may ask for what it has missed across the restart."""
    with running_redis("--appendonly", "yes") as redis:
        link = await started(make_link(redis.url))
        only = Instance(link, Clock())
        only.send("a", "b")
        await until(lambda: only.names == [*"ab"])
        after = only.delivered[0][1]
        await go_back(redis, link)
        await until(lambda: link.is_up)
        only.send("c")
        await until(lambda: only.names == [*"abc"])
        assert await only.since(after) == [*"bc"]
        assert (only.epochs, only.log.gaps) == ([], 0)


async def test_without_the_right_to_ask_a_loss_is_noticed_by_those_who_know(
    redis: RedisServer, make_link: MakeLink
) -> None:
    """The user may not call INFO: the instance that has got the lost event begins a new epoch."""
    redis.do("ACL", "SETUSER", "default", "-info")
    link = await started(make_link())
    assert link.data_id == ""
    only = Instance(link, Clock())
    only.send("a")
    await until(lambda: only.names == ["a"])
    redis.do("SAVE")
    only.send("b")
    await until(lambda: only.names == [*"ab"] and only.log.kept_bytes == 0)
    lost = only.log.position
    await go_back(redis, link)
    await until(lambda: link.is_up)
    only.send("c")
    await until(lambda: only.names == [*"abc"])
    assert only.log.position.epoch != lost.epoch
    assert only.log.position.number > lost.number
