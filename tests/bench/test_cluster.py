"""Several instances of a server in one measurement."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from bench.cluster import running_instances
from bench.servers import floor, synkora
from bench.workloads import cores


def test_instances_share_a_core_and_redis_has_the_other(folder: Path) -> None:
    """The spare process shares the core of the instances. All processes have ended afterwards."""
    with running_instances(floor(folder / "floor"), 2, folder, cores(), spare=True) as told:
        options = dict(option.removeprefix("--").split("=") for option in told)
        instances = [*map(int, options["pids"].split(",")), int(options["spare"])]
        assert [os.sched_getaffinity(pid) for pid in instances] == [{cores()[0]}] * 3
        assert os.sched_getaffinity(int(options["redis"])) == {cores()[1]}
        assert len(set(options["port"].split(","))) == 2
    assert not any(map(psutil.pid_exists, [*instances, int(options["redis"])]))


def test_one_instance_needs_no_redis(folder: Path) -> None:
    with running_instances(floor(folder / "floor"), 1, folder, cores()) as told:
        assert [option.partition("=")[0] for option in told] == ["--pids", "--port"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_sessions_are_forwarded(folder: Path, transport: str) -> None:
    """All of them, and their messages are counted like others."""
    options = ["--clients=12", "--rooms=3", "--window=2", "--seconds=0.5", f"--tokens={folder / 'tokens.txt'}"]
    with running_instances(synkora(), 2, folder, cores()) as told:
        (ports,) = [option.partition("=")[2] for option in told if option.startswith("--port=")]
        command = [str(folder / "load"), *told, *options, f"--transport={transport}", "--forwarded"]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        pages = [httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text for port in ports.split(",")]
    assert figures["lost"] == figures["closed"] == 0
    assert figures["delivered"] == figures["sent"] * 3 > 0
    way = f'synkora_forwarded_requests_total{{way="{transport}"}} '
    counted = [float(line.removeprefix(way)) for page in pages for line in page.splitlines() if line.startswith(way)]
    assert len(counted) == 2
    assert min(counted) >= 6  # half of the clients begin at each instance
