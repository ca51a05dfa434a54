from pathlib import Path

import pytest
from bench.chart import chart
from bench.figures import Measured
from bench.report import read
from bench.table import markdown, summary

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured() -> Measured:
    return read(ROOT / "docs/figures.json")[0]


def test_the_table_is_made_of_the_runs(measured: Measured) -> None:
    """docs/performance.md quotes the runs in docs/figures.json to the letter."""
    assert markdown(measured) in (ROOT / "docs/performance.md").read_text(encoding="utf-8")


def test_the_ratios_are_made_of_the_runs(measured: Measured) -> None:
    """The README's ratios beside Node.js are those of the same runs."""
    assert summary(measured) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_chart_is_made_of_the_runs(measured: Measured) -> None:
    assert (ROOT / "docs/images/bench.svg").read_text(encoding="utf-8") == chart(measured)


def test_only_runs_that_lost_nothing_are_quoted(measured: Measured) -> None:
    """No run in the file lost a message or a client."""
    assert [run for run in measured.runs if run.fault] == []
