"""Rows that psql writes, and when they arrive at clients."""

import pytest
from bench.outbox import figures, main
from bench.servers import prepare_peers


def test_each_row_arrives_at_a_client_of_each_instance(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    assert prepare_peers({"Node.js"}, said.append), said
    assert main(["--rows", "20", "--pause", "0"]) == 0
    table = capsys.readouterr().out
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for line in table.splitlines()
        if len(cells := line.split("│")) > 3
    }
    assert rows["rows that arrived"] == ["20", "20"]
    for fault in ("lost", "twice or more", "before an earlier one"):
        assert rows[fault] == ["0", "0"]


def test_figures_of_a_client_that_misses_a_row_and_gets_others_twice_or_too_late() -> None:
    found = figures({0: 1000.0, 1: 1010.0, 2: 1020.0, 3: 1030.0}, [(0, 1002.0), (2, 1024.0), (1, 1030.0), (0, 1040.0)])
    assert (found["median_ms"], found["longest_ms"]) == (4, 20)
    assert (found["arrived"], found["lost"], found["doubled"], found["disordered"]) == (3, 1, 1, 1)
