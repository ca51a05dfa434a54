"""What is quoted of what was measured."""

import pytest
from bench.figures import PER_DELIVERY, Run, rows, table
from bench.workloads import Workload
from rich.console import Console

BUSY = Workload(clients=200, projects=20, window=4)
IDLE = Workload(clients=50, projects=5, window=0)


def run_of(server: str, cost: float, workload: Workload = BUSY, *, lost: int = 0, closed: int = 0) -> Run:
    """A run with such a cost of a delivery."""
    figures = {PER_DELIVERY: cost, "connect_cpu_ms": 0.5, "rss_kb_per_client": 10.0, "lost": lost, "closed": closed}
    return Run(server, workload, figures)


def printed(*runs: Run) -> str:
    """The table of these runs."""
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table(rows(runs)))
    return shown.get()


def test_medians_are_quoted_with_their_spread() -> None:
    """Of three runs it is the middle one, beside the lowest and the highest, and its ratio to the floor's."""
    runs = [run_of("synkora", cost) for cost in (9.0, 4.0, 5.0)] + [run_of("floor", cost) for cost in (2.0, 2.5, 3.0)]
    text = printed(*runs)
    for expected in ("5.00", "4.00 to 9.00", "2.0 ×"):
        assert expected in text


@pytest.mark.parametrize(("lost", "closed"), [(3, 0), (-1, 0), (0, 1)])
def test_a_faulty_run_is_not_quoted(lost: int, closed: int) -> None:
    """A server that lost messages or clients did less work: no figure of it is shown, nor a ratio to it."""
    faulty = [run_of("floor", 2.0), run_of("floor", 2.0, lost=lost, closed=closed)]
    (row,) = rows(faulty)
    assert row.middle(PER_DELIVERY) is None
    text = printed(*faulty, run_of("synkora", 5.0))
    assert f"not to be quoted: lost {lost}, closed {closed}" in text
    assert "5.00" in text
    assert "2.00" not in text
    assert "×" not in text


def test_a_run_that_failed_is_not_quoted() -> None:
    """What kept it from being measured is shown in its place."""
    assert "not to be quoted: load: refused" in printed(Run("synkora", BUSY, {}, "load: refused"))


def test_memory_is_quoted_of_idle_clients_only() -> None:
    """Traffic fills buffers: what a client costs is shown where there was none."""
    assert "10.0" in printed(run_of("synkora", -1, IDLE))
    assert "10.0" not in printed(run_of("synkora", 5.0))
