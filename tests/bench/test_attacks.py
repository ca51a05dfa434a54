from pathlib import Path

import pytest
from bench.attacks import Course, main, run, tabulate
from rich.console import Console


async def test_each_kind_of_attack_is_measured_beside_members_who_lose_nothing(tmp_path: Path) -> None:
    kinds = ("heads_of_very_many_fields", "unknown_namespaces")
    figures = await run(Course(kinds, seconds=0.5, rate=50, members=4), tmp_path, print)
    assert [kind["kind"] for kind in figures["kinds"]] == list(kinds)
    assert all(kind["quiet_ms"] > 0 and kind["attacked_ms"] > 0 for kind in figures["kinds"])
    assert figures["memory"]["left_behind"] == 0


def test_what_costs_the_members_most_comes_first() -> None:
    kinds = [
        {"kind": name, "quiet_ms": 2.0, "attacked_ms": attacked, "rss_mb": 70.0}
        for name, attacked in (("mild", 3.0), ("harmful", 8.0))
    ]
    console = Console(width=100, record=True)
    console.print(tabulate({"kinds": kinds, "memory": {"before": 65.0, "after": 66.0, "left_behind": 0}}))
    text = console.export_text()
    assert text.index("harmful") < text.index("mild")
    assert "4.0 ✗" in text
    assert "1.5 ✗" not in text


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--kind", "nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
