"""The order in which servers are measured, and the duration."""

from io import StringIO
from pathlib import Path

import pytest
from bench.measuring import Step, measure_all, plan, told_time
from bench.servers import Server, floor
from bench.workloads import FLOOR, NODE, SERVERS, SYNKORA, Workload
from rich.console import Console

SMALL = Workload("small", 20, 2, window=2, seconds=0.1)


def test_servers_take_turns() -> None:
    """Each round has every server once, so that other work of the machine affects all of them."""
    steps = plan([SMALL], SERVERS, 2)
    assert [(step.server, step.number) for step in steps] == [
        (server, number) for number in (1, 2) for server in (SYNKORA, NODE, FLOOR)
    ]


def test_a_server_that_is_not_there_is_left_out() -> None:
    """The plan has only servers that can run and support the workload."""
    assert [step.server for step in plan([SMALL], [FLOOR, SYNKORA], 1)] == [SYNKORA, FLOOR]


def test_a_storm_among_a_thousand_takes_a_peer_long() -> None:
    """The estimate grows with the square of the members for a server that sends each of them the whole list."""
    many = Workload("many", 1000, 1, storm=True)
    ours, theirs = (Step(many, server, 1, 1).estimate for server in (SYNKORA, NODE))
    assert theirs > ours + 40


@pytest.mark.parametrize(("seconds", "told"), [(0, "about 1 s"), (89, "about 89 s"), (150, "about 2 min")])
def test_times_are_shown_roughly(seconds: float, told: str) -> None:
    assert told_time(seconds) == told


def test_a_server_that_fails_does_not_end_the_others(folder: Path) -> None:
    """The failed run has its failure, and the next server is measured. Each has a line."""
    console = Console(file=StringIO(), width=200)
    servers = {(SYNKORA, False): Server(SYNKORA, lambda port: ["false"]), (FLOOR, False): floor(folder / "floor")}
    measured = measure_all(plan([SMALL], [SYNKORA, FLOOR], 1), servers, folder, console)
    assert [run.fault for run in measured.runs] == ["synkora ended with exit status 1 before it listened", None]
    assert isinstance(console.file, StringIO)
    assert [line.partition(" (about ")[0] for line in console.file.getvalue().splitlines()] == [
        "1/2 20 in 2 projects, 2 in flight: synkora, round 1 of 1",
        "2/2 20 in 2 projects, 2 in flight: floor, round 1 of 1",
    ]


def test_what_was_measured_before_ctrl_c_is_kept(folder: Path) -> None:
    """Finished workloads can be quoted. Unfinished ones have failed."""

    def interrupt(port: int) -> list[str]:
        raise KeyboardInterrupt

    servers = {(FLOOR, False): floor(folder / "floor"), (SYNKORA, False): Server(SYNKORA, interrupt)}
    steps = [*plan([SMALL], [FLOOR], 1), *plan([SMALL], [SYNKORA], 2)]
    measured = measure_all(steps, servers, folder, Console(file=StringIO()))
    stopped = "stopped before it was measured"
    assert [run.fault for run in measured.runs] == [None, stopped, stopped]
