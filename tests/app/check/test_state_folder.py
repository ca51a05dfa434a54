"""The check of STATE_DIR."""

import os
from pathlib import Path

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check.finding import Finding, FindingStatus
from synkora.app.check.state_folder import check_state_folder


def look(settings: MakeSettings, folder: Path, **variables: str) -> Finding:
    (finding,) = check_state_folder(settings(STATE_DIR=str(folder), **variables))
    assert finding.check == "state"
    return finding


def test_without_a_folder(settings: MakeSettings, tmp_path: Path) -> None:
    (finding,) = check_state_folder(settings())
    assert finding.status is FindingStatus.SKIPPED
    assert look(settings, tmp_path, RECOVERY="false").status is FindingStatus.SKIPPED
    assert look(settings, tmp_path, REDIS_URL="redis://127.0.0.1").status is FindingStatus.SKIPPED


def test_a_folder_of_the_owner(settings: MakeSettings, tmp_path: Path) -> None:
    """A private folder is fine. The check writes nothing."""
    tmp_path.chmod(0o700)
    assert look(settings, tmp_path).status is FindingStatus.WELL
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o755)
    finding = look(settings, tmp_path)
    assert (finding.status, finding.advice) == (FindingStatus.RISKY, f"chmod 700 {tmp_path}")


def test_a_folder_that_is_not_there_yet(settings: MakeSettings, tmp_path: Path) -> None:
    """The server will create the folder with its parents. The check does not."""
    assert look(settings, tmp_path / "a" / "b").status is FindingStatus.WELL
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used(settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "state"):
        assert look(settings, folder).status is FindingStatus.WRONG
    monkeypatch.setattr(os, "access", lambda *_: False)
    for folder in (tmp_path, tmp_path / "new"):
        finding = look(settings, folder)
        assert finding.status is FindingStatus.WRONG
        assert str(folder) in finding.advice
