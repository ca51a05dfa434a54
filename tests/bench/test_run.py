"""The benchmark as a command."""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.chart import TITLE
from bench.figures import Measured
from bench.report import Sitting, read, write
from bench.targets import PER_DELIVERY
from bench.workloads import FLOOR, NODE, SYNKORA
from tests.bench.sample_runs import relays, run_of, sample
from tests.support.processes import Program

MADE = Sitting("2026-01-31", {"cores": "2"})
ROOT = Path(__file__).parent.parent.parent
SHOW = (sys.executable, "-m", "bench.run")
BENCH = (*SHOW, "--server", "synkora", "--server", "floor", "--rounds", "1", "--seconds", "0.2")


def with_limit(limit: str, *options: str) -> list[str]:
    """The command under a limit on open files."""
    return ["bash", "-c", f'ulimit {limit}; exec "$@"', "bash", *BENCH, *options]


def refusal(command: Sequence[str], **variables: str) -> list[str]:
    """What a command says that fails: all of it is on stderr."""
    with Program(command, ROOT, **variables) as program:
        assert program.wait() == 1
    assert program.stdout == []
    return program.stderr


def test_it_measures_and_reports(tmp_path: Path) -> None:
    """It prints an estimate, progress and the table, and writes every run and the chart to files."""
    data, drawing = tmp_path / "runs.json", tmp_path / "chart.svg"
    with Program([*BENCH, "--workload", "20/2/2", "--json", str(data), "--svg", str(drawing)], ROOT) as program:
        assert program.wait() == 0, program.output
    name = "20 in 2 projects, 2 in flight"
    assert program.stderr[0].startswith("2 runs, about ")
    assert [line.partition(" (")[0] for line in program.stderr[1:]] == [
        f"1/2 {name}: synkora, round 1 of 1",
        f"2/2 {name}: floor, round 1 of 1",
    ]
    assert any(name in line and "µs a delivery" in line for line in program.stdout)
    measured, made = read(data)
    assert [(run.server, run.fault) for run in measured.runs] == [(SYNKORA, None), (FLOOR, None)]
    assert all(run.figures[PER_DELIVERY] > 0 for run in measured.runs)
    assert made.machine["synkora"]
    assert TITLE in drawing.read_text()


def test_figures_are_shown_again(tmp_path: Path) -> None:
    """The Markdown of the documents and the chart are made from the data, without measuring."""
    write(tmp_path / "runs.json", sample(), MADE)
    options = ("--from", str(tmp_path / "runs.json"), "--markdown", "--svg", str(tmp_path / "chart.svg"))
    with Program([*SHOW, *options], ROOT) as program:
        assert program.wait() == 0, program.output
    assert program.stderr == []
    assert program.stdout[0] == "| Workload | Figure | synkora | Node.js | floor | Target |"
    assert program.stdout[-1] == "Measured on 2026-01-31: cores 2."
    assert TITLE in (tmp_path / "chart.svg").read_text()


def test_a_faulty_run_fails_it(tmp_path: Path) -> None:
    """If a run lost something, the exit status is not 0, and the last lines give the run and the fault."""
    write(tmp_path / "runs.json", Measured([*relays(SYNKORA, 5.0), run_of(NODE, lost=2)]), MADE)
    with Program([*SHOW, "--from", str(tmp_path / "runs.json")], ROOT) as program:
        assert program.wait() == 1
    assert program.stderr == ["not to be quoted: 200 in 20 projects, 4 in flight: Node.js: lost 2, closed 0"]


def test_a_file_without_figures_is_told(tmp_path: Path) -> None:
    """An invalid file is one line on stderr, and nothing is printed."""
    (line,) = refusal([*SHOW, "--from", str(tmp_path / "none.json")])
    assert "none.json holds no figures" in line


def test_workloads_are_listed() -> None:
    with Program([*SHOW, "--list"], ROOT) as program:
        assert program.wait() == 0
    assert "relay-200" in [line.split()[0] for line in program.stdout]


def test_the_limit_on_open_files_is_raised() -> None:
    with Program(with_limit("-Sn 90", "--workload", "100/10/0"), ROOT) as program:
        assert program.wait() == 0, program.output


def test_too_few_open_files_are_told() -> None:
    """A hard limit that is too low is reported before the measurement, with the required limit and advice."""
    assert refusal(with_limit("-n 250", "--workload", "100/10/0")) == [
        (
            "100 clients need 300 open files and this user may open 250: "
            "raise the limit (as root: ulimit -n 300), or choose other workloads with --workload"
        )
    ]


def test_without_redis_instances_are_left_out(tmp_path: Path) -> None:
    """A line says so. If nothing else was requested, nothing is measured."""
    assert refusal([*BENCH, "--workload", "cluster"], PATH=str(tmp_path)) == [
        "200 in 20 projects, on 2 instances, 4 in flight is left out: redis-server is not installed",
        "There is nothing left to measure.",
    ]


def test_a_server_without_a_workload_is_told() -> None:
    said = refusal([*SHOW, "--server", "floor", "--workload", "documents"])
    assert said == ["None of these servers is given any of these workloads: see --list."]
