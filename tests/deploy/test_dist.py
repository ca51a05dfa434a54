"""The contents of the wheel and the sdist. (The tests of the image install the wheel and serve from it.)"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.docs.documents import ROOT
from tests.support.processes import PATIENCE

PACKAGE = ROOT / "src" / "synkora"


def build(folder: Path, into: Path, *options: str) -> None:
    """Build from the sources in a folder, as `make dist` does."""
    command: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "--directory", into, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_has_the_whole_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    """Every file of the package with its scripts and built pages. No tests, settings or caches."""
    ours = {
        str(file.relative_to(PACKAGE.parent))
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "synkora/app/web/playground/index.html" in ours, "run make web"
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == ours


def test_the_sdist_makes_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Byte for byte, without Node.js: built pages are included, secrets and installed files are not."""
    with tarfile.open(built[1]) as sdist:
        names = [Path(*Path(name).parts[1:]) for name in sdist.getnames()]
        sdist.extractall(tmp_path, filter="data")
    assert {Path("README.md"), Path("docs/deploying.md"), Path("deploy/nginx/synkora.conf")} <= set(names)
    assert [name for name in names if name.name in (".env", ".env.local") or "node_modules" in name.parts] == []
    (unpacked,) = tmp_path.iterdir()
    build(unpacked, tmp_path, "--target", "wheel")
    (again,) = tmp_path.glob("*.whl")
    assert again.read_bytes() == built[0].read_bytes()
