"""The command line of measurements beside Node.js: a table on stdout, and the figures as data on request."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.servers import prepare_peers
from bench.workloads import CannotMeasure
from rich.console import Console
from rich.table import Table

#: Figures by their rows or columns.
Measured = dict[str, dict[str, Any]]


#: A table's rows: the field of the figures, its label, and its format.
Rows = Sequence[tuple[str, str, str]]


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace, Callable[[str], object]], Measured],
    tabulate: Callable[[Measured], Table],
    *,
    width: int,
) -> int:
    """Measure with the parsed arguments, and print the table; return the exit code.

    The second argument of `measure` prints progress. `width` is that of a table that is not for a terminal.
    """
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    if not prepare_peers({"Node.js"}, console.print):
        return 1
    try:
        measured = measure(options, console.print)
    except CannotMeasure as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    Console(width=None if sys.stdout.isatty() else width).print(tabulate(measured))
    if options.json is not None:
        options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return 0


def tabulate(rows: Rows, measured: Measured) -> Table:
    """A column for each server."""
    table = Table("", *measured)
    for field, label, form in rows:
        table.add_row(label, *(form.format(figures[field]) for figures in measured.values()))
    return table
