"""How many workers a setting means."""

import os
from pathlib import Path

import pytest

from synkora.app.workers import count
from synkora.app.workers.count import available_cores, worker_count


def test_a_number_is_taken_as_it_is() -> None:
    assert worker_count(7) == 7


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000\n", 3), ("150000 100000\n", 2), ("50000 100000\n", 1), ("900000 100000\n", 3), (None, 3)],
)
def test_auto_is_one_for_each_core(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, cores: int
) -> None:
    """That this process may use, by its affinity and its container's quota, rounded up."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    monkeypatch.setattr(count, "_CPU_MAX", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert (available_cores(), worker_count("auto")) == (cores, cores)
