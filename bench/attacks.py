"""Measures what each kind of attack costs the other clients: python -m bench.attacks --help

The kinds are those of `tests/hostile`. The server has its default limits.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from bench.servers import pinned
from bench.workloads import CannotMeasure, cores
from rich.console import Console
from rich.table import Table
from tests.hostile.attack import ATTACKERS
from tests.hostile.kinds import KINDS
from tests.hostile.members import Member, holds_within, join_all, lacking
from tests.support.server_process import ServerProcess

#: What attackers leave behind ends soon, so that its end can be awaited. Compression is on, so that there can be bombs.
_SETTINGS: Final = {
    "WS_PING_INTERVAL": "4",
    "WS_PING_TIMEOUT": "6",
    "WS_CONNECT_TIMEOUT": "6",
    "WS_UPGRADE_TIMEOUT": "3",
    "WS_COMPRESSION": "true",
}
_SLOWER: Final = 3  # times
_INTERVAL: Final = 0.1  # seconds between a member's messages
_PATIENCE: Final = 30  # seconds until nothing of the attackers is left


@dataclass(frozen=True)
class Course:
    """Each kind attacks for `seconds`, after as long without an attack: `rate` messages a second of all `attackers`.

    Meanwhile `members` work in `projects`.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    seconds: float = 5
    rate: float = 300
    attackers: int = ATTACKERS
    members: int = 20
    projects: int = 2


async def run(course: Course, folder: Path, say: Callable[[str], object]) -> dict[str, Any]:
    """Return the members' p99 latency in ms for each kind, without and with the attack, and the server's memory in MB.

    Raises `CannotMeasure` if a member lost a message or a connection.
    """
    server_core, load_core = cores()
    server = ServerProcess(folder, **_SETTINGS)
    process = psutil.Process(server.process.pid)
    process.cpu_affinity([server_core])
    members: list[Member] = []
    latencies: list[float] = []
    try:
        with pinned(load_core):
            await join_all(server.port, course.members, course.projects, members, latencies)
            for member in members:
                member.start(_INTERVAL)
            files, before = process.num_fds(), server.rss
            kinds = []
            for number, kind in enumerate(course.kinds, 1):
                say(f"{number}/{len(course.kinds)} {kind}")
                kinds.append(await _one(server, course, kind, members, latencies))
            gone = await holds_within(lambda: process.num_fds() <= files, _PATIENCE)
            after = server.rss
            for member in members:
                await member.stop()
            await holds_within(lambda: not any(lacking(members)), _PATIENCE)
            lost, faults = sum(lacking(members)), [fault for member in members for fault in member.faults]
    finally:
        for member in members:
            member.leave()
        server.stop()
    if lost or faults:
        raise CannotMeasure(f"members lost {lost} messages: {faults[:3]}")
    memory = {"before": before / 1e6, "after": after / 1e6, "left_behind": 0 if gone else process.num_fds() - files}
    return {"course": asdict(course), "kinds": kinds, "memory": memory}


async def _one(
    server: ServerProcess, course: Course, kind: str, members: list[Member], latencies: list[float]
) -> dict[str, Any]:
    latencies.clear()
    await asyncio.sleep(course.seconds)
    quiet = _p99(latencies)
    victims = sorted({member.project for member in members})
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "HOSTILE_KINDS": kind,
        "HOSTILE_ATTACKERS": str(course.attackers),
    }
    given = (str(server.port), str(10**9), str(course.rate), "1", *victims)
    attack = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.attack", *given), env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        os.sched_setscheduler(attack.pid, os.SCHED_IDLE, os.sched_param(0))  # attackers have their own machines
        await asyncio.sleep(1)  # until it has begun
        latencies.clear()
        await asyncio.sleep(course.seconds)
        attacked, rss = _p99(latencies), server.rss
    finally:
        attack.kill()
        await attack.wait()
    return {"kind": kind, "quiet_ms": quiet, "attacked_ms": attacked, "rss_mb": rss / 1e6}


def _p99(latencies: Sequence[float]) -> float:
    if not latencies:
        raise CannotMeasure("members got nothing")
    return 1000 * sorted(latencies)[len(latencies) * 99 // 100]


def tabulate(figures: dict[str, Any]) -> Table:
    """A row for each kind, the most harmful first."""
    memory = figures["memory"]
    caption = f"MB before: {memory['before']:.0f}, after: {memory['after']:.0f}; left behind: {memory['left_behind']}"
    table = Table("kind", "ms, p99, quiet", "under attack", "times", "MB", caption=caption)
    for kind in sorted(figures["kinds"], key=lambda kind: kind["quiet_ms"] / kind["attacked_ms"]):
        times = kind["attacked_ms"] / kind["quiet_ms"]
        cells = (f"{kind[name]:.1f}" for name in ("quiet_ms", "attacked_ms"))
        table.add_row(kind["kind"], *cells, f"{times:.1f}{' ✗' if times > _SLOWER else ''}", f"{kind['rss_mb']:.0f}")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=__doc__)
    default = Course()
    parser.add_argument(
        "--kind", action="append", choices=sorted(KINDS), metavar="NAME", help="a kind; may be repeated"
    )
    parser.add_argument("--seconds", type=float, default=default.seconds, help=f"for each kind ({default.seconds:g})")
    parser.add_argument("--rate", type=float, default=default.rate, help=f"messages a second ({default.rate:g})")
    parser.add_argument(
        "--attackers", type=int, default=default.attackers, help=f"clients, each its own user ({default.attackers})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    options = parser.parse_args(arguments)
    course = Course(tuple(options.kind or KINDS), options.seconds, options.rate, options.attackers)
    console = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = asyncio.run(run(course, Path(folder), console.print))
    except CannotMeasure as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    Console(width=None if sys.stdout.isatty() else 100).print(tabulate(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
