"""Measures what connection state recovery costs, beside Node.js: python -m bench.recovery --help"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil
from bench.cluster import has_redis
from bench.return_storm import ReturnStorm, measure_return_storm
from bench.servers import SECRET, Server, node, running, synkora
from bench.targets import PER_DELIVERY, REDIS_CPU
from bench.workloads import Workload, allow_open_files, build, cores, measure, write_tokens
from rich.table import Table
from tests.support.clients import WebSocket, websocket
from tests.support.servers import Address

from bench import command
from synkora.identity.tokens import sign

#: Environment of a server that keeps events.
_ON: Final = {"RECOVERY": "true"}
_OFF: Final = {"RECOVERY": "false"}
_NO_LIMITS: Final = {"LIMIT_PROJECTS": "0", "LIMIT_OTHER_RATE": "1000000", "LIMIT_FAILED_SIGN_INS": "0"}
_FILES: Final = {**_ON, "STATE_DIR": "state"}

#: The relays, with the same work for each server.
RELAYS: Final = (
    Workload("cursors", 200, 20, window=4),
    Workload("edits", 200, 20, window=4, event="task:update", pad=200),
    Workload("edits of five", 100, 20, window=4, event="task:update", pad=200),
    Workload("cursors, two instances", 200, 20, window=4, instances=2),
    Workload("edits, two instances", 200, 20, window=4, event="task:update", pad=200, instances=2),
)
_SENDERS: Final = 20  # who fill the log of kept events
_PROJECTS_EACH: Final = 5
_BATCH: Final = 500  # events between two pings of a sender


@dataclass(frozen=True)
class Returns:
    """How many `clients` return, to how many `missed` events each, with this many events `kept` in other projects."""

    clients: int = 200
    missed: int = 10
    kept: int = 100_000


def _with(server: Server, name: str, variables: dict[str, str]) -> Server:
    return replace(server, name=name, environment=server.environment | variables)


def servers(*, is_cluster: bool) -> list[Server]:
    """Return the servers of a relay, the first of which keeps nothing. Files are for a single instance."""
    ours = [_with(synkora(), "synkora, off", _OFF), _with(synkora(), "synkora", _ON)]
    files = [] if is_cluster else [_with(synkora(), "synkora, files", _FILES)]
    return [*ours, *files, _with(node(), "Node.js, off", _OFF), _with(node(), "Node.js", _ON)]


async def measure_returns(server: Server, returns: Returns, folder: Path) -> dict[str, float]:
    """Return the CPU time of a connect and of a return, in ms, and how many clients were recovered.

    Raises `ServerFailed`.
    """
    with running(server, folder, cores()[0]) as (pid, port):
        process, address = psutil.Process(pid), Address(port, "/socket.io/")
        await _fill(address, returns.kept)
        names = [f"r{number}" for number in range(returns.clients)]
        async with AsyncExitStack() as stack:
            editor = await stack.enter_async_context(websocket(address))
            await _connect(editor, "editor")
            began = _cpu(process)
            first = [await stack.enter_async_context(websocket(address)) for _ in names]
            brought = [await _connect(client, name) for client, name in zip(first, names, strict=True)]
            connects = _cpu(process) - began
            for client, name in zip(first, names, strict=True):
                await client.emit("join-project", name)
                await _settled(client)
                await editor.emit("join-project", name)
                await editor.emit("task:create", {"projectId": name, "task": {"id": "before"}})
            offsets = [await _offset(client) for client in first]
            for client in first:
                client.connection.transport.abort()
            for name in names:
                for number in range(returns.missed):
                    await editor.emit("task:create", {"projectId": name, "task": {"id": str(number)}})
            await _settled(editor)
            await asyncio.sleep(1)  # until the server has noticed the ends of all connections
            began = _cpu(process)
            recovered = 0
            for name, pid_, offset in zip(names, brought, offsets, strict=True):
                client = await stack.enter_async_context(websocket(address))
                auth = {"token": _token(name), "pid": pid_, "offset": offset}
                await client.send("40" + json.dumps(auth))
                recovered += await _missed(client, pid_) == returns.missed
            took = _cpu(process) - began
    return {
        "connect_ms": 1000 * connects / returns.clients,
        "return_ms": 1000 * took / returns.clients,
        "recovered": recovered,
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _token(name: str) -> str:
    return sign({"id": name, "name": name}, SECRET, expires_in=3600)


async def _connect(client: WebSocket, name: str) -> str:
    """Sign in; return the session's pid."""
    await client.send("40" + json.dumps({"token": _token(name)}))
    answer = await client.receive()
    assert isinstance(answer, str)
    assert answer.startswith("40{"), answer
    await client.receive()  # `connected`
    pid: str = json.loads(answer[2:]).get("pid", "")
    return pid


