"""Restarts instances behind nginx, one after the other, while clients work: python -m bench.restart --help"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.cluster import redis
from bench.node_clients import node_clients
from bench.servers import Server, ServerFailed, node, running, synkora
from tests.support.nginx import WITH_NODEJS, running_nginx
from tests.support.processes import free_port

from bench import command

_INSTANCES: Final = 3
_PATIENCE: Final = 60  # seconds for each step of a process, besides draining
#: The figures of a server: the field of the clients' counts, its label, and its format.
_FIGURES: Final = (
    ("reconnects", "reconnects in all", "{:,}"),
    ("peak", "reconnects within a second, at most", "{:,}"),
    ("failedAttempts", "attempts to connect that failed", "{:,}"),
    ("medianGap", "s away, median", "{:.2f}"),
    ("p99Gap", "s away, 99 of 100 less than", "{:.2f}"),
    ("longestGap", "s away, at most", "{:.2f}"),
    ("due", "deliveries due", "{:,}"),
    ("lost", "of them lost", "{:,}"),
    ("away", "missed by who was away", "{:,}"),
)


@dataclass(frozen=True)
class Load:
    """How many clients work in how many projects, and how long each pauses between two messages, in seconds."""

    clients: int
    projects: int
    pause: float


class Instance:
    """A process of a server, which comes back on its port."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.port = free_port()
        self._server = server
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. Raises `ServerFailed`."""
        self._process = subprocess.Popen(
            self._server.command(self.port),
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], **self._server.environment},
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if self._answers():
                return
            time.sleep(0.05)
        raise ServerFailed(f"{self._server.name} does not answer on port {self.port}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self, within: float) -> None:
        """Stop it as a service manager does, killing it after this many seconds."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(within)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def measure(server: Server, load: Load, *, drain: float, pause: float) -> dict[str, Any]:
    """Return the clients' counts of a restart of each of three instances, `pause` seconds after the last one."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as started:
        folder = Path(name)
        _, port = started.enter_context(running(redis(), folder, 0))
        server = server.with_variables(REDIS_URL=f"redis://127.0.0.1:{port}")
        instances = [started.enter_context(_running(server, folder)) for _ in range(_INSTANCES)]
        ports = [instance.port for instance in instances]
        nginx = started.enter_context(running_nginx(ports, configuration=WITH_NODEJS))
        clients = started.enter_context(
            node_clients("clients.mjs", nginx.url, load.clients, load.projects, load.pause, ready=b"working")
        )
        for instance in instances:
            instance.stop(drain + _PATIENCE)
            instance.start()
            time.sleep(pause)
        counted, _ = clients.communicate(timeout=_PATIENCE)
    figures: dict[str, Any] = json.loads(counted)
    return figures


@contextmanager
def _running(server: Server, folder: Path) -> Iterator[Instance]:
    instance = Instance(server, folder)
    try:
        instance.start()
        yield instance
    finally:
        instance.stop(_PATIENCE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and show the figures side by side."""
    parser = argparse.ArgumentParser(
        prog="bench.restart", description="Restart three instances in turn, and count what their clients miss."
    )
    parser.add_argument("--clients", type=int, default=600, metavar="N")
    parser.add_argument("--projects", type=int, default=60, metavar="N")
    parser.add_argument("--every", type=float, default=5, metavar="S", help="seconds between two messages of a client")
    parser.add_argument("--drain", type=float, default=10, metavar="S", help="SHUTDOWN_DRAIN")
    parser.add_argument("--pause", type=float, default=5, metavar="S", help="seconds between two restarts")
    return command.run(parser, arguments, _measure_all, partial(command.tabulate, _FIGURES), width=120)


def _measure_all(options: argparse.Namespace, say: Callable[[str], object]) -> command.Measured:
    ours = synkora()
    load = Load(options.clients, options.projects, options.every)
    measured = {}
    for name, server, drain in (
        (f"synkora, {options.drain:g} s", ours.with_variables(SHUTDOWN_DRAIN=f"{options.drain:g}"), options.drain),
        ("synkora, at once", ours, 0),
        ("Node.js", node(), 0),
    ):
        say(f"{name} …")
        measured[name] = measure(server, load, drain=drain, pause=options.pause)
    return measured


if __name__ == "__main__":
    sys.exit(main())
