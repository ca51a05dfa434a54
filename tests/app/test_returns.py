"""Members who return to another instance, as members on a third instance see them."""

import asyncio
from contextlib import AsyncExitStack

from tests.collaboration.site import Site
from tests.collaboration.tabs import Tab
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.relay import relaying
from tests.support.servers import until

from synkora.app.cluster import Cluster
from synkora.cluster.presence_sync import PresenceSync
from synkora.cluster.project_sync import SyncState
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.close_reasons import Reason
from synkora.recovery.settings import RecoverySettings


class Place:
    """An instance: its cluster, and a site with recovery over it."""

    def __init__(self, url: str) -> None:
        self.cluster = Cluster(url, "socket.io", FailureBackoff(3))
        store = self.cluster.keep(RecoverySettings())
        self.site = Site(
            recovery=store, adapter=self.cluster.adapter, presence=self.cluster.presence, presence_grace=0.1
        )

    @property
    def presence(self) -> PresenceSync:
        return self.cluster.presence

    @property
    def sockets(self) -> list[str]:
        return [*self.site.server.of("/").sockets]


class RemoteTab(Tab):
    """A tab whose server asks Redis before it answers."""

    async def come(self, **auth: object) -> "RemoteTab":
        await super().come(**auth)
        async with asyncio.timeout(PATIENCE):
            while self.sid is None:
                await self.read()
        return self


def has_told(presence: PresenceSync) -> bool:
    """Whether Redis knows from this instance who is in the project, if anybody is there."""
    project = presence._projects.get("p")
    return presence._lease.is_valid and (project is None or project.state is SyncState.SYNCED)


async def until_counted(tab: Tab, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while ["users:count", {"count": count}] not in await tab.take("users:count"):
            pass


async def until_created(tab: Tab, task: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while await tab.edits() != [["task:create", {"id": task}]]:
            pass


async def test_nobody_sees_that_an_instance_has_missed_a_return(redis: RedisServer) -> None:
    """Its link was down when the client returned to another one. When the link is up, it gives the connection up, which
    only seems alive, before it tells Redis who is there.
    """
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(relaying(redis.port))
        places = [Place(f"redis://127.0.0.1:{relay.port}"), Place(redis.url), Place(redis.url)]
        for place in places:
            await stack.enter_async_context(place.cluster)
        first, second, third = places
        ann = await RemoteTab(first.site, "Ann").open()
        bob = await RemoteTab(third.site, "Bob").come()
        bob.emit("join-project", "p")
        await until_counted(bob, 2)
        sid, half_open = ann.sid, ann.session
        relay.is_stuck = True
        relay.cut()
        await until(lambda: not first.cluster.link.is_up)
        ann.move_to(second.site.server)
        await ann.come()
        assert ann.recovered
        await until(lambda: second.presence.count("p") == 2)
        await second.cluster.link.call("PING")
        relay.is_stuck = False
        await until(lambda: has_told(first.presence))
        half_open.close(Reason.PING_TIMEOUT)
        await until(lambda: not first.presence._projects)
        await third.cluster.link.call("PING")
        assert second.sockets == [sid]
        assert await bob.take("user:left", "user:joined") == []
        await ann.create("after that")
        await until_created(bob, "after that")
