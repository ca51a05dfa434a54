"""What the parent decides without processes; tests/end_to_end/test_workers.py has the rest."""

import stat
import tempfile
from pathlib import Path

import pytest

from synkora.app.workers.parent import _make_folder, _pause, _reason


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
    assert tried == [str(tmp_path), "/tmp", "/dev/shm"]  # noqa: S108
