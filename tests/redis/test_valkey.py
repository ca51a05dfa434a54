"""Valkey in place of Redis: one server, a failover by Sentinels, and a Cluster."""

from dataclasses import replace

from tests.support.links import QUICK, MakeLink
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer, valkey
from tests.support.redis_sets import running_cluster, running_sentinels
from tests.support.servers import until

from synkora.cluster.presence_scripts import RENEW_LEASE, Keys
from synkora.recovery.ports import new_event
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link, Script
from synkora.redis_adapter.event_log import RedisLog

SETTINGS = replace(QUICK, timeout=3)


class Trial:
    """An instance's log of events over a link."""

    def __init__(self, link: Link) -> None:
        self.delivered: list[bytes] = []
        self._log = RedisLog(
            link,
            "/",
            RecoverySettings(),
            lambda event: self.delivered.append(event.data),
            lambda: ("p",),
            prefix="synkora:",
            channels="synkora",
        )
        link.subscribe(b"synkora#/#p#", self._log.receive)

    async def works(self, data: bytes) -> None:
        """Append an event, which waits until the link is up, and read it."""
        before = self._log.position
        self._log.append(new_event(data, ("p",)))
        await until(lambda: data in self.delivered and self._log.kept_bytes == 0)
        assert self._log.position.number > before.number


async def test_one_server_will_do(make_link: MakeLink) -> None:
    server = RedisServer(program=valkey())
    try:
        link = make_link(server.start().url, SETTINGS)
        assert await link.start(PATIENCE), link.problem
        assert b"valkey_version" in server.do("INFO", "server")
        assert link.data_id
        keys = Keys("synkora:")
        reply = await link.run(RENEW_LEASE, (keys.instances, keys.instance(link.uid)), (link.uid, 6000, 300, 1))
        assert reply == [[], []]
        await Trial(link).works(b'["a"]')
    finally:
        server.remove()


async def test_scripts_of_other_programs_do_not_displace_ours(make_link: MakeLink) -> None:
    """Valkey, and Redis from 7.4 on, forget the oldest of 500 scripts that EVAL has brought."""
    server = RedisServer(program=valkey())
    try:
        link = make_link(server.start().url, SETTINGS)
        assert await link.start(PATIENCE), link.problem
        script = Script("return ARGV[1]")
        assert await link.run(script, (), ("a",)) == b"a"
        for number in range(600):
            link.call("EVAL", f"return {number}", 0)
        assert await link.run(script, (), ("b",)) == b"b"
        assert b"evicted_scripts:0" not in server.do("INFO", "stats")
        assert link.reconnects == 0
    finally:
        server.remove()


async def working(make_link: MakeLink, url: str) -> Trial:
    """A trial of a link that has passed on a message."""
    link = make_link(url, SETTINGS)
    assert await link.start(PATIENCE), link.problem
    trial = Trial(link)
    await trial.works(b'["a"]')
    return trial


async def test_a_failover_by_sentinels_is_followed(make_link: MakeLink) -> None:
    with running_sentinels(program=valkey()) as sentinels:
        trial = await working(make_link, sentinels.url)
        sentinels.fail_over()
        await trial.works(b'["b"]')


async def test_a_failover_in_a_cluster_is_followed(make_link: MakeLink) -> None:
    with running_cluster(program=valkey()) as cluster:
        trial = await working(make_link, cluster.url)
        slot = cluster.nodes[0].do("CLUSTER", "KEYSLOT", "synkora")
        owner = cluster.owner(slot)
        assert owner is not None
        owner.kill()
        await until(lambda: cluster.owner(slot, but=owner.port) is not None)
        await trial.works(b'["b"]')
