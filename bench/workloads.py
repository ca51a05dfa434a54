"""What the servers are given to do, and the program that gives it to them."""

import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.servers import SECRET, Server, pinned, running

from synkora.identity.tokens import sign

HERE = Path(__file__).parent
_SPARE_FILES = 200  # what a process opens besides its connections
_DAY = 86_400


class CannotMeasure(Exception):
    """The machine lacks something that a measurement needs."""


@dataclass(frozen=True)
class Workload:
    """Clients in equal projects, in each of which `window` messages are under way at any time; with 0 all are idle."""

    clients: int
    projects: int
    window: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The workload written CLIENTS/PROJECTS/WINDOW. Raises `ValueError`."""
        clients, projects, window = map(int, text.split("/"))
        if min(clients, projects, window + 1) < 1 or clients % projects:
            raise ValueError("the clients have to be a multiple of the projects")
        return cls(clients, projects, window)

    def __str__(self) -> str:
        projects = f"{self.projects} project{'s' if self.projects > 1 else ''}"
        return f"{self.clients:,} in {projects}, {f'{self.window} in flight' if self.window else 'idle'}"

    @property
    def is_idle(self) -> bool:
        """Whether it measures memory, which traffic would change."""
        return self.window == 0


WORKLOADS = tuple(map(Workload.parse, ("50/1/4", "200/20/4", "200/20/1", "500/100/4", "8000/800/0")))


def build(program: str, folder: Path) -> Path:
    """Build `load` or `floor` in a folder. Raises `CannotMeasure` where that fails."""
    target = folder / program
    try:
        subprocess.run(["gcc", "-O2", "-o", target, HERE / f"{program}.c"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMeasure(
            f"{program}.c cannot be built, gcc and the C library's headers are needed: {error}"
        ) from None
    return target


def write_tokens(path: Path, count: int) -> None:
    """Write a token a line, each of a user of its own."""
    users = ({"id": f"user-{number}", "name": f"User {number}"} for number in range(count))
    path.write_text("".join(sign(user, SECRET, expires_in=_DAY) + "\n" for user in users))


def allow_open_files(clients: int) -> None:
    """Raise this process's limit, and so its children's, to what so many clients need.

    Raises `CannotMeasure` where the hard limit is below that.
    """
    needed = clients + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise CannotMeasure(
                f"{clients:,} clients need {needed:,} open files and this user may open {hard:,}: "
                f"raise the limit (as root: ulimit -n {needed}), or choose other workloads with --workload"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def cores() -> tuple[int, int]:
    """The core of the server and that of the load: two where there are two."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def measure(server: Server, workload: Workload, seconds: float, folder: Path) -> dict[str, Any]:
    """What load.c says of a fresh server under a workload; `folder` has `load` and `tokens.txt`.

    Raises `ServerFailed`, and `CannotMeasure` where the load could not be brought to bear.
    """
    server_core, load_core = cores()
    options = {
        "clients": workload.clients,
        "rooms": workload.projects,
        "window": workload.window,
        "seconds": seconds,
        "tokens": folder / "tokens.txt",
    }
    with running(server, folder, server_core) as (pid, port), pinned(load_core):
        given = [f"--{name}={value}" for name, value in {**options, "port": port, "pids": pid}.items()]
        done = subprocess.run([folder / "load", *given], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotMeasure(f"load, against {server.name}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
