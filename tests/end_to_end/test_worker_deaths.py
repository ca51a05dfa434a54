"""Stock clients miss nothing while each worker dies in turn: behind nginx that sends each request to any worker.

They have the transports WebSocket, polling, and polling with an upgrade.
"""

import shutil
from pathlib import Path

import pytest
from tests.end_to_end.recovery_run import Run, running
from tests.recovery.checker import due, violations
from tests.support.node_process import NodeProcess
from tests.support.redis_sets import running_cluster, running_sentinels

pytestmark = pytest.mark.tools


async def expect_nothing_missed(run: Run) -> None:
    """Each edit reaches all other members, once, and nobody leaves, while all kinds of faults happen."""
    await run.work(0)
    clients = [page.client for page in run.pages]
    assert violations(clients) == []
    assert [page.farewells for page in run.pages] == [0] * len(run.pages)
    assert all(page.connects > 1 for page in run.pages)
    assert due(clients) > 100
    assert sorted(run.faults) == sorted(run.kinds)


async def test_on_a_machine_that_has_only_redis(tmp_path: Path, node: NodeProcess) -> None:
    """The server starts a Redis of its own, and as many workers as there are cores."""
    program = shutil.which("redis-server")
    assert program is not None
    (tmp_path / "redis-server").symlink_to(program)
    async with running(tmp_path, node, seed=1, WS_WORKERS="auto", PATH=str(tmp_path)) as run:
        await expect_nothing_missed(run)


async def test_on_two_machines_through_a_failover_by_sentinels(tmp_path: Path, node: NodeProcess) -> None:
    with running_sentinels() as sentinels:
        async with running(tmp_path, node, seed=1, redis=sentinels, WS_WORKERS="2") as run:
            await expect_nothing_missed(run)


async def test_on_two_machines_through_a_failover_in_a_cluster(tmp_path: Path, node: NodeProcess) -> None:
    with running_cluster() as cluster:
        async with running(tmp_path, node, seed=1, redis=cluster, WS_WORKERS="2") as run:
            await expect_nothing_missed(run)
