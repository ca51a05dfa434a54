"""Many clients for minutes; here a few for seconds."""

from pathlib import Path

from bench.endurance import Endurance, endure
from bench.servers import synkora
from bench.workloads import allow_open_files, build, write_tokens


def test_working_clients_lose_nothing_beside_many_idle_ones(tmp_path: Path) -> None:
    """No connection is closed, and memory returns to the system when all have left."""
    endurance = Endurance(clients=2500, working=50, seconds=2, settling=8)
    allow_open_files(endurance.clients)
    build("load", tmp_path)
    write_tokens(tmp_path / "tokens.txt", endurance.clients)
    figures = endure(synkora(), endurance, tmp_path, print)
    assert (figures["lost"], figures["closed"]) == (0, 0)
    assert figures["delivered"] > 50 * 4 * 10
    grown = figures["with_all_mb"] - figures["before_mb"]
    assert grown > 20
    assert figures["after_mb"] < figures["with_all_mb"] - grown / 10
