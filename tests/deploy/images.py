"""Builds and runs images without a daemon, with buildah in a chroot, on bases made of Debian's packages."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.processes import Program

_PATIENCE: Final = 600  # seconds: far more than a build takes
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_PYTHON: Final = "3.11"  # of Debian 12

#: The images that the Dockerfile begins with.
_PYTHON_BASE: Final = """
FROM scratch
ADD base.tar /
COPY ca-certificates.crt /etc/ssl/certs/
RUN ln -s python3 /usr/bin/python
"""

#: Node.js and npm are the machine's.
_NODE_BASE: Final = """
COPY node /usr/bin/
COPY npm /usr/lib/npm
RUN ln -s ../lib/npm/bin/npm-cli.js /usr/bin/npm
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
"""

#: Runs a command in an image's files: read-only, with one volume, as process 1, and without root.
_RUN: Final = """
root=$1 volume=$2 inside=$3 user=$4; shift 4
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$volume" "$root/$inside"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
"""


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=_PATIENCE)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class Images:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buildah = (
            *("buildah", "--storage-driver", "vfs"),
            *("--root", folder / "images", "--runroot", folder / "run"),
        )

    def make_bases(self, python: str, node: str) -> None:
        """Make images of these names."""
        context = self._folder / "bases"
        context.mkdir()
        packages = "python3-venv,ca-certificates,libstdc++6"
        _run("mmdebstrap", "--variant=apt", f"--include={packages}", "bookworm", context / "base.tar")
        shutil.copy(_AUTHORITIES, context)
        shutil.copy(_run("node", "--print", "process.execPath").strip(), context / "node")
        npm = shutil.which("npm")
        assert npm is not None
        shutil.copytree(Path(npm).resolve().parent.parent, context / "npm")
        for name, text in ((python, _PYTHON_BASE), (node, f"FROM {python}\n{_NODE_BASE}")):
            dockerfile = context / "Dockerfile"
            dockerfile.write_text(text, encoding="utf-8")
            self._build(context, dockerfile, name)
        shutil.rmtree(context)

    def build(self, dockerfile: Path, context: Path, name: str) -> None:
        """The image's pip gets the packages that pip gets here: both by the lock files' hashes."""
        wheels = self._folder / "wheels"
        for part in ("run", "build"):
            options = ["--no-deps", "--only-binary=:all:", f"--python-version={_PYTHON}", "--require-hashes", "--quiet"]
            lock = context / "requirements" / f"{part}.txt"
            _run(sys.executable, "-m", "pip", "download", *options, "--dest", wheels, "--requirement", lock)
        settings = self._folder / "pip.conf"
        settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n", encoding="utf-8")
        ignored = dockerfile.with_name("Dockerfile.dockerignore")
        mounts = (f"--volume={wheels}:/wheels:ro", f"--volume={settings}:/etc/pip.conf:ro")
        self._build(context, dockerfile, name, f"--ignorefile={ignored}", *mounts)

    def _build(self, context: Path, dockerfile: Path, name: str, *options: str) -> None:
        common = ("--isolation=chroot", "--format=docker", "--pull-never", f"--tag={name}", f"--file={dockerfile}")
        _run(*self._buildah, "build", *common, *options, context)

    def open(self, name: str) -> "Container":
        container = _run(*self._buildah, "from", "--pull-never", name).strip()
        root = Path(_run(*self._buildah, "mount", container).strip())
        inspected = json.loads(_run(*self._buildah, "inspect", "--type=container", container))
        return Container(root, self._folder, inspected["Docker"]["config"])

    def remove(self) -> None:
        _run(*self._buildah, "umount", "--all")
        _run(*self._buildah, "rmi", "--all", "--force")


class Container:
    """An image's files, and its configuration by Docker's names. A container runtime would give it a network."""

    def __init__(self, root: Path, folder: Path, config: dict[str, Any]) -> None:
        self.root = root
        self.config = config
        self._folder = folder
        (self._inside,) = config["Volumes"]
        self._volume = folder / "volume"
        _run("cp", "--archive", root / self._inside.removeprefix("/"), self._volume)

    def start(self, command: list[str], **variables: str) -> Program:
        environment = [*self.config["Env"], *(f"{name}={value}" for name, value in variables.items())]
        runner: list[str | Path] = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            _RUN,
            "run",
            self.root,
        ]
        inside = ["env", "--ignore-environment", f"--chdir={self.config['WorkingDir']}", *environment, *command]
        return Program([*runner, self._volume, self._inside, self.config["User"], *inside], self._folder)
