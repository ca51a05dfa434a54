"""What is measured: the servers, each started alone on one core."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SECRET = "the-secret-of-the-benchmark"  # noqa: S105  # it guards nothing
#: Above every load, so that limits are checked as they are for users, and refuse nothing.
UNREACHED = "1000000"
_PATIENCE = 30  # seconds that a server has to begin to listen, or to end


class ServerFailed(Exception):
    """A server did not start."""


@dataclass(frozen=True)
class Server:
    """A server that does the work to be measured: it verifies tokens made with `SECRET`, and relays in projects.

    `command` tells how to start it, in the foreground, on a port of 127.0.0.1; `environment` is what it needs besides.
    """

    name: str
    command: Callable[[int], list[str]]
    environment: dict[str, str] = field(default_factory=dict)


def synkora() -> Server:
    """This project's server, with its default settings but for limits, which no load reaches."""
    return Server(
        "synkora",
        lambda port: [sys.executable, "-m", "synkora", "serve", "--host", "127.0.0.1", "--port", str(port)],
        {
            "NEXTAUTH_SECRET": SECRET,
            "LIMIT_VOLATILE_RATE": UNREACHED,
            "LIMIT_EDIT_RATE": UNREACHED,
            "LIMIT_CONNECTIONS_PER_ADDRESS": UNREACHED,
            "LIMIT_HANDSHAKES_PER_ADDRESS": UNREACHED,
        },
    )


def floor(program: Path) -> Server:
    """The least that a relay can cost (see floor.c): it verifies nothing."""
    return Server("floor", lambda port: [str(program), str(port)])


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
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ServerFailed(f"{server.name} does not listen on port {port}")
