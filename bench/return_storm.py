"""Many clients that lose their connection and return at once, while others work."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from bench.servers import SECRET, Server, running
from bench.workloads import cores
from tests.support.wire import WebSocket

from synkora.identity.tokens import sign

_PAIRS: Final = 10  # of members who send each other cursors
_INTERVAL: Final = 0.02  # seconds between two cursors of a member
_AT_ONCE: Final = 100  # first connects under way
_PATIENCE: Final = 120  # seconds for all returns


@dataclass(frozen=True)
class ReturnStorm:
    """How many `clients` in how many `projects` return at once, each to this many `missed` edits.

    Before that, the others work alone for `quiet` seconds.
    """

    clients: int = 2000
    projects: int = 200
    missed: int = 10
    quiet: float = 5


async def measure_return_storm(server: Server, storm: ReturnStorm, folder: Path) -> dict[str, float]:
    """Return how many clients were recovered within how many seconds, and the others' p99 before and meanwhile, in ms.

    The clients share a core with the members who are measured, with a low priority. Raises `ServerFailed`.
    """
    server_core, load_core = cores()
    before = os.sched_getaffinity(0)
    with running(server, folder, server_core) as (_, port):
        os.sched_setaffinity(0, {load_core})
        try:
            async with _members(port) as latencies, _clients(port, storm) as clients:
                await _answer(clients)  # all are connected
                latencies.clear()
                await asyncio.sleep(storm.quiet)
                quiet = list(latencies)
                await _tell(clients, "lose")
                await _answer(clients)
                latencies.clear()
                await _tell(clients, "return")
                answer = await _answer(clients)
                while not latencies:  # a few clients return before the next message of a member
                    await asyncio.sleep(_INTERVAL)
                meanwhile = list(latencies)
        finally:
            os.sched_setaffinity(0, before)
    return {
        "recovered": answer["recovered"],
        "seconds": answer["seconds"],
        "quiet_p99_ms": _p99(quiet),
        "return_p99_ms": _p99(meanwhile),
    }


def _p99(latencies: list[float]) -> float:
    return 1000 * sorted(latencies)[len(latencies) * 99 // 100]


# The members


@asynccontextmanager
async def _members(port: int) -> AsyncIterator[list[float]]:
    """Members who work; yields the latencies of what they receive, in seconds."""
    latencies: list[float] = []
    sockets = [await _connected(port, f"m{number}") for number in range(2 * _PAIRS)]
    for number, (socket, _) in enumerate(sockets):
        await socket.emit("join-project", f"pair-{number // 2}")
    tasks = [asyncio.create_task(_work(socket, f"pair-{n // 2}")) for n, (socket, _) in enumerate(sockets)]
    tasks += [asyncio.create_task(_listen(socket, latencies)) for socket, _ in sockets]
    try:
        yield latencies
    finally:
        for task in tasks:
            task.cancel()
        for socket, _ in sockets:
            socket.abort()


async def _work(socket: WebSocket, project: str) -> None:
    while True:
        await socket.emit("canvas:cursor", {"projectId": project, "position": {"at": time.perf_counter()}})
        await asyncio.sleep(_INTERVAL)


async def _listen(socket: WebSocket, latencies: list[float]) -> None:
    while True:
        packet = await socket.packet()
        if packet.startswith(b'42["canvas:cursor"'):
            latencies.append(time.perf_counter() - json.loads(packet[2:])[1]["position"]["at"])


async def _connected(port: int, name: str, **returns: str) -> tuple[WebSocket, list[bytes]]:
    """A client that has signed in, and the packets up to `connected`."""
    socket = await WebSocket.open(port)
    await socket.shake()
    await socket.frame()  # OPEN
    token = sign({"id": name, "name": name}, SECRET, expires_in=3600)
    await socket.send_text(b"40" + json.dumps({"token": token, **returns}).encode())
    packets: list[bytes] = []
    while not packets or not packets[-1].startswith(b'42["connected"'):
        packets.append(await socket.packet())
    return socket, packets


# The clients that return, in a process of their own


@asynccontextmanager
async def _clients(port: int, storm: ReturnStorm) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = [str(argument) for argument in (port, *astuple(storm)[:3])]
    process = await asyncio.create_subprocess_exec(
        *("nice", "-n", "19", sys.executable, "-m", "bench.return_storm", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _tell(clients: asyncio.subprocess.Process, what: str) -> None:
    assert clients.stdin is not None
    clients.stdin.write(f"{what}\n".encode())
    await clients.stdin.drain()


async def _answer(clients: asyncio.subprocess.Process) -> dict[str, float]:
    assert clients.stdout is not None
    line = await clients.stdout.readline()
    if not line:
        raise RuntimeError("the clients that return have failed")
    answer: dict[str, float] = json.loads(line)
    return answer


def _say(**answer: float) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _reply(packets: Sequence[bytes]) -> dict[str, Any]:
    """The reply to CONNECT."""
    reply: dict[str, Any] = json.loads(next(packet for packet in packets if packet.startswith(b"40"))[2:])
    return reply


async def _lose_and_return(port: int, storm: ReturnStorm) -> None:
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(_AT_ONCE)
    edit = b'42["task:create"'

    async def first(number: int) -> tuple[WebSocket, str]:
        async with places:
            socket, packets = await _connected(port, f"r{number}")
            await socket.emit("join-project", f"storm-{number % storm.projects}")
            await socket.emit("ping")
            while not (await socket.packet()).startswith(b'42["pong"'):
                pass
        return socket, _reply(packets)["pid"]

    async def offset(socket: WebSocket) -> str:
        while not (packet := await socket.packet()).startswith(edit):
            pass
        position: str = json.loads(packet[2:])[-1]
        return position

    async def edit_all(socket: WebSocket, task: str) -> None:
        for number in range(storm.projects):
            await socket.emit("task:create", {"projectId": f"storm-{number}", "task": {"id": task}})
        await socket.emit("ping")
        while not (await socket.packet()).startswith(b'42["pong"'):
            pass

    async def again(number: int, pid: str, position: str) -> bool:
        socket, packets = await _connected(port, f"r{number}", pid=pid, offset=position)
        sockets.append(socket)
        missed = sum(packet.startswith(edit) for packet in packets)
        return missed == storm.missed and _reply(packets)["pid"] == pid

    editor, _ = await _connected(port, "editor")
    for number in range(storm.projects):
        await editor.emit("join-project", f"storm-{number}")
    sockets: list[WebSocket] = []
    clients = await asyncio.gather(*map(first, range(storm.clients)))
    await edit_all(editor, "before")
    offsets = await asyncio.gather(*(offset(socket) for socket, _ in clients))
    _say(connected=storm.clients)
    await loop.run_in_executor(None, sys.stdin.readline)
    for socket, _ in clients:
        socket.abort()
    for number in range(storm.missed):
        await edit_all(editor, str(number))
    await asyncio.sleep(2)  # until the server has noticed the ends of all connections
    _say(lost=storm.clients)
    await loop.run_in_executor(None, sys.stdin.readline)
    began = time.perf_counter()
    async with asyncio.timeout(_PATIENCE):
        returns = (again(number, clients[number][1], offsets[number]) for number in range(storm.clients))
        recovered = sum(await asyncio.gather(*returns))
    _say(recovered=recovered, seconds=time.perf_counter() - began)


if __name__ == "__main__":
    chosen_port, *counts = map(int, sys.argv[1:])
    asyncio.run(_lose_and_return(chosen_port, ReturnStorm(*counts)))
