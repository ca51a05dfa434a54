"""What the parent decides without processes; tests/end_to_end/test_workers.py has the rest."""

import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.support.logs import capture_logs

from synkora.app.settings import Settings
from synkora.app.workers import parent as parent_module
from synkora.app.workers.parent import Parent, _make_folder, _pause, _reason


def test_a_worker_that_ends_at_once_again_and_again_waits_longer() -> None:
    """Half a second, then twice as long each time, up to 30 s."""
    assert [_pause(failures) for failures in range(9)] == [0, 0, 0.5, 1, 2, 4, 8, 16, 30]
    assert _pause(10_000) == 30


@pytest.mark.parametrize(
    ("status", "words"), [(1, "exit status 1"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")]
)
def test_the_reason_of_an_end_is_named(status: int, words: str) -> None:
    assert _reason(status) == words


def test_the_folder_is_where_one_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this user alone; in systemd's folder, or where a container with a read-only file system lets it."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    folder = _make_folder()
    assert (folder.parent, stat.S_IMODE(folder.stat().st_mode)) == (tmp_path, 0o700)
    tried: list[str] = []

    def mkdtemp(prefix: str, dir: str) -> str:
        tried.append(dir)
        if len(tried) < 3:
            raise OSError("read-only")
        return f"{dir}/{prefix}1"

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    assert _make_folder() == Path("/dev/shm/synkora-1")  # noqa: S108  # nothing is made
    assert tried == [str(tmp_path), "/tmp", "/dev/shm"]  # noqa: S108  # nothing is made


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the system lets the next processes start: a process that starts ends at once."""
    allowed: list[bool] = []
    popen = subprocess.Popen

    def start(_: Any, **options: Any) -> "subprocess.Popen[bytes]":
        if not allowed.pop(0):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return popen([sys.executable, "-c", "pass"], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(parent_module, "_FIRST_PAUSE", 0.01)
    return allowed


async def test_a_worker_that_the_system_does_not_start_is_started_later(starts: list[bool]) -> None:
    parent = Parent(Settings(secret=SecretStr("x" * 40)), 1, [[]])
    starts += [False, False, True]
    with capture_logs() as logs:
        await parent._replace(0, 0)
    assert [(entry["event"], entry["problem"]) for entry in logs] == [
        ("worker_not_started", "[Errno 11] Resource temporarily unavailable")
    ] * 2
    (worker,) = parent._workers
    parent._stop.set()  # it is not started again when it ends
    await worker.ended.wait()
    parent._kill()


async def test_a_process_whose_end_cannot_be_noticed_is_started_later(
    starts: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system allows the process, and no file descriptor for it."""
    parent = Parent(Settings(secret=SecretStr("x" * 40)), 1, [[]])
    starts += [True, True]
    watch = parent_module._on_end
    watched: list[subprocess.Popen[bytes]] = []

    def fail_once(process: "subprocess.Popen[bytes]", then: Callable[[], None]) -> None:
        watched.append(process)
        if len(watched) == 1:
            raise OSError(24, "Too many open files")
        watch(process, then)

    monkeypatch.setattr(parent_module, "_on_end", fail_once)
    await parent._replace(0, 0)
    assert watched[0].returncode is not None
    (worker,) = parent._workers
    assert worker.process is watched[1]
    parent._stop.set()
    await worker.ended.wait()
    parent._kill()


async def test_a_reload_without_a_process_leaves_the_old_workers(starts: list[bool]) -> None:
    parent = Parent(Settings(secret=SecretStr("x" * 40)), 1, [[]])
    starts += [False]
    with capture_logs() as logs:
        assert await parent._start_others() is None
    assert [entry["event"] for entry in logs] == ["worker_not_started", "not_reloaded"]
    for task in parent._tasks:
        task.cancel()
    parent._kill()
