"""What servers are given to do, by the real load."""

from pathlib import Path

import pytest
from bench.servers import floor, synkora
from bench.workloads import WORKLOADS, CannotMeasure, Workload, measure

BUSY = Workload(clients=200, projects=20, window=4)
IDLE = Workload(clients=50, projects=5, window=0)


@pytest.mark.parametrize("name", ["synkora", "floor"])
def test_a_server_under_load_loses_nothing(folder: Path, name: str) -> None:
    """200 clients in 20 projects get all that is sent, and none is disconnected."""
    server = synkora() if name == "synkora" else floor(folder / "floor")
    figures = measure(server, BUSY, 2, folder)
    assert figures["clients"] == 200
    assert figures["sent"] >= BUSY.projects * BUSY.window
    assert (figures["lost"], figures["closed"]) == (0, 0)
    assert figures["delivered"] == figures["sent"] * 9


def test_an_idle_workload_sends_nothing(folder: Path) -> None:
    """What an idle client costs is measured without traffic."""
    figures = measure(synkora(), IDLE, 0.1, folder)
    assert (figures["sent"], figures["delivered"], figures["lost"], figures["closed"]) == (0, 0, 0, 0)
    assert figures["rss_mb"] > 0


def test_a_refused_client_is_told(folder: Path, tmp_path: Path) -> None:
    """Where the server does not take the tokens, nothing is measured, and the load's words say why."""
    (tmp_path / "load").symlink_to(folder / "load")
    (tmp_path / "tokens.txt").write_text("not.a.token\n")
    with pytest.raises(CannotMeasure, match=r"load, against synkora: refused: .*Authentication failed"):
        measure(synkora(), IDLE, 0.1, tmp_path)


@pytest.mark.parametrize("text", ["", "10", "10/2", "10/3/1", "0/1/1", "10/0/1", "10/2/-1", "a/b/c"])
def test_a_workload_that_makes_no_sense_is_refused(text: str) -> None:
    """The clients are shared out evenly, so that what has to be delivered is known."""
    with pytest.raises(ValueError):  # noqa: PT011  # argparse words it
        Workload.parse(text)


def test_workloads_are_named_by_what_they_do() -> None:
    """The usual ones have different names, that say whether anything is sent."""
    names = [str(workload) for workload in WORKLOADS]
    assert len(set(names)) == len(names)
    assert names[0] == "50 in 1 project, 4 in flight"
    assert names[-1] == "8,000 in 800 projects, idle"
