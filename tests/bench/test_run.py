"""The benchmark as a command."""

import json
import sys
from pathlib import Path
from typing import Any

from bench.figures import PER_DELIVERY
from tests.support.processes import Program

ROOT = Path(__file__).parent.parent.parent
BENCH = (sys.executable, "-m", "bench.run", "--rounds", "1", "--seconds", "0.2")


def with_limit(limit: str, *options: str) -> list[str]:
    """The command, under a limit on open files."""
    return ["bash", "-c", f'ulimit {limit}; exec "$@"', "bash", *BENCH, *options]


def test_it_measures_and_reports(tmp_path: Path) -> None:
    """It shows what it does, prints a row for each server, and writes every run to a file."""
    options = ("--workload", "20/2/2", "--json", str(tmp_path / "runs.json"))
    with Program([*BENCH, *options], ROOT) as program:
        assert program.wait() == 0, program.output
    name = "20 in 2 projects, 2 in flight"
    assert program.stderr == [f"{name}: synkora, round 1", f"{name}: floor, round 1"]
    shown = [line for line in program.stdout if name in line]
    assert ["synkora" in shown[0], "floor" in shown[1]] == [True, True]
    report: dict[str, Any] = json.loads((tmp_path / "runs.json").read_text())
    assert [(run["server"], run["fault"]) for run in report["runs"]] == [("synkora", None), ("floor", None)]
    assert all(run["figures"][PER_DELIVERY] > 0 for run in report["runs"])


def test_the_limit_on_open_files_is_raised() -> None:
    """A soft limit that is too low for the clients is no obstacle."""
    with Program(with_limit("-Sn 90", "--workload", "100/10/0"), ROOT) as program:
        assert program.wait() == 0, program.output


def test_too_few_open_files_are_told() -> None:
    """A hard limit that is too low is told before anything is measured, with what is needed and what to do."""
    with Program(with_limit("-n 250", "--workload", "100/10/0"), ROOT) as program:
        assert program.wait() == 1
    assert program.stdout == []
    assert program.stderr == [
        (
            "100 clients need 300 open files and this user may open 250: "
            "raise the limit (as root: ulimit -n 300), or choose other workloads with --workload"
        )
    ]


def test_wrong_options_are_told() -> None:
    """A workload that makes no sense is a usage error."""
    with Program([*BENCH, "--workload", "10/3/1"], ROOT) as program:
        assert program.wait() == 2
    assert "--workload" in program.stderr[-1]
