"""A checkout of the web app, and the copy that is adapted and built. The checkout itself is only read."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.processes import free_port

_OVERLAY: Final = Path(__file__).parent / "overlay"
_LEFT_OUT: Final = shutil.ignore_patterns("node_modules", ".git", ".next", ".env*")
_KEPT: Final = ("node_modules", ".next")  # of the copy, when the checkout has changed
_NEEDED: Final = (
    "package.json",
    "package-lock.json",
    "next.config.js",
    "prisma/schema.prisma",
    "lib/prisma.ts",
    "hooks/use-realtime-kanban.ts",
    "app/projects/[projectId]/kanban/page.tsx",
)
_GENERATOR: Final = re.compile(r'provider\s*=\s*"prisma-client-js"')
_NO_CHECKS: Final = """
Object.assign(module.exports, { typescript: { ignoreBuildErrors: true }, eslint: { ignoreDuringBuilds: true } });
"""
#: Nobody connects while building; without an address, Prisma downloads an engine.
_NO_DATABASE: Final = "postgresql://localhost/none"
_SHOWN: Final = 30  # lines of a program that has failed
_PATIENCE: Final = 3600  # seconds, that a slow machine may take to build


class UnfitError(Exception):
    """The checkout cannot be used, for the reason given."""


@dataclass(frozen=True)
class Built:
    """A copy of the app that is ready to start.

    The app's pages connect to this port of localhost: the address is part of the build.
    """

    folder: Path
    port: int


def examine(checkout: Path) -> None:
    """Fail unless this is a checkout of the web app that can be built here."""
    if not checkout.is_dir():
        raise UnfitError(f"APP={checkout} is no folder")
    for name in _NEEDED:
        if not (checkout / name).is_file():
            raise UnfitError(f"APP={checkout} is not a checkout of Synkora's web app: {name} is missing")
    lock = json.loads((checkout / "package-lock.json").read_text(encoding="utf-8"))
    locked: str = lock.get("packages", {}).get("node_modules/@prisma/client", {}).get("version", "0")
    major, minor = [int(part) for part in f"{locked}.0".split(".")[:2]]
    if major != 6 or minor < 16:
        raise UnfitError(f"APP={checkout} has @prisma/client {locked}, and this takes 6.16 or a later 6")
    if not _GENERATOR.search((checkout / "prisma/schema.prisma").read_text(encoding="utf-8")):
        raise UnfitError(f"APP={checkout}: prisma/schema.prisma has no generator prisma-client-js")


def build(checkout: Path, folder: Path) -> Built:
    """Build a copy of the checkout in `folder`, or use the existing build."""
    stamp = folder / "built.json"
    digest = _digest(checkout)
    built = _stamped(stamp, digest)
    if built is None:
        stamp.unlink(missing_ok=True)
        port = free_port()
        copy = folder / "app"
        adapt(checkout, copy)
        _install(copy)
        _run(copy, "node_modules/.bin/prisma", "generate")
        _run(copy, "node_modules/.bin/next", "build", "--no-lint", **_building(port))
        built = {"digest": digest, "port": port}
        stamp.write_text(json.dumps(built), encoding="utf-8")
    return Built(folder / "app", built["port"])


def adapt(checkout: Path, copy: Path) -> None:
    """Copy the checkout. The copy uses a database driver that needs no download."""
    copy.mkdir(parents=True, exist_ok=True)
    for entry in copy.iterdir():
        if entry.name not in _KEPT:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.copytree(checkout, copy, ignore=_LEFT_OUT, dirs_exist_ok=True)
    schema = copy / "prisma/schema.prisma"
    text = schema.read_text(encoding="utf-8")
    schema.write_text(_GENERATOR.sub(r'\g<0>\n  engineType = "client"', text, count=1), encoding="utf-8")
    shutil.copy(_OVERLAY / "prisma.ts", copy / "lib/prisma.ts")
    shutil.copy(_OVERLAY / "prisma.config.ts", copy / "prisma.config.ts")
    with (copy / "next.config.js").open("a", encoding="utf-8") as settings:
        settings.write(_NO_CHECKS)


def tables(built: Built, database: str) -> str:
    """The SQL of the app's tables. `database` is the address of any database, which stays unchanged."""
    schema = ("--from-empty", "--to-schema-datamodel", "prisma/schema.prisma", "--script")
    return _run(built.folder, "node_modules/.bin/prisma", "migrate", "diff", *schema, DATABASE_URL=database)


def _digest(checkout: Path) -> str:
    found = hashlib.sha256()
    for path in _sources(checkout, _OVERLAY):
        found.update(f"{path}\0".encode() + path.read_bytes())
    return found.hexdigest()


def _sources(*roots: Path) -> Iterator[Path]:
    for root in roots:
        for folder, folders, files in os.walk(root):
            left_out = _LEFT_OUT(folder, [*folders, *files])
            folders[:] = sorted(set(folders) - left_out)
            yield from (Path(folder) / name for name in sorted(set(files) - left_out))


def _stamped(stamp: Path, digest: str) -> Any:
    """The build of these sources, or None if there is none or its port is in use."""
    try:
        built = json.loads(stamp.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if built["digest"] != digest:
        return None
    try:
        socket.create_server(("127.0.0.1", built["port"])).close()
    except OSError:
        return None
    return built


def _install(copy: Path) -> None:
    """Install the app's packages and the driver, if the lock file has changed."""
    lock = hashlib.sha256((copy / "package-lock.json").read_bytes()).hexdigest()
    stamp = copy / "node_modules/.installed-from"
    if stamp.is_file() and stamp.read_text() == lock:
        return
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    _run(copy, "npm", "ci", *quiet)
    version = json.loads((copy / "node_modules/@prisma/client/package.json").read_text(encoding="utf-8"))["version"]
    _run(copy, "npm", "install", "--no-save", *quiet, f"@prisma/adapter-pg@{version}")
    stamp.write_text(lock)


def _building(port: int) -> dict[str, str]:
    return {
        "NEXT_PUBLIC_WEBSOCKET_URL": f"http://localhost:{port}",
        "NEXT_FONT_GOOGLE_MOCKED_RESPONSES": str(_OVERLAY / "fonts.cjs"),
    }


def _run(folder: Path, *command: str, **variables: str) -> str:
    """Run a program. Returns its standard output, or fails with the end of its output."""
    environment = {key: value for key, value in os.environ.items() if key != "NODE_ENV"}
    environment |= {
        "NEXT_TELEMETRY_DISABLED": "1",
        "CHECKPOINT_DISABLE": "1",
        "DATABASE_URL": _NO_DATABASE,
        **variables,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=_PATIENCE
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_SHOWN:])
        raise UnfitError(f"{' '.join(command)} failed in {folder}:\n{said}")
    return done.stdout
