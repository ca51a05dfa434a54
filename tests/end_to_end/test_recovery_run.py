"""Stock clients that join once miss nothing, whatever breaks: connections, servers, or the Redis that they share.

RECOVERY_SEED, RECOVERY_SECONDS and RECOVERY_KINDS have another run, or a longer one.
"""

import os
import sys
from pathlib import Path

import pytest
from tests.end_to_end.recovery_run import Run, running
from tests.recovery.checker import due, violations
from tests.support.node_process import NodeProcess
from tests.support.redis_server import running_redis
from tests.support.server_process import StartServer

pytestmark = pytest.mark.tools
_SEED = int(os.environ.get("RECOVERY_SEED", "1"))
_SECONDS = float(os.environ.get("RECOVERY_SECONDS", "20"))


async def expect_nothing_missed(run: Run) -> None:
    """Let pages work through all faults. Each edit reaches all other members, once, in one order. Nobody leaves."""
    sys.stdout.write(f"RECOVERY_SEED={_SEED} RECOVERY_SECONDS={_SECONDS:g}\n")
    await run.work(_SECONDS)
    clients = [page.client for page in run.pages]
    sys.stdout.write(f"{due(clients)} deliveries at most; {dict(run.faults)}\n")
    assert violations(clients) == []
    assert [page.farewells for page in run.pages] == [0] * len(run.pages)
    assert due(clients) > 1000
    assert all(page.connects > 1 for page in run.pages)  # one fault ends all connections


async def test_clients_of_one_instance_miss_nothing(tmp_path: Path, node: NodeProcess) -> None:
    async with running(tmp_path, node, _SEED, STATE_DIR=str(tmp_path / "state")) as run:
        await expect_nothing_missed(run)


async def test_clients_of_two_instances_miss_nothing(tmp_path: Path, node: NodeProcess) -> None:
    """They are behind nginx: clients return to either instance, also after kill -9 of one and while both restart."""
    with running_redis("--appendonly", "yes") as redis:
        async with running(tmp_path, node, _SEED, redis=redis) as run:
            await expect_nothing_missed(run)


async def test_a_server_without_recovery_is_found_out(tmp_path: Path, node: NodeProcess) -> None:
    """The same run fails: pages that join once get nothing after the first fault."""
    async with running(tmp_path, node, _SEED, RECOVERY="false") as run:
        await run.work(5, kinds=1, patience=0)
        found = violations([page.client for page in run.pages])
        assert any("did not get" in problem for problem in found)


def test_an_unusable_folder_is_reported(start_server: StartServer, tmp_path: Path) -> None:
    """In the log, once. The server starts, and keeps everything in memory."""
    (tmp_path / "file").write_text("not a folder")
    server = start_server(STATE_DIR=str(tmp_path / "file" / "state"))
    assert server.stop() == 0
    assert server.output.count("recovery.db cannot be used") == 1
