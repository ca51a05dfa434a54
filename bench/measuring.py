"""Every server under every workload, in turn."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Measured, Run
from bench.servers import Server, ServerFailed
from bench.workloads import BUN, FLOOR, NODE, PYTHON_SOCKETIO, SYNKORA, CannotMeasure, Workload, measure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

#: For the estimate alone: seconds to start and to stop, to connect a client, and to announce a join to one member.
_AROUND = 3.0
_ONE_MORE = 1.0  # to start one more instance
_CONNECTING = {SYNKORA: 0.001, NODE: 0.003, BUN: 0.001, PYTHON_SOCKETIO: 0.008, FLOOR: 0.0001}
_TELLING = {SYNKORA: 0.0, NODE: 25e-6, BUN: 15e-6, PYTHON_SOCKETIO: 60e-6, FLOOR: 0.0}


@dataclass(frozen=True)
class Step:
    """One run that is to be made."""

    workload: Workload
    server: str
    number: int
    rounds: int

    def __str__(self) -> str:
        return f"{self.workload}: {self.server}, round {self.number} of {self.rounds}"

    @property
    def estimate(self) -> float:
        """Seconds that it takes, more or less."""
        members = self.workload.clients / self.workload.projects
        joining = self.workload.clients * (_CONNECTING[self.server] + members * _TELLING[self.server])
        around = _AROUND + _ONE_MORE * (self.workload.instances - 1 + self.workload.spare)
        return around + self.workload.seconds + joining * (2 if self.workload.storm else 1)


def plan(workloads: Iterable[Workload], servers: Iterable[str], rounds: int) -> list[Step]:
    """All runs in their order: under each workload the servers take turns, so that what else is going on hits each."""
    present = set(servers)
    return [
        Step(workload, server, number + 1, rounds)
        for workload in workloads
        for number in range(rounds)
        for server in workload.servers
        if server in present
    ]


def measure_all(
    steps: Sequence[Step], servers: Mapping[tuple[str, bool], Server], folder: Path, console: Console
) -> Measured:
    """Make the runs. `servers` are by name and by whether they compress.

    On Ctrl-C it ends, and the runs that are missing have failed.
    """
    runs: list[Run] = []
    left = _TimeLeft(steps)
    columns = (MofNCompleteColumn(), BarColumn(20), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(steps))
        try:
            for number, step in enumerate(steps):
                described = f"{step} ({left})"
                progress.update(task, description=described, completed=number)
                if not console.is_terminal:
                    console.print(f"{number + 1}/{len(steps)} {described}", highlight=False, soft_wrap=True)
                runs.append(_run(step, servers[step.server, step.workload.compressed], folder))
                left.passed(step)
        except KeyboardInterrupt:
            runs += [
                Run(step.server, step.workload, {}, "stopped before it was measured") for step in steps[len(runs) :]
            ]
    return Measured(runs)


def told_time(seconds: float) -> str:
    """A duration as text."""
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {max(seconds, 1):.0f} s"


def _run(step: Step, server: Server, folder: Path) -> Run:
    try:
        return Run(step.server, step.workload, measure(server, step.workload, folder))
    except (CannotMeasure, ServerFailed) as error:
        return Run(step.server, step.workload, {}, str(error))


class _TimeLeft:
    """How long it will still take, by the estimates and by how wrong they have been."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._began = time.monotonic()
        self._done, self._all = 0.0, sum(step.estimate for step in steps)

    def passed(self, step: Step) -> None:
        self._done += step.estimate

    def __str__(self) -> str:
        pace = (time.monotonic() - self._began) / self._done if self._done else 1
        return f"{told_time(pace * (self._all - self._done))} left"
