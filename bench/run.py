"""Measures the server beside others: python -m bench.run --help"""

import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.catalogue import FULL, SHORT
from bench.chart import chart
from bench.cluster import has_redis
from bench.figures import Measured
from bench.measuring import measure_all, plan, told_time
from bench.options import Options, options
from bench.report import NoReport, Sitting, read, sitting, write
from bench.servers import Server, bun, floor, node, prepare_peers, python_socketio, synkora
from bench.table import UNQUOTABLE, markdown, summary, table
from bench.workloads import (
    BUN,
    FLOOR,
    NODE,
    PYTHON_SOCKETIO,
    SYNKORA,
    CannotMeasure,
    Workload,
    allow_open_files,
    build,
    cores,
    write_tokens,
)
from rich.console import Console

_SHORT_SECONDS = 1.0
_SHORT_ROUNDS, _FULL_ROUNDS = 2, 5


def main(given: Sequence[str] | None = None) -> int:
    """Measure, show the table, and return the exit status: 1 if some figure may not be quoted."""
    chosen = options(given)
    console = Console(stderr=True)
    if chosen.list:
        for workload in FULL:
            print(f"{workload.name:18} {workload}  [{', '.join(workload.servers)}]")
        return 0
    try:
        measured, made = read(chosen.file) if chosen.file else _measure(chosen, console)
    except (CannotMeasure, NoReport) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    if chosen.markdown:
        print(f"{markdown(measured)}\n{made}")
    elif chosen.summary:
        print(summary(measured), end="")
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(table(measured))
    if chosen.json is not None:
        write(chosen.json, measured, made)
    if chosen.svg is not None:
        chosen.svg.write_text(chart(measured), encoding="utf-8")
    for fault in measured.faults:
        console.print(f"{UNQUOTABLE}: {fault}", style="red", markup=False, soft_wrap=True)
    return 1 if measured.faults or not measured.runs else 0


def _measure(chosen: Options, console: Console) -> tuple[Measured, Sitting]:
    workloads = list(_able(_workloads(chosen), console))
    if not workloads:
        raise CannotMeasure("There is nothing left to measure.")
    clients = max(workload.clients for workload in workloads)
    allow_open_files(clients)
    server_core, load_core = cores()
    if server_core == load_core:
        console.print("There is one core for both the server and the load: only compare figures of one run.")
    with tempfile.TemporaryDirectory(prefix="synkora-bench-") as name:
        folder = Path(name)
        build("load", folder)
        write_tokens(folder / "tokens.txt", clients)
        wanted = chosen.server or dict.fromkeys(server for workload in workloads for server in workload.servers)
        servers = _servers(wanted, folder, console)
        rounds = chosen.rounds or (_FULL_ROUNDS if chosen.full else _SHORT_ROUNDS)
        steps = plan(workloads, [server for server, _ in servers], rounds)
        if not steps:
            raise CannotMeasure("None of these servers is given any of these workloads: see --list.")
        console.print(f"{len(steps)} runs, {told_time(sum(step.estimate for step in steps))}.", highlight=False)
        return measure_all(steps, servers, folder, console), sitting()


def _workloads(chosen: Options) -> Iterator[Workload]:
    for workload in chosen.workload or (FULL if chosen.full else SHORT):
        if chosen.seconds is not None:
            yield replace(workload, seconds=chosen.seconds)
        elif chosen.full or chosen.workload:
            yield workload
        else:
            yield replace(workload, seconds=min(workload.seconds, _SHORT_SECONDS))


def _able(workloads: Iterable[Workload], console: Console) -> Iterator[Workload]:
    """Those that can be brought to bear on this machine."""
    for workload in workloads:
        if workload.instances == 1 or has_redis():
            yield workload
        else:
            line = f"{workload} is left out: redis-server is not installed"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _servers(wanted: Collection[str], folder: Path, console: Console) -> dict[tuple[str, bool], Server]:
    """Those that are wanted and can be run, by name and by whether they compress."""
    able = {SYNKORA, FLOOR} | prepare_peers(wanted, lambda line: console.print(line, markup=False, soft_wrap=True))
    makers = {SYNKORA: synkora, NODE: node, BUN: bun, PYTHON_SOCKETIO: python_socketio}
    servers = {
        (name, compression): make(compression=compression)
        for name, make in makers.items()
        if name in wanted and name in able
        for compression in (False, True)
    }
    return {**servers, (FLOOR, False): floor(build("floor", folder))} if FLOOR in wanted else servers


if __name__ == "__main__":
    sys.exit(main())
