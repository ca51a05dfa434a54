"""The search for a server's capacity."""

import sys
from pathlib import Path

import httpx
import pytest
from bench.capacity import Search, capacity, servers
from bench.servers import prepare_peers, running
from bench.workloads import build, cores, measure, write_tokens
from hypothesis import given
from hypothesis import strategies as st
from tests.docs.documents import ROOT
from tests.support.processes import PATIENCE, Program


@given(st.integers(5, 14_999), st.integers(5, 5_000))
def test_the_capacity_is_found_from_any_first_load(most: int, first: int) -> None:
    found = capacity(lambda clients: clients <= most, first, 0.03)
    assert found <= most <= max(found * 1.07, found + 10)


def test_the_search_ends_at_a_bound() -> None:
    assert capacity(lambda clients: True, 3000, 0.03) == 15_000


def test_a_server_that_serves_nobody_has_none() -> None:
    assert capacity(lambda clients: False, 1000, 0.03) == 0


@pytest.mark.parametrize(
    "fault", [{"lost": 1}, {"closed": 1}, {"p99_ms": 50.0}], ids=["a loss", "a closed connection", "a late message"]
)
def test_a_load_is_not_served_with(fault: dict[str, float]) -> None:
    figures = {"lost": 0, "closed": 0, "p99_ms": 49.9}
    assert Search().is_served(figures)
    assert not Search().is_served(figures | fault)


def test_two_workers_are_given_the_load(tmp_path: Path) -> None:
    """With the Redis that the server starts for its workers. A load that began before both of them serve would be on
    one.
    """
    build("load", tmp_path)
    write_tokens(tmp_path / "tokens.txt", 20)
    server, instances = servers(tmp_path)["synkora, 2 workers"]
    with running(server, tmp_path, cores()[0]) as (_, port):
        assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=PATIENCE).json()["workers"] == 2
    search = Search(seconds=0.5, p99=5000)
    assert search.is_served(measure(server, search.workload(20, instances), tmp_path))


def test_too_few_open_files_are_told() -> None:
    assert prepare_peers({"Node.js"}, print)  # npm needs more files
    command = ["bash", "-c", 'ulimit -n 250; exec "$@"', "bash", sys.executable, "-m", "bench.capacity"]
    with Program(command, ROOT) as program:
        assert program.wait() == 1
    assert program.stderr[-1].startswith("15,000 clients need 15,200 open files and this user may open 250")
