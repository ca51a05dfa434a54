"""The states of a project between an instance and Redis, reached by real replies and announcements of Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product

import pytest
from tests.cluster.instances import Instance
from tests.support.manual_link import ManualLink
from tests.support.redis_server import RedisServer

from synkora.cluster.project_sync import TRANSITIONS, ProjectSync, SyncEvent, SyncState
from synkora.cluster.replica import Announcement
from synkora.protocol.json import encode

_TURNS = 6

Step = tuple[SyncState, SyncEvent, SyncState]


class Walk:
    """An instance whose project `p` goes from state to state."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.link = ManualLink(redis)
        self.instance = Instance(self.link)

    @property
    def state(self) -> SyncState:
        return self.instance.presence._projects["p"].state

    async def turn(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def exchange(self) -> None:
        """Let Redis execute the commands, and deliver its replies."""
        self.link.send()
        self.link.deliver()
        await self.turn()

    async def connect(self) -> None:
        self.link.connect()
        await self.turn()

    async def change(self) -> None:
        self.instance.join("p", "second")
        await self.turn()

    async def take_lease_away(self) -> None:
        """The next command fails: Redis does not know the instance."""
        self.redis.do("DEL", "synkora:instances")
        await self.exchange()

    async def lose_track(self) -> None:
        """Another instance has considered this one dead."""
        announcement = Announcement("other", 0, 1, ["first"], [])
        self.redis.do("PUBLISH", "synkora:presence:p", encode(announcement))
        self.link.deliver()

    # Ways to each state

    async def new(self) -> None:
        await self.connect()
        self.instance.join("p", "first")

    async def entering(self) -> None:
        await self.new()
        await self.exchange()

    async def synced(self) -> None:
        await self.entering()
        await self.exchange()

    async def changing(self) -> None:
        await self.synced()
        await self.change()

    async def overtaken(self) -> None:
        await self.changing()
        await self.lose_track()

    async def outdated(self) -> None:
        await self.synced()
        self.link.cut()

    # Events that need another way in some states

    async def enter(self) -> None:
        if not self.link.is_up:
            await self.connect()
        await self.exchange()

    async def lose_track_by_registering(self) -> None:
        """The lease is new, and Redis may have lost everything."""
        await self.enter()


WAYS: dict[SyncState, Callable[[Walk], Awaitable[None]]] = {
    SyncState.NEW: Walk.new,
    SyncState.ENTERING: Walk.entering,
    SyncState.SYNCED: Walk.synced,
    SyncState.CHANGING: Walk.changing,
    SyncState.OVERTAKEN: Walk.overtaken,
    SyncState.OUTDATED: Walk.outdated,
}
CAUSES: dict[SyncEvent, Callable[[Walk], Awaitable[None]]] = {
    SyncEvent.ENTER: Walk.enter,
    SyncEvent.CHANGE: Walk.change,
    SyncEvent.ANSWER: Walk.exchange,
    SyncEvent.FAIL: Walk.take_lease_away,
    SyncEvent.LOSE_TRACK: Walk.lose_track,
}
#: In these states Redis cannot announce anything.
UNHEARD = (SyncState.NEW, SyncState.OUTDATED)


@pytest.fixture
async def walk(redis: RedisServer) -> AsyncIterator[Walk]:
    """An instance that has just started, without Redis."""
    walk = Walk(redis)
    yield walk
    walk.instance.kill()
    walk.link.cut()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Each transition of a project: the state before, the event, the state after."""
    moves: list[Step] = []
    move = ProjectSync.move

    def recorded(project: ProjectSync, event: SyncEvent) -> None:
        before = project.state
        move(project, event)
        moves.append((before, event, project.state))

    monkeypatch.setattr(ProjectSync, "move", recorded)
    return moves


def name(item: SyncState | SyncEvent | tuple[SyncState, SyncEvent]) -> str:
    return "-".join(each.name for each in item) if isinstance(item, tuple) else item.name


@pytest.mark.parametrize("entry", list(TRANSITIONS), ids=name)
async def test_every_transition_of_the_table_happens(
    walk: Walk, steps: list[Step], entry: tuple[SyncState, SyncEvent]
) -> None:
    """Each is caused by real behaviour of Redis, and leads to the state of the table."""
    state, event = entry
    await WAYS[state](walk)
    assert walk.state is state
    steps.clear()
    if event is SyncEvent.LOSE_TRACK and state in UNHEARD:
        await walk.lose_track_by_registering()
    else:
        await CAUSES[event](walk)
    assert (state, event, TRANSITIONS[entry]) in steps


@pytest.mark.parametrize(
    ("state", "event"), [entry for entry in product(SyncState, SyncEvent) if entry not in TRANSITIONS], ids=name
)
def test_every_other_event_is_a_fault(state: SyncState, event: SyncEvent) -> None:
    """An event that the table does not have is refused, and changes nothing."""
    project = ProjectSync("p", "instance")
    project.state = state
    with pytest.raises(KeyError):
        project.move(event)
    assert project.state is state


async def test_a_project_is_synced_again_after_all_that_can_happen(walk: Walk) -> None:
    """A lost lease, a lost link and a gap during a call: in the end Redis has the members of the instance."""
    await walk.overtaken()
    await walk.take_lease_away()
    walk.link.cut()
    await walk.connect()
    for _ in range(4):
        await walk.exchange()
    assert walk.state is SyncState.SYNCED
    assert {field for field in walk.redis.do("HKEYS", "synkora:project:p") if field} == {b"first", b"second"}


async def test_an_unreadable_snapshot_is_requested_with_the_next_beat(walk: Walk) -> None:
    """Not at once, and not for each announcement: to read it again may take as long, and fail again."""
    walk.redis.do("ZADD", "synkora:instances", 1, "other")
    walk.redis.do("HSET", "synkora:project:p", "third", "other:no JSON")
    await walk.entering()
    await walk.exchange()
    await walk.exchange()
    states = [walk.state]
    await walk.lose_track()
    await walk.turn()
    assert walk.link.is_idle
    walk.redis.do("HDEL", "synkora:project:p", "third")
    walk.instance.presence._awake.set()
    await walk.turn()
    for _ in range(4):
        await walk.exchange()
    assert [*states, walk.state] == [SyncState.OUTDATED, SyncState.SYNCED]
