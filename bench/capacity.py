"""Finds how many clients a server can serve, beside others: python -m bench.capacity --help"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench.cluster import has_redis
from bench.servers import Server, floor, node, synkora
from bench.targets import LATENCY
from bench.workloads import (
    FLOOR,
    NODE,
    SYNKORA,
    CannotMeasure,
    Workload,
    allow_open_files,
    build,
    measure,
    write_tokens,
)
from rich.table import Table

from bench import command

_MEMBERS: Final = 5  # in each project
_RATE: Final = 10.0  # cursors a second of each client
_MOST_CLIENTS: Final = 15_000
#: Redis of the workers is started by the server, that of the peer by the measurement.
TWO_CORES: Final = (f"{SYNKORA}, 2 workers", f"{NODE}, 2 processes")


@dataclass(frozen=True)
class Search:
    """A load is served if nothing is lost and the p99 latency is below `p99` ms for `seconds`.

    The search begins with `first` clients, and ends when it knows the number to a share of `precision`.
    """

    first: int = 1000
    seconds: float = 4
    p99: float = 50
    precision: float = 0.03

    def workload(self, clients: int, instances: int = 1) -> Workload:
        """Members of projects of five who send ten cursors a second each."""
        projects = clients // _MEMBERS
        return Workload(
            "capacity", projects * _MEMBERS, projects, rate=_RATE, seconds=self.seconds, instances=instances
        )

    def is_served(self, figures: dict[str, Any]) -> bool:
        return not figures["lost"] and not figures["closed"] and figures[LATENCY] < self.p99


def capacity(is_served: Callable[[int], bool], first: int, precision: float) -> int:
    """Return the highest number of clients that is served, to a share of `precision`; 0 if there is none.

    The load is doubled until it is not served, and the interval is halved then. More than 15,000 clients are not tried.
    """
    served, refused = 0, 0
    load = first
    while not refused and served < _MOST_CLIENTS:
        if is_served(load):
            served, load = load, min(load * 2, _MOST_CLIENTS)
        else:
            refused = load
    while refused and refused - served > max(precision * refused, _MEMBERS):
        middle = (served + refused) // 2
        if is_served(middle):
            served = middle
        else:
            refused = middle
    return served


def servers(folder: Path) -> dict[str, tuple[Server, int]]:
    """The servers, with the number of instances that are started. `folder` has the floor's program."""
    one_core = {SYNKORA: (synkora(), 1), NODE: (node(), 1), FLOOR: (floor(folder / "floor"), 1)}
    if not has_redis():
        return one_core
    ours, theirs = TWO_CORES
    return one_core | {
        ours: (_on_both(replace(synkora(), workers=2), "--workers", "2"), 1),
        theirs: (_on_both(node()), 2),
    }


def _on_both(server: Server, *arguments: str) -> Server:
    """A server that may use both cores, the second of which it shares with the load."""
    return replace(server, command=lambda port: ["taskset", "--cpu-list", "0,1", *server.command(port), *arguments])


def measure_all(options: argparse.Namespace, say: Callable[[str], object]) -> command.Measured:
    """Return the capacity of each server: the median, and the lowest and the highest of the rounds."""
    search = Search(seconds=options.seconds, p99=options.p99)
    allow_open_files(_MOST_CLIENTS)
    measured: command.Measured = {}
    with tempfile.TemporaryDirectory(prefix="synkora-bench-") as temporary:
        folder = Path(temporary)
        for program in ("load", "floor"):
            build(program, folder)
        write_tokens(folder / "tokens.txt", _MOST_CLIENTS)
        chosen = servers(folder)
        names = [name for name in chosen if not options.server or name in options.server]
        found: dict[str, list[int]] = {name: [] for name in names}
        for number in range(options.rounds):
            for name in names:
                found[name].append(_search(name, *chosen[name], search, folder, say))
                say(f"round {number + 1} of {options.rounds}: {name} serves {found[name][-1]:,} clients")
        for name, numbers in found.items():
            measured[name] = {"clients": statistics.median(numbers), "lowest": min(numbers), "highest": max(numbers)}
    return measured


def _search(
    name: str, server: Server, instances: int, search: Search, folder: Path, say: Callable[[str], object]
) -> int:
    def is_served(clients: int) -> bool:
        try:
            figures = measure(server, search.workload(clients, instances), folder)
        except CannotMeasure as error:  # the server does not accept so many
            say(f"{name}: {clients:,} clients: {error}")
            return False
        is_served = search.is_served(figures)
        say(
            f"{name}: {clients:,} clients: p99 {figures[LATENCY]:.1f} ms, {figures['lost']} lost, "
            f"{'served' if is_served else 'not served'}"
        )
        return is_served

    return capacity(is_served, search.first, search.precision)


def tabulate(measured: command.Measured) -> Table:
    """A row for each server, with its share of this server's capacity."""
    table = Table("server", "clients", "lowest to highest", f"of {SYNKORA}")
    ours = measured.get(SYNKORA, {}).get("clients")
    for name, row in measured.items():
        share = f"{row['clients'] / ours:.2f}" if ours else ""
        table.add_row(name, f"{row['clients']:,.0f}", f"{row['lowest']:,} to {row['highest']:,}", share)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity",
        description="Find how many clients with 10 cursors a second each, in projects of five, each server can serve "
        "on one core, and on two.",
    )
    parser.add_argument("--server", action="append", help=f"only this one: {SYNKORA}, {NODE}, {FLOOR}, …")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=Search.seconds, help="of each load")
    parser.add_argument("--p99", type=float, default=Search.p99, help="the highest p99 latency, in ms")
    return command.run(parser, arguments, measure_all, tabulate, width=80)


if __name__ == "__main__":
    sys.exit(main())