async def _settled(client: WebSocket) -> None:
    """Wait until all that a client has sent was received."""
    await client.emit("ping")
    while (await client.event())[0] != "pong":
        pass


async def _fill(address: Address, kept: int) -> None:
    """Have many events kept, in many projects."""
    each = kept // (_SENDERS * _PROJECTS_EACH)

    async def fill(number: int) -> None:
        async with websocket(address) as client:
            await _connect(client, f"filler-{number}")
            for project in range(_PROJECTS_EACH):
                name = f"full-{number}-{project}"
                await client.emit("join-project", name)
                for event in range(each):
                    await client.emit("task:create", {"projectId": name, "task": {"id": str(event), "text": "x" * 100}})
                    if event % _BATCH == 0:
                        await _settled(client)
            await _settled(client)

    await asyncio.gather(*map(fill, range(_SENDERS)))


async def _offset(client: WebSocket) -> str:
    """Return the position of the first edit that a client got."""
    while (event := await client.event())[0] != "task:create":
        pass
    offset: str = event[-1]
    return offset


async def _missed(client: WebSocket, pid: str) -> int:
    """Return how many edits came before the reply to CONNECT, with Node.js behind the reply; 0 for another session."""
    edits = 0
    while True:
        message = await client.receive()
        assert isinstance(message, str)
        if message.startswith("40{") and json.loads(message[2:]).get("pid") != pid:
            return 0
        edits += message.startswith('42["task:create"')
        if message.startswith('42["connected"'):
            return edits


def _relay_rows(workload: Workload, rounds: int, folder: Path, say: Callable[[str], object]) -> dict[str, Any]:
    """Measure a relay by each server in turns; return the medians by server."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for server in servers(is_cluster=workload.instances > 1):
            say(f"{workload}: {server.name} …")
            with fresh(server) as started:
                runs.setdefault(server.name, []).append(measure(started, workload, folder))
    figures = (PER_DELIVERY, REDIS_CPU) if workload.instances > 1 else (PER_DELIVERY,)
    return {
        name: {figure: statistics.median(run[figure] for run in of_server) for figure in figures}
        for name, of_server in runs.items()
    }


@contextmanager
def fresh(server: Server) -> Iterator[Server]:
    """The server with its own folder for its files, and without the limits that the clients here would reach."""
    with tempfile.TemporaryDirectory() as folder:
        state = {"STATE_DIR": folder} if "STATE_DIR" in server.environment else {}
        yield replace(server, environment=server.environment | _NO_LIMITS | state)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and show the figures side by side."""
    parser = argparse.ArgumentParser(
        prog="bench.recovery", description="Measure relays with recovery and without, and clients that return."
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=3, metavar="S", help="of each run of a relay")
    parser.add_argument("--clients", type=int, default=200, metavar="N", help="clients that return")
    parser.add_argument("--storm", type=int, default=2000, metavar="N", help="clients that return at once")
    parser.add_argument("--kept", type=int, default=100_000, metavar="N", help="events that are kept meanwhile")
    return command.run(parser, arguments, _measure_all, _table, width=140)


def _measure_all(options: argparse.Namespace, say: Callable[[str], object]) -> command.Measured:
    measured: command.Measured = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build("load", folder)
        write_tokens(folder / "tokens.txt", max(each.clients for each in RELAYS))
        allow_open_files(2 * max(options.clients, options.storm, 1000))
        for workload in RELAYS:
            if workload.instances == 1 or has_redis():
                relay = replace(workload, seconds=options.seconds)
                measured[workload.name] = _relay_rows(relay, options.rounds, folder, say)
        returns = Returns(options.clients, kept=options.kept)
        storm = ReturnStorm(options.storm)
        measured |= {"returns": {}, "returns at once": {}}
        for server in servers(is_cluster=False):
            if server.environment["RECOVERY"] == "true":
                say(f"returns: {server.name} …")
                with fresh(server) as started:
                    measured["returns"][server.name] = asyncio.run(measure_returns(started, returns, folder))
                with fresh(server) as started:
                    figures = asyncio.run(measure_return_storm(started, storm, folder))
                    measured["returns at once"][server.name] = figures
    return measured


def _table(measured: command.Measured) -> Table:
    names = list(dict.fromkeys(name for row in measured.values() for name in row))
    table = Table("", *names)
    for row, by_server in measured.items():
        for figure in dict.fromkeys(figure for figures in by_server.values() for figure in figures):
            values = [by_server.get(name, {}).get(figure) for name in names]
            table.add_row(f"{row}: {figure}", *("" if value is None else f"{value:.2f}" for value in values))
    return table


if __name__ == "__main__":
    sys.exit(main())
