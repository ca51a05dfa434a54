"""The command line's options."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalogue import BY_NAME
from bench.workloads import BUN, FLOOR, NODE, PYTHON_SOCKETIO, SYNKORA, Workload

_NAMES = {"synkora": SYNKORA, "node": NODE, "bun": BUN, "python-socketio": PYTHON_SOCKETIO, "floor": FLOOR}


@dataclass(frozen=True)
class Options:
    """What is to be measured, or shown again, and where to."""

    full: bool
    rounds: int | None
    seconds: float | None
    workload: list[Workload] | None
    server: list[str] | None
    list: bool
    file: Path | None
    markdown: bool
    summary: bool
    json: Path | None
    svg: Path | None


def options(given: Sequence[str] | None) -> Options:
    """The options, or the end of the process with a message about what is wrong with them."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure what a delivery, a connection and a client cost."
    )
    parser.add_argument("--full", action="store_true", help="every workload, in five rounds: about an hour")
    parser.add_argument(
        "--rounds", type=_count, metavar="N", help="runs of each server under each workload (2; full: 5)"
    )
    parser.add_argument("--seconds", type=_duration, metavar="S", help="seconds of traffic in each run")
    parser.add_argument(
        "--workload",
        action="append",
        type=_workload,
        metavar="NAME",
        help="one of --list, or CLIENTS/PROJECTS/WINDOW: WINDOW cursors in flight in each project, 0 for idle clients; "
        "may be repeated",
    )
    parser.add_argument(
        "--server", action="append", type=_server, metavar="NAME", help=f"one of {', '.join(_NAMES)}; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="list the workloads, and measure nothing")
    parser.add_argument(
        "--from", dest="file", type=Path, metavar="FILE", help="show what --json has written, and measure nothing"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--summary", action="store_true", help="print the README's ratios as Markdown")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write every run to a file")
    parser.add_argument("--svg", type=_new_file, metavar="FILE", help="draw the relays' cost as a chart")
    return Options(**vars(parser.parse_args(given)))


def _workload(text: str) -> Workload:
    if text in BY_NAME:
        return BY_NAME[text]
    try:
        return Workload.parse(text)
    except ValueError as error:
        why = f": {error}" if text.count("/") == 2 else ""
        raise argparse.ArgumentTypeError(f"{text!r} is neither of --list nor CLIENTS/PROJECTS/WINDOW{why}") from None


def _server(text: str) -> str:
    if text not in _NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(_NAMES)}")
    return _NAMES[text]


def _new_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: it is a folder, or in none")
    return path


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds")
    return int(text)


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
