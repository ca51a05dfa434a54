"""What a session costs whose requests arrive at another instance: CPU time of both instances, beside a direct session.

python -m bench.forwarding
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp
import psutil
from bench.cluster import redis
from bench.servers import SECRET, running, synkora
from bench.workloads import cores
from rich.console import Console
from rich.table import Table
from tests.support.wire import WebSocket

from synkora.identity.tokens import sign

_PROJECTS: Final = 10
_MEMBERS: Final = 5  # in each project
_IN_FLIGHT: Final = 4  # cursors in each project
_POLLERS: Final = 20
_SID: Final = re.compile(r'"sid":"([^"]+)"')
#: How much a forwarded session may cost in direct ones.
TARGET: Final = 3.0


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """Return µs of CPU time for a delivered cursor, and for a post over polling, direct and forwarded."""
    server_core, load_core = cores()
    with running(redis(), folder, load_core) as (_, redis_port):
        joined = synkora()
        environment = {**joined.environment, "REDIS_URL": f"redis://127.0.0.1:{redis_port}"}
        joined = replace(joined, environment=environment)
        with running(joined, folder, server_core) as owner, running(joined, folder, server_core) as other:
            processes = [psutil.Process(pid) for pid, _ in (owner, other)]
            found: dict[str, float] = {}
            for name, port in (("direct", owner[1]), ("forwarded", other[1])):
                found[f"delivery, {name}"] = asyncio.run(_relay(processes, owner[1], port, seconds))
                found[f"post, {name}"] = asyncio.run(_post(processes, owner[1], port, seconds))
            return found


async def _open(port: int) -> str:
    async with aiohttp.ClientSession() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling")
        found = _SID.search(await answer.text())
        assert found is not None
        return found[1]


def _token(name: str) -> str:
    return sign({"id": name, "name": name}, SECRET, expires_in=3600)


async def _relay(processes: Sequence[psutil.Process], owner: int, port: int, seconds: float) -> float:
    """The members of a project send each other cursors, over WebSockets whose sessions are at `owner`."""
    delivered = 0
    sockets: list[WebSocket] = []

    async def member(project: int, number: int) -> WebSocket:
        socket = await WebSocket.open(port)
        sockets.append(socket)
        await socket.shake(await _open(owner))
        await socket.send_text(b"2probe")
        assert await socket.text() == "3probe"
        await socket.send_text(b"5")
        await socket.connect(_token(f"user-{project}-{number}"))
        await socket.emit("join-project", f"project-{project}")
        await socket.until_event("users:count")
        return socket

    async def receive(socket: WebSocket, project: int, *, answers: bool) -> None:
        nonlocal delivered
        while True:
            if (await socket.packet()).startswith(b'42["canvas:cursor"'):
                delivered += 1
                if answers:
                    await send(socket, project)

    async def send(socket: WebSocket, project: int) -> None:
        await socket.emit("canvas:cursor", {"projectId": f"project-{project}", "position": {"x": 1, "y": 2}})

    tasks = []
    try:
        for project in range(_PROJECTS):
            members = [await member(project, number) for number in range(_MEMBERS)]
            # Two members answer each other; the others receive both.
            for number, each in enumerate(members):
                tasks.append(asyncio.create_task(receive(each, project, answers=number < 2)))
            for _ in range(_IN_FLIGHT):
                await send(members[0], project)
        await asyncio.sleep(0.5)
        before, spent = delivered, _spent(processes)
        await asyncio.sleep(seconds)
        return 1e6 * (_spent(processes) - spent) / (delivered - before)
    finally:
        for task in tasks:
            task.cancel()
        for socket in sockets:
            socket.abort()


async def _post(processes: Sequence[psutil.Process], owner: int, port: int, seconds: float) -> float:
    """Clients post packets, one after the other, over kept connections."""
    sids = [await _open(owner) for _ in range(_POLLERS)]
    posted = 0

    async def work(http: aiohttp.ClientSession, sid: str) -> None:
        nonlocal posted
        while True:
            url = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling&sid={sid}"
            async with http.post(url, data=b"6") as answer:
                assert await answer.text() == "ok"
            posted += 1

    async with aiohttp.ClientSession() as http:
        tasks = [asyncio.create_task(work(http, sid)) for sid in sids]
        await asyncio.sleep(0.5)
        before, spent = posted, _spent(processes)
        await asyncio.sleep(seconds)
        cost = 1e6 * (_spent(processes) - spent) / (posted - before)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return cost


def _spent(processes: Sequence[psutil.Process]) -> float:
    """Seconds of CPU time, user and system."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table; return 1 if a ratio misses the target."""
    parser = argparse.ArgumentParser(prog="python -m bench.forwarding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rounds = [measure(Path(folder), options.seconds) for _ in range(options.rounds)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    table = Table("µs of CPU time, both instances", "direct", "forwarded", "ratio")
    ratios = []
    for what in ("delivery", "post"):
        direct, forwarded = (medians[f"{what}, {name}"] for name in ("direct", "forwarded"))
        ratios.append(forwarded / direct)
        table.add_row(what, f"{direct:.1f}", f"{forwarded:.1f}", f"{ratios[-1]:.2f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(medians, indent=2) + "\n", encoding="utf-8")
    return int(max(ratios) > TARGET)


if __name__ == "__main__":
    sys.exit(main())
