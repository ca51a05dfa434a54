"""What was measured, and what of it may be quoted."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.workloads import Workload
from rich.table import Table
from rich.text import Text

PER_DELIVERY = "cpu_us_per_delivery"
PER_CONNECT = "connect_cpu_ms"
PER_CLIENT = "rss_kb_per_client"


@dataclass(frozen=True)
class Run:
    """One run of a server under a workload: load.c's figures, or what kept it from having any."""

    server: str
    workload: Workload
    figures: dict[str, Any]
    failure: str | None = None

    @property
    def fault(self) -> str | None:
        """Why it may not be quoted, or None: a server that loses messages or clients does less work."""
        if self.failure is not None:
            return self.failure
        lost, closed = self.figures["lost"], self.figures["closed"]
        return f"lost {lost}, closed {closed}" if lost or closed else None

    def as_json(self) -> dict[str, Any]:
        """The run as it is written to a file."""
        return {**asdict(self), "fault": self.fault}


@dataclass(frozen=True)
class Row:
    """The runs of one server under one workload."""

    server: str
    workload: Workload
    runs: tuple[Run, ...]

    @property
    def faults(self) -> list[str]:
        """What was wrong with the runs that do not count."""
        return [run.fault for run in self.runs if run.fault]

    def values(self, figure: str) -> list[float]:
        """A figure's value in each run that counts."""
        return sorted(run.figures[figure] for run in self.runs if not run.fault)

    def middle(self, figure: str) -> float | None:
        """The median of a figure; None, and so nothing to quote, if any run has a fault."""
        return None if self.faults or not self.runs else median(self.values(figure))


def rows(runs: Iterable[Run]) -> list[Row]:
    """The runs by workload and server, in the order in which those were first run."""
    grouped: dict[tuple[Workload, str], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.workload, run.server), []).append(run)
    return [Row(server, workload, tuple(group)) for (workload, server), group in grouped.items()]


def table(measured: Sequence[Row]) -> Table:
    """The figures for people: medians, with the lowest and the highest run beside the one to quote."""
    shown = Table("Workload", "Server", title="CPU time and memory of the server's process")
    for heading in ("µs a delivery", "lowest to highest", "to the floor", "ms a connect", "kB a client"):
        shown.add_column(heading, justify="right")
    floors = {row.workload: row.middle(PER_DELIVERY) for row in measured if row.server == "floor"}
    for row in measured:
        name = str(row.workload)
        if row.faults:
            shown.add_row(name, row.server, Text(f"not to be quoted: {'; '.join(row.faults)}", "red"))
        elif row.workload.is_idle:
            shown.add_row(name, row.server, "", "", "", _written(row, PER_CONNECT, 2), _written(row, PER_CLIENT, 1))
        else:
            cost, floor, spread = row.middle(PER_DELIVERY), floors.get(row.workload), row.values(PER_DELIVERY)
            ratio = f"{cost / floor:.1f} ×" if cost and floor else ""
            between = f"{spread[0]:.2f} to {spread[-1]:.2f}"
            shown.add_row(
                name, row.server, _written(row, PER_DELIVERY, 2), between, ratio, _written(row, PER_CONNECT, 2)
            )
    return shown


def _written(row: Row, figure: str, digits: int) -> str:
    value = row.middle(figure)
    return "" if value is None else f"{value:.{digits}f}"
