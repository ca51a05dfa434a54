"""Start and stop of measured servers."""

import os
import sys
from pathlib import Path

import psutil
import pytest
from bench.servers import Server, ServerFailed, floor, pinned, running
from bench.workloads import cores
from tests.support.processes import Program

SCRIPT = "import os; print(sorted(os.sched_getaffinity(0)))"


def test_a_server_that_does_not_start_is_told(folder: Path) -> None:
    """A server that ends before it listens is a failure with its exit status."""
    broken = Server("broken", lambda port: [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(ServerFailed, match="broken ended with exit status 7"), running(broken, folder, cores()[0]):
        pass


def test_a_server_is_stopped_after_its_measurement(folder: Path) -> None:
    _, core = cores()
    with running(floor(folder / "floor"), folder, core) as (pid, _):
        assert os.sched_getaffinity(pid) == {core}
    assert not psutil.pid_exists(pid)


def test_processes_are_pinned(tmp_path: Path) -> None:
    """Processes started within the block run on one core, others where they ran before."""
    _, core = cores()
    with pinned(core), Program([sys.executable, "-c", SCRIPT], tmp_path) as inside:
        assert inside.wait() == 0
    with Program([sys.executable, "-c", SCRIPT], tmp_path) as outside:
        assert outside.wait() == 0
    assert inside.stdout == [str([core])]
    assert outside.stdout == [str(sorted(os.sched_getaffinity(0)))]
