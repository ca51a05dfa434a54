"""Keeps very many clients connected for minutes, while some of them work: python -m bench.endurance --help"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from bench.servers import Server, health, pinned, running, synkora
from bench.workloads import CannotMeasure, allow_open_files, build, cores, write_tokens
from rich.console import Console
from rich.table import Table

_MEMBERS: Final = 5  # in each project
_PATIENCE: Final = 180  # seconds until all are connected, or gone


@dataclass(frozen=True)
class Endurance:
    """How many `clients` are connected for how many `seconds`, and how many of them send 10 cursors a second each.

    The server has `settling` seconds after the last client to return memory.
    """

    clients: int = 19_000
    working: int = 500
    seconds: float = 600
    settling: float = 20

    @property
    def idle(self) -> int:
        return self.clients - self.working


def endure(server: Server, endurance: Endurance, folder: Path, say: Callable[[str], object]) -> dict[str, Any]:
    """Return what was lost and closed, the p99 latency in ms, and the server's memory in MB: before, with all, after.

    `folder` has `load` and `tokens.txt`, with a token for each client. Raises `ServerFailed` and `CannotMeasure`.
    """
    server_core, load_core = cores()
    with running(server, folder, server_core) as (pid, port), pinned(load_core):
        process = psutil.Process(pid)
        before = process.memory_info().rss
        with _load(folder, pid, port, endurance.idle, "idle", "--window=0", f"--seconds={2 * _PATIENCE + 10_000}"):
            _until_connected(port, endurance.idle, say)
            given = ["--rate=10", "--senders=0", f"--seconds={endurance.seconds}"]
            with _load(folder, pid, port, endurance.working, "working", *given) as working:
                said = working.communicate()[0]
            if working.returncode != 0:
                raise CannotMeasure(f"load ended with exit status {working.returncode}")
            figures = json.loads(said)
            still_connected = health(port)["connections"]
            with_all = process.memory_info().rss
        _until_connected(port, 0, say)
        time.sleep(endurance.settling)
        after = process.memory_info().rss
    return {
        "lost": figures["lost"],
        "closed": figures["closed"] + max(endurance.idle - still_connected, 0),
        "delivered": figures["delivered"],
        "p99_ms": figures["p99_ms"],
        "cpu_percent": figures["server_cpu_percent"],
        "before_mb": before / 1e6,
        "with_all_mb": with_all / 1e6,
        "after_mb": after / 1e6,
    }


@contextmanager
def _load(
    folder: Path, pid: int, port: int, clients: int, project: str, *given: str
) -> Iterator[subprocess.Popen[str]]:
    """Start clients in projects of five. They are disconnected at the end."""
    tokens = folder / f"{project}.txt"
    lines = (folder / "tokens.txt").read_text().splitlines()
    tokens.write_text("\n".join(lines[:clients] if project == "idle" else lines[-clients:]))
    options = [f"--clients={clients}", f"--rooms={clients // _MEMBERS}", f"--project={project}", f"--tokens={tokens}"]
    command = [str(folder / "load"), *options, f"--pids={pid}", f"--port={port}", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _until_connected(port: int, clients: int, say: Callable[[str], object]) -> None:
    """Wait until exactly so many clients are connected. Raises `CannotMeasure`."""
    deadline = time.monotonic() + _PATIENCE
    while (connected := health(port)["connections"]) != clients:
        if time.monotonic() > deadline:
            raise CannotMeasure(f"{connected:,} clients are connected, not {clients:,}")
        say(f"{connected:,} clients are connected")
        time.sleep(1)


def tabulate(figures: dict[str, Any], endurance: Endurance) -> Table:
    """A row for each figure."""
    table = Table(f"{endurance.clients:,} clients, {endurance.working} of them working", "", show_lines=False)
    rows = {
        "deliveries": f"{figures['delivered']:,}",
        "lost": f"{figures['lost']:,}",
        "connections closed": f"{figures['closed']:,}",
        "p99 latency": f"{figures['p99_ms']:.2f} ms",
        "CPU time": f"{figures['cpu_percent']:.1f} % of a core",
        "memory before": f"{figures['before_mb']:.0f} MB",
        "memory with all clients": f"{figures['with_all_mb']:.0f} MB",
        f"memory {endurance.settling:g} s after the last": f"{figures['after_mb']:.0f} MB",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table; return 1 if something was lost or closed."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("--clients", type=int, default=Endurance.clients)
    parser.add_argument("--working", type=int, default=Endurance.working, help="who send 10 cursors a second each")
    parser.add_argument("--seconds", type=float, default=Endurance.seconds)
    options = parser.parse_args(arguments)
    endurance = Endurance(options.clients, options.working, options.seconds)
    if min(endurance.working, endurance.idle) < _MEMBERS or endurance.working % _MEMBERS or endurance.idle % _MEMBERS:
        parser.error(f"both kinds of clients must be multiples of {_MEMBERS}")
    console = Console(stderr=True)
    try:
        allow_open_files(endurance.clients)
        with tempfile.TemporaryDirectory(prefix="synkora-bench-") as temporary:
            folder = Path(temporary)
            build("load", folder)
            write_tokens(folder / "tokens.txt", endurance.clients)
            figures = endure(synkora(), endurance, folder, console.print)
    except CannotMeasure as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    Console(width=None if sys.stdout.isatty() else 80).print(tabulate(figures, endurance))
    return int(figures["lost"] > 0 or figures["closed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
