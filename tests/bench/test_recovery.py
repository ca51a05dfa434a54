"""The measurement of recovery: returning clients, and relays with recovery."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench.recovery import RELAYS, Returns, fresh, measure_returns, servers
from bench.return_storm import ReturnStorm, measure_return_storm
from bench.servers import Server, prepare_peers
from bench.workloads import build, measure, write_tokens

RECOVERING = [server for server in servers(is_cluster=False) if server.environment["RECOVERY"] == "true"]


@pytest.mark.parametrize("server", RECOVERING, ids=lambda server: server.name)
async def test_every_client_is_recovered(server: Server, tmp_path: Path) -> None:
    """A client that returns gets each missed edit, and the work takes time."""
    assert prepare_peers({"Node.js"}, print)
    with fresh(server) as started:
        figures = await measure_returns(started, Returns(clients=3, missed=2, kept=100), tmp_path)
    assert figures["recovered"] == 3


async def test_all_clients_that_return_at_once_are_recovered(tmp_path: Path) -> None:
    """Each gets each missed edit, and the others' latency is measured."""
    with fresh(servers(is_cluster=False)[1]) as server:
        figures = await measure_return_storm(server, ReturnStorm(clients=20, projects=4, missed=2, quiet=0.2), tmp_path)
    assert figures["recovered"] == 20
    assert figures["return_p99_ms"] > 0


@pytest.mark.parametrize("server", servers(is_cluster=True), ids=lambda server: server.name)
def test_edits_reach_everyone_on_two_instances(server: Server, tmp_path: Path) -> None:
    """Also with the position as last argument."""
    assert prepare_peers({"Node.js"}, print)
    workload = replace(RELAYS[-1], clients=8, projects=2, window=1, seconds=0.2)
    build("load", tmp_path)
    write_tokens(tmp_path / "tokens.txt", workload.clients)
    figures = measure(server, workload, tmp_path)
    assert figures["delivered"] > 0
    assert figures["lost"] == 0
