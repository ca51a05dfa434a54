"""A link to a real Redis Cluster: all keys in one slot, and the node that has the slot."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.app.check.test_redis import RIGHTS
from tests.support.certificates import issue_certificate
from tests.support.links import QUICK, MakeLink
from tests.support.processes import PATIENCE
from tests.support.redis_sets import RedisCluster, await_that, running_cluster
from tests.support.servers import until

from synkora.redis.link import Link, Script
from synkora.redis.url import RedisUrl

WRITE = Script("redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[1]) return KEYS[2]")
SLOT = 9666  # of `synkora`, by CLUSTER KEYSLOT
SETTINGS = replace(QUICK, timeout=3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with running_cluster() as cluster:
        yield cluster


async def written(link: Link, cluster: RedisCluster, value: str) -> None:
    """Check that the link's keys are together on one node, and its messages reach all nodes."""
    assert await link.run(WRITE, ["synkora:a", "synkora:{log:/}:b"], [value]) == b"{synkora}:{log:/}:b"
    owner = cluster.owner(SLOT)
    assert owner is not None
    assert owner.do("GET", "{synkora}:a") == value.encode()


async def test_the_node_of_the_slot_is_found_from_any_other(make_link: MakeLink, cluster: RedisCluster) -> None:
    """Also with the URL of a single Redis, and from a replica. Messages from any node arrive."""
    assert cluster.nodes[0].do("CLUSTER", "KEYSLOT", "{synkora}:a") == SLOT
    for node in cluster.nodes:
        for url in (f"redis+cluster://127.0.0.1:{node.port}", node.url):
            link = make_link(url, SETTINGS)
            assert await link.start(PATIENCE), link.problem
            await written(link, cluster, url)
            assert await link.call("GET", link.key("synkora:a")) == url.encode()
            heard: list[bytes] = []
            link.subscribe(b"synkora:news", heard.append)
            await link.call("PING")
            node.do("PUBLISH", "synkora:news", "x")
            await until(lambda heard=heard: heard == [b"x"])


async def test_everything_over_tls(make_link: MakeLink, tmp_path: Path) -> None:
    """With certificates of a private authority. After a failover, too."""
    tls = issue_certificate(tmp_path)
    with running_cluster(tls=tls) as cluster:
        link = make_link(f"{cluster.url}?ssl_ca_certs={quote(str(tls.authority))}", SETTINGS)
        assert await link.start(PATIENCE), link.problem
        await written(link, cluster, "over TLS")
        owner = cluster.owner(SLOT)
        assert owner is not None
        owner.kill()
        await until(lambda: not link.is_up)
        await until(lambda: link.is_up, PATIENCE)
        assert await link.run(WRITE, ["synkora:a", "synkora:b"], ["after a failover"]) == b"{synkora}:b"


async def test_the_documented_user_will_do(make_link: MakeLink, cluster: RedisCluster) -> None:
    """With the rights of docs/scaling.md, and two more that a Cluster needs."""
    rights = (*RIGHTS.split(), "+cluster|slots", "~{synkora:*")
    for node in cluster.nodes:
        node.do("ACL", "SETUSER", "synkora", "on", ">secret", *rights)
    url = cluster.url.replace("://", "://synkora:secret@")
    link = Link(RedisUrl.parse(url), SETTINGS, keyspace="synkora:socket.io")
    try:
        assert await link.start(PATIENCE), link.problem
        assert link.data_id
        assert await link.run(Script("return redis.call('GET', KEYS[1])"), ["synkora:socket.io:a"], []) is None
    finally:
        await link.close()
    lacking = make_link(url, SETTINGS)  # whose keys begin with another name
    await lacking.start(0)
    await until(lambda: "lack a key that is needed" in (lacking.problem or ""))


async def test_a_slot_that_moves_is_followed(make_link: MakeLink, cluster: RedisCluster) -> None:
    """The former node answers with MOVED; while it still has some of the keys, with ASK or TRYAGAIN."""
    link = make_link(cluster.url, SETTINGS)
    assert await link.start(PATIENCE), link.problem
    await written(link, cluster, "before")
    source = cluster.owner(SLOT)
    assert source is not None
    masters = [each for each in cluster.nodes if b"role:master" in each.do("INFO", "replication")]
    target = next(each for each in masters if each is not source)
    to, at = target.do("CLUSTER", "MYID"), source.do("CLUSTER", "MYID")
    target.do("CLUSTER", "SETSLOT", SLOT, "IMPORTING", at)
    source.do("CLUSTER", "SETSLOT", SLOT, "MIGRATING", to)
    link.run(WRITE, ["synkora:new", "synkora:other"], ["x"])
    await until(lambda: "is moving the hash slot" in (link.problem or ""))
    keys = source.do("CLUSTER", "GETKEYSINSLOT", SLOT, 100)
    source.do("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for each in (target, source, *masters):
        each.do("CLUSTER", "SETSLOT", SLOT, "NODE", to)
    await until(lambda: link.is_up)
    await_that(lambda: cluster.owner(SLOT) is target, "all nodes know the new one")
    await until(lambda: link.is_up)
    await written(link, cluster, "after")


async def test_a_failover_is_followed(make_link: MakeLink, cluster: RedisCluster) -> None:
    """The node of the slot dies, and its replica takes over."""
    owner = cluster.owner(SLOT)
    assert owner is not None
    await_that(lambda: b"state=online" in owner.do("INFO", "replication"), "its replica follows")
    link = make_link(f"redis+cluster://127.0.0.1:{owner.port}", SETTINGS)  # that it does not need later
    assert await link.start(PATIENCE), link.problem
    await written(link, cluster, "before")
    data = link.data_id
    owner.kill()
    await until(lambda: cluster_owner(cluster, owner.port) and link.is_up)
    assert link.data_id != data
    assert await link.call("GET", link.key("synkora:a")) == b"before"


def cluster_owner(cluster: RedisCluster, but: int) -> bool:
    return cluster.owner(SLOT, but=but) is not None
