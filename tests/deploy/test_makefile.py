"""What `make` says when a step fails."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.docs.documents import ROOT
from tests.support.processes import PATIENCE, free_port


@pytest.mark.parametrize("folder", ["web", "tests/clients"])
def test_a_failed_installation_says_why(folder: str, tmp_path: Path) -> None:
    """npm's own error is shown, here of a registry that cannot be reached."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("package.json", "package-lock.json"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / folder / name, tmp_path / folder)
    settings = {
        "npm_config_registry": f"http://127.0.0.1:{free_port()}",
        "npm_config_fetch_retries": "0",
        "npm_config_cache": str(tmp_path / "cache"),
        "npm_config_noproxy": "127.0.0.1",
    }
    command = ["make", f"{folder}/node_modules/.installed"]
    environment = {**os.environ, **settings}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=PATIENCE
    )
    assert done.returncode != 0
    assert "ECONNREFUSED" in done.stderr
