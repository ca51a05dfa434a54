"""The check of the workers."""

from pathlib import Path

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check import workers
from synkora.app.check.finding import FindingStatus
from synkora.app.check.state_folder import check_state_folder
from synkora.app.check.workers import check_workers


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "available_cores", lambda: 4)


def test_a_single_process(settings: MakeSettings) -> None:
    (finding,) = check_workers(settings())
    assert (finding.status, finding.message) == (
        FindingStatus.SKIPPED,
        "one process: one core of 4 is used (WS_WORKERS)",
    )


@pytest.mark.parametrize(("count", "status"), [("4", FindingStatus.WELL), ("5", FindingStatus.RISKY)])
def test_workers_need_cores(settings: MakeSettings, count: str, status: FindingStatus) -> None:
    (finding,) = check_workers(settings(WS_WORKERS=count, REDIS_URL="redis://127.0.0.1"))
    assert (finding.status, finding.message) == (status, f"{count} workers on 4 cores share REDIS_URL")


def test_workers_need_a_redis(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of their own, if REDIS_URL names none. Any of two programs will do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = check_workers(settings(WS_WORKERS="2"))
    assert finding.status is FindingStatus.WRONG
    assert "apt install redis-server" in finding.advice
    program = tmp_path / "valkey-server"
    program.touch(mode=0o755)
    (finding,) = check_workers(settings(WS_WORKERS="2"))
    assert finding.status is FindingStatus.WELL
    assert finding.message == f"2 workers on 4 cores share a Redis of their own, {program}"


def test_workers_do_not_use_the_state_folder(settings: MakeSettings, tmp_path: Path) -> None:
    (finding,) = check_state_folder(settings(WS_WORKERS="2", STATE_DIR=str(tmp_path)))
    assert finding.status is FindingStatus.SKIPPED
    assert "several workers" in finding.message
