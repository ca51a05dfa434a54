"""Stock clients work while the Redis of two servers dies, and another one takes over that lacks the last writes.

Afterwards all connections break, and the clients return. Each edit reaches all other members, once, and nobody leaves.
All clients agree on one order of the edits that were sent before and after; those of the time without Redis come in the
order of each sender.
"""

import sys
from pathlib import Path

import pytest
from tests.end_to_end.recovery_run import RedisSet, running
from tests.recovery.checker import due, violations
from tests.support.node_process import NodeProcess
from tests.support.redis_sets import running_cluster, running_sentinels

pytestmark = pytest.mark.tools


async def expect_nothing_missed(folder: Path, node: NodeProcess, redis: RedisSet, log: str) -> None:
    async with running(folder, node, seed=1, redis=redis) as run:
        await run.work(2)
        clients = [page.client for page in run.pages]
        sys.stdout.write(f"{due(clients)} deliveries at most; {dict(run.faults)}\n")
        assert violations(clients) == []
        assert [page.farewells for page in run.pages] == [0] * len(run.pages)
        assert any(page.connects > 1 for page in run.pages)  # a poll may begin after its connection was reset
        assert run.faults.total() >= 1
        assert due(clients) > 100
        assert redis.master is not None
        assert len(redis.master.do("HGET", log, "epoch")) == 16  # of a second epoch: edits were lost


async def test_clients_miss_nothing_through_a_failover_by_sentinels(tmp_path: Path, node: NodeProcess) -> None:
    with running_sentinels() as sentinels:
        await expect_nothing_missed(tmp_path, node, sentinels, "synkora:socket.io:{log:/}:log")


async def test_clients_miss_nothing_through_a_failover_in_a_cluster(tmp_path: Path, node: NodeProcess) -> None:
    with running_cluster() as cluster:
        await expect_nothing_missed(tmp_path, node, cluster, "{synkora:socket.io}:{log:/}:log")
