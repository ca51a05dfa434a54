"""What runs before a merge, and on which Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.docs.documents import ROOT
from tests.support.processes import PATIENCE

TOOLS = ("bash", "dirname", "head", "sed", "tail", "timeout")


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """`.ci/run` among programs that name what they are called with. The oldest Python is in PATH."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    program(tmp_path / "bin" / "make", 'shift; echo "make $*"')
    program(tmp_path / "bin" / "python3.11", "[ $1 = -c ] || echo Python 3.11")
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def run(checkout: Path) -> list[str]:
    environment = {**os.environ, "PATH": str(checkout / "bin"), "PYENV_ROOT": str(checkout / "pyenv")}
    script = ["bash", str(checkout / ".ci" / "run")]
    done = subprocess.run(script, env=environment, capture_output=True, encoding="utf-8", timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_newest_python_gets_the_quick_tests_and_the_oldest_all(checkout: Path) -> None:
    """The run of all tests is the last. A shim that does not run is not taken for an interpreter."""
    program(checkout / "bin" / "python3.13", "exit 127")
    newest = checkout / "pyenv" / "versions" / "3.13.0" / "bin" / "python3"
    program(newest, "[ $1 = -c ] || echo Python 3.13.0")
    assert run(checkout) == [
        "make check PYTHON=python3.11",
        f"make quick PYTHON={newest} VENV=.venv/newest",
        "On Python 3.13.0: the tests of make quick",
        "On Python 3.11: all tests",
        "make test PYTHON=python3.11",
    ]


def test_a_missing_newest_python_is_named(checkout: Path) -> None:
    assert run(checkout) == [
        "make check PYTHON=python3.11",
        "Python 3.13 is not installed, neither in PATH nor by pyenv: make quick is left out",
        "On Python 3.11: all tests",
        "make test PYTHON=python3.11",
    ]
