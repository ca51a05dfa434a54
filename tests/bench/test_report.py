"""Figures as data."""

import json
from pathlib import Path

import pytest
from bench.catalogue import FULL
from bench.figures import Measured, Run
from bench.report import NoReport, Sitting, read, sitting, write
from bench.workloads import NODE, SYNKORA
from tests.bench.sample_runs import RELAY, run_of, sample

MADE = Sitting("2026-01-31", {"cores": "2", "Node.js": "20.1"})


def test_a_written_report_can_be_read(tmp_path: Path) -> None:
    """Every run is read with its workload, targets and faults, and with the machine."""
    runs = [*sample().runs, Run(NODE, RELAY, {}, "load: refused"), *(run_of(SYNKORA, workload) for workload in FULL)]
    write(tmp_path / "figures.json", Measured(runs), MADE)
    measured, made = read(tmp_path / "figures.json")
    assert list(measured.runs) == runs
    assert made == MADE


def test_a_run_is_a_line(tmp_path: Path) -> None:
    """Two reports can be compared line by line. Faults are listed, and inapplicable lines omitted."""
    run = Run(NODE, RELAY, {"lost": 1, "closed": 0, "join_cpu_ms": None})
    write(tmp_path / "figures.json", Measured([run, run]), MADE)
    lines = (tmp_path / "figures.json").read_text().splitlines()
    written = json.loads(lines[-2].removesuffix(","))
    assert written["fault"] == "lost 1, closed 0"
    assert written["figures"] == {"lost": 1, "closed": 0}


def test_the_report_names_the_machine() -> None:
    """Figures can be compared only with the machine and the versions."""
    machine = sitting().machine
    assert all(machine.values())
    expected = {"processor", "cores", "system", "Python", "Node.js", "synkora", "socket.io", "Bun", "python-socketio"}
    expected |= {"Redis", "@socket.io/redis-adapter"}
    assert expected <= set(machine)
    assert str(MADE) == "Measured on 2026-01-31: cores 2, Node.js 20.1."


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"workloads": [{}], "runs": []}', '{"workloads": [], "runs": [{}]}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """An invalid report is named, with the error."""
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(NoReport, match=r"other\.json holds no figures: "):
        read(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoReport, match=r"none\.json holds no figures: .*No such file"):
        read(tmp_path / "none.json")
