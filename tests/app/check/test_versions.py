"""The check of library versions."""

import sys
from pathlib import Path

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check.finding import FindingStatus
from synkora.app.check.versions import check_versions


def test_the_installed_versions(settings: MakeSettings) -> None:
    (finding,) = check_versions(settings())
    assert finding.status is FindingStatus.WELL
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}." in finding.message


def test_another_version(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "picows-9.9.dist-info").mkdir()
    (tmp_path / "picows-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: picows\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = check_versions(settings())
    assert finding.status is FindingStatus.WRONG
    assert "picows 9.9 is installed" in finding.message
    assert "<2.4" in finding.message
