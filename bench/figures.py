"""What was measured, and what of it may be quoted."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from bench.targets import Target
from bench.workloads import SERVERS, SYNKORA, Workload


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
        if lost or closed:
            return f"lost {lost}, closed {closed}"
        return "nothing was delivered" if self.workload.sends and not self.figures["delivered"] else None


@dataclass(frozen=True)
class Quote:
    """A figure of all rounds: their median, with the lowest and the highest."""

    middle: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Verdict:
    """What came of a target: synkora's figure as a part of what it is compared with, and whether that is little enough.

    Both are None where one of the two may not be quoted, or was not measured.
    """

    target: Target
    part: float | None
    met: bool | None


class Measured:
    """The runs of all servers under all workloads; these in the order in which they were run."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = tuple(runs)
        self.workloads = tuple(dict.fromkeys(run.workload for run in self.runs))
        self.servers = tuple(sorted({run.server for run in self.runs}, key=SERVERS.index))

    @property
    def faults(self) -> list[str]:
        """What was wrong, with which server under which workload."""
        described = (f"{run.workload}: {run.server}: {run.fault}" for run in self.runs if run.fault)
        return list(dict.fromkeys(described))

    @cached_property
    def _grouped(self) -> dict[tuple[str, str], list[Run]]:
        grouped: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            grouped.setdefault((run.workload.name, run.server), []).append(run)
        return grouped

    def was_run(self, workload: Workload, server: str) -> bool:
        """Whether the server was given the workload at all."""
        return (workload.name, server) in self._grouped

    def quote(self, workload: str, server: str, figure: str) -> Quote | None:
        """A figure of a server under the workload of that name.

        None, and so nothing to quote, if any of its runs has a fault or lacks the figure.
        """
        runs = self._grouped.get((workload, server), [])
        if not runs or any(run.fault or run.figures.get(figure) is None for run in runs):
            return None
        values = [run.figures[figure] for run in runs]
        return Quote(median(values), min(values), max(values))

    def ratio(self, workload: str, server: str, figure: str) -> float | None:
        """How many times as high as synkora's a server's median is, if both may be quoted."""
        ours, theirs = (self.quote(workload, name, figure) for name in (SYNKORA, server))
        return theirs.middle / ours.middle if ours and theirs and ours.middle else None

    def verdict(self, workload: Workload, target: Target) -> Verdict:
        """Whether synkora met a target of a workload."""
        ours = self.quote(workload.name, SYNKORA, target.figure)
        if target.server is None and target.workload is None:
            return Verdict(target, None, None if ours is None else ours.middle <= target.at_most)
        other = self.quote(target.workload or workload.name, target.server or SYNKORA, target.figure)
        if ours is None or other is None or not other.middle:
            return Verdict(target, None, None)
        part = ours.middle / other.middle
        return Verdict(target, part, part <= target.at_most)
