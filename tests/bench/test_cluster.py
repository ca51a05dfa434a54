"""Several instances of a server in one measurement."""

import os
from pathlib import Path

import psutil
from bench.cluster import running_instances
from bench.servers import floor
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
