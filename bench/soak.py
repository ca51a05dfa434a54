"""Lets a server work for a long time, and shows whether its memory grows: python -m bench.soak --help

Pages of socket.io-client edit in two projects while their connections break, and the recovery checker counts what they
miss. Beside them, clients come and go all the time.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from tests.end_to_end.churn import come_and_go
from tests.end_to_end.recovery_run import FAULTS_OF_CONNECTIONS, running
from tests.recovery.checker import due, violations
from tests.support.node_process import NodeProcess
from tests.support.server_process import ServerProcess, expect_health

#: By how much the median of the memory's last third may exceed that of the first. Python's allocator takes and returns
#: memory by the megabyte. In 30 minutes, 48,000 clients come and go between the middles of these thirds: 100 bytes that
#: stayed of each would be more.
TOLERANCE_MB: Final = 4.0
_SHOWN: Final = 10  # violations
_SAMPLE: Final = 0.5  # seconds between two looks at the memory
_SHORTEST_AGE: Final = 20.0  # seconds, longer than a page is away


@dataclass(frozen=True)
class Soak:
    """For how many `seconds`, with how many `visits` of other clients a second.

    `age` is how long the server keeps sessions and edits. With the default of two hours, it would keep more and more
    during the whole run. The memory counts after `warm_up` seconds.
    """

    seconds: float
    visits: int = 50

    @property
    def age(self) -> float:
        return max(_SHORTEST_AGE, self.seconds / 15)

    @property
    def warm_up(self) -> float:
        return max(1.25 * self.age, self.seconds / 5)


async def soak(folder: Path, node: NodeProcess, wanted: Soak) -> dict[str, Any]:
    """Return what was due and missed, who came and went, and the medians of the memory in MB."""
    age = f"{wanted.age:.0f}"
    async with running(
        folder,
        node,
        seed=1,
        RECOVERY_MAX_AWAY=age,
        RECOVERY_LOG_AGE=age,
        PRESENCE_GRACE=age,
        LOG_LEVEL="warning",
        LIMIT_HANDSHAKES_PER_ADDRESS="0",
    ) as run:
        run.only = FAULTS_OF_CONNECTIONS.keys()
        server, memory, visits = run.hosts[0].server, list[int](), list[int]()
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as beside:
            beside.create_task(_watch(server, wanted.warm_up, memory, is_over))
            beside.create_task(_visit(server, wanted.visits, visits, is_over))
            await run.work(wanted.seconds)
            is_over.set()
        await expect_health(server, connections=len(run.pages))
    clients = [page.client for page in run.pages]
    third = len(memory) // 3
    first, last = (statistics.median(part) / 1e6 for part in (memory[:third], memory[-third:]))
    return {
        "visits": sum(visits),
        "faults": run.faults.total(),
        "returns": sum(page.connects - 1 for page in run.pages),
        "due": due(clients),
        "violations": violations(clients),
        "farewells": sum(page.farewells for page in run.pages),
        "first_mb": first,
        "last_mb": last,
        "grown_mb": last - first,
    }


async def _watch(server: ServerProcess, warm_up: float, memory: list[int], is_over: asyncio.Event) -> None:
    await asyncio.sleep(warm_up)
    while not is_over.is_set():
        memory.append(server.rss)
        await asyncio.sleep(_SAMPLE)


async def _visit(server: ServerProcess, a_second: int, visits: list[int], is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        begun = time.monotonic()
        await come_and_go(server, a_second)
        visits.append(a_second)
        await asyncio.sleep(max(begun + 1 - time.monotonic(), 0))


def tabulate(figures: dict[str, Any], wanted: Soak) -> Table:
    """A row for each figure."""
    table = Table(f"{wanted.seconds / 60:g} minutes", "")
    rows = {
        "clients that came and went": f"{figures['visits']:,}",
        "broken connections, some of all pages": f"{figures['faults']:,}",
        "returns of pages": f"{figures['returns']:,}",
        "deliveries due, at most": f"{figures['due']:,}",
        "violations": f"{len(figures['violations']):,}",
        "pages that others saw leave": f"{figures['farewells']:,}",
        "memory, median of the first third": f"{figures['first_mb']:.1f} MB",
        "memory, median of the last third": f"{figures['last_mb']:.1f} MB",
        "growth": f"{figures['grown_mb']:+.1f} MB, at most {TOLERANCE_MB:g}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


async def _run(wanted: Soak) -> dict[str, Any]:
    node = await NodeProcess.start("remote-sockets.mjs")
    try:
        with tempfile.TemporaryDirectory(prefix="synkora-bench-") as folder:
            return await soak(Path(folder), node, wanted)
    finally:
        await node.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table; return 1 if something was missed, or if the memory has grown."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--visits", type=int, default=Soak.visits, help="clients that come and go each second")
    options = parser.parse_args(arguments)
    wanted = Soak(60 * options.minutes, options.visits)
    figures = asyncio.run(_run(wanted))
    Console(width=None if sys.stdout.isatty() else 80).print(tabulate(figures, wanted))
    for problem in figures["violations"][:_SHOWN]:
        print(problem, file=sys.stderr)
    return int(bool(figures["violations"] or figures["farewells"]) or figures["grown_mb"] > TOLERANCE_MB)


if __name__ == "__main__":
    sys.exit(main())
