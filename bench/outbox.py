"""Measures how long a change that psql has committed takes to a client: python -m bench.outbox --help"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bench.cluster import has_redis, redis
from bench.node_clients import node_clients
from bench.servers import running, synkora
from bench.workloads import CannotMeasure, cores
from tests.access.processes import Postgres, find_program
from tests.docs.documents import ROOT, blocks

from bench import command

_PROJECT: Final = "project"
_TASKS: Final = 'CREATE TABLE "Task" (id int PRIMARY KEY, title text, status text, "projectId" text);'
_PREPARE: Final = """PREPARE write AS INSERT INTO "Task" VALUES ($1, 'Task', 'TODO', 'project');\n"""
_COMMITS: Final = 'SELECT json_object_agg(id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000) FROM "Task";'
_LAST: Final = 1.0  # seconds for what is still on its way in the end
_PATIENCE: Final = 60  # seconds
_FIGURES: Final = (
    ("median_ms", "ms from the commit, median", "{:.1f}"),
    ("p99_ms", "ms from the commit, 99 of 100 less than", "{:.1f}"),
    ("longest_ms", "ms from the commit, at most", "{:.1f}"),
    ("arrived", "rows that arrived", "{:,}"),
    ("lost", "lost", "{:,}"),
    ("doubled", "twice or more", "{:,}"),
    ("disordered", "before an earlier one", "{:,}"),
)


class Database:
    """The app's database, with its outbox and a trigger for tasks. It notes when each transaction was committed."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._psql = [find_program("psql"), "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]

    @property
    def url(self) -> str:
        return self._server.url()

    def prepare(self) -> None:
        self._server.start()
        self.run("ALTER SYSTEM SET track_commit_timestamp = on")
        self._server.stop()
        self._server.start()
        outbox = (ROOT / "deploy" / "postgres" / "outbox.sql").read_text(encoding="utf-8")
        samples = [block.text for block in blocks(ROOT / "docs" / "outbox.md", "sql")]
        (trigger,) = [text for text in samples if "CREATE FUNCTION" in text]
        self.run(outbox + _TASKS + trigger)

    def run(self, commands: str) -> str:
        """Run commands with psql, and return what it prints."""
        done = subprocess.run([*self._psql, self.url], input=commands, text=True, check=True, stdout=subprocess.PIPE)
        return done.stdout

    def write(self, rows: int, pause: float) -> None:
        """Write tasks with psql, each in a transaction of its own, with random pauses of `pause` seconds on average."""
        with subprocess.Popen([*self._psql, self.url], stdin=subprocess.PIPE, text=True) as psql:
            assert psql.stdin is not None
            psql.stdin.write(_PREPARE)
            for number in range(rows):
                psql.stdin.write(f"EXECUTE write({number});\n")
                psql.stdin.flush()
                time.sleep(random.uniform(0, 2 * pause))

    def commits(self) -> dict[int, float]:
        """Return when each task was committed, in ms since 1970."""
        return {int(task): at for task, at in json.loads(self.run(_COMMITS)).items()}

    def wait_until_published(self) -> None:
        until = time.monotonic() + _PATIENCE
        while self.run("SELECT count(*) FROM synkora_outbox").strip() != "0" and time.monotonic() < until:
            time.sleep(0.1)


@contextmanager
def _database() -> Iterator[Database]:
    try:
        find_program("psql")
    except AssertionError as error:
        raise CannotMeasure(str(error)) from None
    server = Postgres()
    try:
        database = Database(server)
        database.prepare()
        yield database
    finally:
        server.remove()


def measure(rows: int, pause: float) -> command.Measured:
    """Return the figures of a client of the instance that reads the outbox, and of a client of another instance."""
    if not has_redis():
        raise CannotMeasure("redis-server is not installed")
    core, load_core = cores()
    with tempfile.TemporaryDirectory() as name, ExitStack() as started:
        folder = Path(name)
        database = started.enter_context(_database())
        _, port = started.enter_context(running(redis(), folder, load_core))
        joined = synkora().with_variables(REDIS_URL=f"redis://127.0.0.1:{port}")
        reading = joined.with_variables(PUBLISH_FROM="postgres", DATABASE_URL=database.url)
        ports = [started.enter_context(running(server, folder, core))[1] for server in (reading, joined)]
        clients = [
            started.enter_context(node_clients("arrivals.mjs", f"http://127.0.0.1:{port}", _PROJECT, ready=b"joined"))
            for port in ports
        ]
        database.write(rows, pause)
        database.wait_until_published()
        time.sleep(_LAST)
        commits = database.commits()
        arrivals = [json.loads(client.communicate(timeout=_PATIENCE)[0]) for client in clients]
    names = ("the instance that reads", "another instance")
    return {name: figures(commits, arrived) for name, arrived in zip(names, arrivals, strict=True)}


def figures(commits: dict[int, float], arrivals: list[tuple[int, float]]) -> dict[str, Any]:
    """Return the figures of one client, which has got these tasks at these times in ms."""
    first = dict(reversed(arrivals))
    delays = sorted(first[task] - commits[task] for task in first)
    order = list(dict.fromkeys(task for task, _ in arrivals))
    return {
        "median_ms": statistics.median(delays) if delays else float("nan"),
        "p99_ms": delays[int(0.99 * (len(delays) - 1))] if delays else float("nan"),
        "longest_ms": delays[-1] if delays else float("nan"),
        "arrived": len(first),
        "lost": len(commits) - len(first),
        "doubled": len(arrivals) - len(first),
        "disordered": sum(after < before for before, after in pairwise(order)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and show the figures side by side."""
    parser = argparse.ArgumentParser(
        prog="bench.outbox",
        description="Write rows with psql, and measure the time from each commit to the arrival at an official client.",
    )
    parser.add_argument("--rows", type=int, default=500, metavar="N")
    parser.add_argument("--pause", type=float, default=0.02, metavar="S", help="seconds between two rows, on average")
    return command.run(parser, arguments, _measure, partial(command.tabulate, _FIGURES), width=120)


def _measure(options: argparse.Namespace, say: Callable[[str], object]) -> command.Measured:
    say(f"{options.rows} rows, about {options.rows * options.pause:.0f} s …")
    return measure(options.rows, options.pause)


if __name__ == "__main__":
    sys.exit(main())
