"""Compares this project's Redis client with others: python -m bench.redis_clients --help"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import hiredis
from bench.cluster import redis
from bench.servers import PEERS, install_python, pinned, running
from bench.workloads import cores
from rich.console import Console
from rich.table import Table

LIBRARIES: Final = ("synkora", "redis-py", "coredis", "valkey-glide")
_FOLDER: Final = PEERS / "redis-clients"
_PATIENCE: Final = 60  # seconds that a measurement may take besides its own
_CHANNELS: Final = 100
_SENT_TOGETHER: Final = 100
_MESSAGE: Final = "x" * 200
_COUNT: Final = "redis.call('PUBLISH', 'redis-clients:numbers', redis.call('INCR', 'redis-clients:number'))"
_TRAFFIC: Final[dict[str, list[tuple[str, ...]]]] = {
    "receive": [("PUBLISH", f"redis-clients:{n % _CHANNELS}", _MESSAGE) for n in range(_SENT_TOGETHER)],
    "order": [("EVAL", _COUNT, "0")],
}
#: The kinds of work, with the figures of each: how a figure is named, and how it is written.
_WORK: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "scattered": {
        "cpu_us": ("20 publishes a turn, each by itself: CPU µs each", "{:.1f}"),
        "messages_per_s": ("a second", "{:,.0f}"),
        "reads_per_turn": ("reads of Redis for the 20", "{:.1f}"),
    },
    "together": {
        "cpu_us": ("20 publishes in one pipeline: CPU µs each", "{:.1f}"),
        "messages_per_s": ("a second", "{:,.0f}"),
    },
    "receive": {
        "cpu_us": ("received: CPU µs each", "{:.1f}"),
        "messages_per_s": ("a second", "{:,.0f}"),
    },
    "order": {"misplaced_percent": ("replies out of their place among messages, %", "{:.0f}")},
}


class _Redis:
    """A connection to ask Redis by."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._reader = hiredis.Reader()

    def do(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        """The replies to commands that are sent together."""
        self._socket.sendall(b"".join(hiredis.pack_command(command) for command in commands))  # type: ignore[arg-type]  # its stub allows only one word
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(65_536))
            else:
                replies.append(reply)
        return replies

    def reads(self) -> int:
        """How often Redis has read from its clients."""
        (info,) = self.do([("INFO", "stats")])
        fields = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        return int(fields["total_reads_processed"])

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


@contextmanager
def _traffic(port: int, commands: Sequence[tuple[str, ...]]) -> Iterator[None]:
    """Repeat these commands on Redis."""
    over, client = Event(), _Redis(port)

    def send() -> None:
        while not over.is_set():
            client.do(commands)

    thread = Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        client.close()


def measure(python: Path, library: str, work: str, port: int, seconds: float) -> dict[str, float]:
    """The figures of one library at one kind of work. Raises `subprocess.SubprocessError` where it fails."""
    client, url = _FOLDER / "client.py", f"redis://127.0.0.1:{port}"
    watch = _Redis(port)
    # More arrives than some libraries can read: Redis would disconnect them.
    watch.do([("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")])
    before = watch.reads()
    with pinned(cores()[0]):
        process = subprocess.Popen(
            [python, client, library, work, url, str(seconds)], stdout=subprocess.PIPE, text=True
        )
    try:
        assert process.stdout is not None
        if work in _TRAFFIC:
            process.stdout.readline()  # it is ready
            with _traffic(port, _TRAFFIC[work]):
                written, _ = process.communicate(timeout=seconds + _PATIENCE)
        else:
            written, _ = process.communicate(timeout=seconds + _PATIENCE)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    figures: dict[str, float] = json.loads(written.splitlines()[-1])
    if "turns" in figures:
        figures["reads_per_turn"] = (watch.reads() - before) / figures["turns"]
    if "replies" in figures:
        figures["misplaced_percent"] = 100 * figures["misplaced"] / figures["replies"]
    watch.close()
    return figures


def compare(seconds: float, rounds: int, say: Callable[[str], object]) -> dict[str, dict[str, dict[str, float]]]:
    """For each library and kind of work the median of each figure; the libraries take turns."""
    peer = install_python(_FOLDER, say)
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, running(redis(), Path(folder), cores()[1]) as (_, port):
        for number in range(rounds):
            for work in _WORK:
                for library in LIBRARIES:
                    say(f"round {number + 1} of {rounds}: {library}, {work}")
                    python = Path(sys.executable) if library == "synkora" else peer
                    runs.setdefault((library, work), []).append(measure(python, library, work, port, seconds))
    return {
        library: {
            work: {name: statistics.median(run[name] for run in runs[library, work]) for name in figures}
            for work, figures in _WORK.items()
        }
        for library in LIBRARIES
    }


def table(medians: dict[str, dict[str, dict[str, float]]]) -> Table:
    """The medians, a library in each column."""
    shown = Table("", *medians)
    for work, figures in _WORK.items():
        for name, (title, form) in figures.items():
            shown.add_row(title, *(form.format(medians[library][work][name]) for library in medians))
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and show a table."""
    parser = argparse.ArgumentParser("bench.redis_clients", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2, metavar="S", help="seconds of each run")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each library at each kind of work")
    options = parser.parse_args(arguments)
    console = Console()
    console.print(table(compare(options.seconds, options.rounds, console.print)))


if __name__ == "__main__":
    main()
