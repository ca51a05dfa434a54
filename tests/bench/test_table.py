"""The figures as tables."""

from bench.figures import Measured, Run
from bench.table import markdown, summary, table
from bench.targets import PER_DELIVERY
from bench.workloads import NODE, SYNKORA, Workload
from rich.console import Console
from tests.bench.sample_runs import CALM, IDLE, RELAY, SLOW, relays, run_of, sample


def printed(measured: Measured) -> str:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table(measured))
    return shown.get()


def test_the_table_has_medians_spreads_ratios_and_verdicts() -> None:
    """Each median has its spread, its ratio to synkora's, and the result of the targets."""
    text = printed(sample())
    for expected in (
        "200 in 20 projects, 4 in flight",
        "µs a delivery",
        "4.00 to 9.00",
        "22.50 · 4.5 ×",
        "20.00 to 24.00",
        "✓ Node.js ≥ 4 ×",
        "✓ ≤ 2 × floor, is 2.00",
        "✓ ≤ 6",
    ):
        assert expected in text


def test_markdown_says_the_same() -> None:
    """The table of the documents has the same figures as the terminal's."""
    assert markdown(sample()).splitlines() == [
        "| Workload | Figure | synkora | Node.js | floor | Target |",
        "| --- | --- | ---: | ---: | ---: | --- |",
        "| 200 in 20 projects, 4 in flight | µs a delivery | 5.00 (4.00 to 9.00) | 22.50 · 4.5 × (20.00 to 24.00) "
        "| 2.50 · 0.5 × (2.00 to 3.00) | ✓ Node.js ≥ 4 ×; ✓ ≤ 2 × floor, is 2.00; ✓ ≤ 6 |",
    ]


def test_a_faulty_run_is_not_quoted() -> None:
    """Both tables have a note in the place of the figures."""
    faulty = Measured([*relays(SYNKORA, 5.0), run_of(NODE, **{PER_DELIVERY: 20.0, "lost": 1})])
    for text in (printed(faulty), markdown(faulty)):
        assert "not to be quoted" in text
        assert "not measured: Node.js ≥ 4 ×" in text
        assert "5.00" in text
        assert "20.00" not in text


def test_the_summary_has_ratios_of_what_may_be_quoted() -> None:
    """A row has both medians and their ratio. A row without a measurement says so."""
    runs = [
        run_of(server, Workload("idle", 8_000, 800), rss_kb_per_client=kb)
        for server, kb in ((SYNKORA, 10.0), (NODE, 25.0))
    ]
    rows = summary(Measured(runs)).splitlines()
    assert rows[4] == "| kB of an idle client | 10.0 | 25.0 | **2.5 ×** |"
    assert rows[2].endswith("| not to be quoted | not to be quoted | - |")


def test_a_missed_target_is_told() -> None:
    """With the difference, unless another figure of the row shows it."""
    measured = Measured([run_of(SYNKORA, CALM, p99_ms=2.0), run_of(SYNKORA, SLOW, p99_ms=3.0)])
    assert "✗ missed: ≤ 1.25 × calm, is 1.50" in markdown(measured)


def test_missing_runs_are_empty() -> None:
    """A server without the workload has an empty cell. A failed one has a note."""
    measured = Measured([run_of(SYNKORA, IDLE, rss_kb_per_client=9.5), Run(NODE, RELAY, {}, "load: refused")])
    rows = [[cell.strip() for cell in line.split("|")] for line in markdown(measured).splitlines()]
    assert rows[2][3:5] == ["9.5 (9.5 to 9.5)", ""]
    assert rows[3][1:5] == ["", "% of a core, idle", "not to be quoted", ""]
    assert rows[4][3:5] == ["", "not to be quoted"]
