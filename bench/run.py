"""Measures the server beside the floor: python -m bench.run --help"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.figures import Row, Run, rows, table
from bench.servers import Server, ServerFailed, floor, synkora
from bench.workloads import WORKLOADS, CannotMeasure, Workload, allow_open_files, build, cores, measure, write_tokens
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure what a delivery, a connect and a client cost.")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server under each workload (3)")
    parser.add_argument("--seconds", type=float, default=1.5, help="seconds of traffic in each run (1.5)")
    parser.add_argument(
        "--workload",
        action="append",
        type=Workload.parse,
        metavar="CLIENTS/PROJECTS/WINDOW",
        help="instead of the usual ones; WINDOW messages are in flight in each project, 0 is idle; may be repeated",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run to a file")
    return parser.parse_args(given)


def measure_all(
    servers: Sequence[Server],
    workloads: Sequence[Workload],
    rounds: int,
    seconds: float,
    folder: Path,
    console: Console,
) -> list[Run]:
    """Run every server under every workload, the servers in turn; one round is enough for memory."""
    plan = [
        (number, workload, server)
        for workload in workloads
        for number in range(1 if workload.is_idle else rounds)
        for server in servers
    ]
    runs = []
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(plan))
        for number, workload, server in plan:
            described = f"{workload}: {server.name}, round {number + 1}"
            progress.update(task, description=described)
            if not console.is_terminal:
                console.print(described, highlight=False, soft_wrap=True)
            try:
                runs.append(Run(server.name, workload, measure(server, workload, seconds, folder)))
            except (CannotMeasure, ServerFailed) as error:
                runs.append(Run(server.name, workload, {}, str(error)))
            progress.advance(task)
    return runs


def report(path: Path, runs: Sequence[Run]) -> None:
    """Write every run, and what it was made on, to a file."""
    machine = {
        "synkora": version("synkora"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    path.write_text(json.dumps({"machine": machine, "runs": [run.as_json() for run in runs]}, indent=1) + "\n")


def main(given: Sequence[str] | None = None) -> int:
    """Measure, show the table, and return the exit status: 1 if some figure may not be quoted."""
    options = arguments(given)
    console = Console(stderr=True)
    workloads: list[Workload] = options.workload or list(WORKLOADS)
    server_core, load_core = cores()
    if server_core == load_core:
        console.print("There is one core for both the server and the load: only compare figures of one run.")
    with tempfile.TemporaryDirectory(prefix="synkora-bench-") as name:
        folder = Path(name)
        try:
            allow_open_files(max(workload.clients for workload in workloads))
            build("load", folder)
            servers = [synkora(), floor(build("floor", folder))]
        except CannotMeasure as error:
            console.print(str(error), style="red", markup=False, soft_wrap=True)
            return 1
        write_tokens(folder / "tokens.txt", max(workload.clients for workload in workloads))
        runs = measure_all(servers, workloads, options.rounds, options.seconds, folder, console)
    measured: list[Row] = rows(runs)
    Console(width=None if sys.stdout.isatty() else 160).print(table(measured))
    if options.json is not None:
        report(options.json, runs)
    return 1 if any(row.faults for row in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
