"""What the servers are given to do, and the program that gives it to them."""

import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.cluster import running_instances
from bench.servers import SECRET, Server, pinned
from bench.targets import CONNECT, IDLE_CPU, MEMORY, PER_DELIVERY, Target

from synkora.identity.tokens import sign

SYNKORA = "synkora"
NODE = "Node.js"
BUN = "Bun"
PYTHON_SOCKETIO = "python-socketio"
FLOOR = "floor"
SERVERS = (SYNKORA, NODE, BUN, PYTHON_SOCKETIO, FLOOR)

CURSOR = "canvas:cursor"

HERE = Path(__file__).parent
_SOURCES = {"load": "load/*.c", "floor": "floor.c"}
_SPARE_FILES = 200  # what a process opens besides its connections
_DAY = 86_400


class CannotMeasure(Exception):
    """The machine lacks something that a measurement needs."""


@dataclass(frozen=True)
class Workload:
    """Clients in equal projects, and what they do: nothing, unless `window`, `rate` or `storm` says otherwise.

    `window` messages are under way in each project at any time; or `senders` members of each project (0: all) send
    `rate` messages a second each; or, with `storm`, all join their project at once and then leave it. Messages carry
    `pad` bytes of text. `stuck` of the clients stop reading. Of several `instances`, each has its share of the members
    of each project; a `spare` one has none. `forwarded` sessions begin at one instance, and their further requests go
    to another one. `seconds` is for how long it is measured. `figures` are quoted, of `servers`, and `targets` are what
    is asked of them.
    """

    name: str
    clients: int
    projects: int
    window: int = 0
    rate: float = 0
    senders: int = 0
    storm: bool = False
    event: str = CURSOR
    pad: int = 0
    transport: str = "websocket"
    compressed: bool = False
    stuck: int = 0
    instances: int = 1
    spare: bool = False
    forwarded: bool = False
    seconds: float = 3
    servers: tuple[str, ...] = (SYNKORA, NODE, FLOOR)
    figures: tuple[str, ...] = (PER_DELIVERY,)
    targets: tuple[Target, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """A relay of cursors written CLIENTS/PROJECTS/WINDOW. Raises `ValueError`."""
        clients, projects, window = map(int, text.split("/"))
        if min(clients, projects, window + 1) < 1 or clients % projects:
            raise ValueError("the clients have to be a multiple of the projects")
        if window and clients == projects:
            raise ValueError("a client alone in a project has no recipients")
        figures = (PER_DELIVERY,) if window else (CONNECT, MEMORY, IDLE_CPU)
        return cls(text, clients, projects, window, figures=figures)

    def __str__(self) -> str:
        projects = f"{self.projects} project{'s' if self.projects > 1 else ''}"
        if self.storm:
            return f"{self.clients:,} joining {projects} and leaving"
        parts = [f"{self.clients:,} in {projects}"]
        if self.instances > 1:
            parts.append(
                f"on {f'{self.instances} of {self.instances + 1}' if self.spare else self.instances} instances"
            )
        if self.event != CURSOR:
            parts.append(f"{self.event} of {self.pad // 1000} kB")
        if self.window:
            parts.append(f"{self.window} in flight")
        elif self.rate:
            whose = "each" if self.senders == 0 else "in each"
            parts.append(f"{self.senders * self.rate or self.rate:g} a second {whose}")
        else:
            parts.append("idle" if IDLE_CPU in self.figures else "connecting")
        if self.transport != "websocket":
            parts.append(f"over {self.transport}")
        if self.forwarded:
            parts.append("forwarded")
        if self.compressed:
            parts.append("compressed")
        if self.stuck:
            parts.append(f"{self.stuck} of them stuck")
        return ", ".join(parts)

    @property
    def sends(self) -> bool:
        """Whether messages are delivered, and so can be lost."""
        return bool(self.window or self.rate)

    @property
    def options(self) -> list[str]:
        """The options of load.c."""
        given = [f"--clients={self.clients}", f"--rooms={self.projects}", f"--seconds={self.seconds}"]
        given += [f"--rate={self.rate}", f"--senders={self.senders}"] if self.rate else [f"--window={self.window}"]
        given += [f"--event={self.event}", f"--pad={self.pad}", f"--transport={self.transport}"]
        given += ["--deflate"] if self.compressed else []
        given += ["--forwarded"] if self.forwarded else []
        given += ["--storm"] if self.storm else []
        return given + ([f"--stuck={self.stuck}"] if self.stuck else [])


def build(program: str, folder: Path) -> Path:
    """Build `load` or `floor` in a folder. Raises `CannotMeasure` where that fails."""
    target = folder / program
    try:
        subprocess.run(["gcc", "-O2", "-o", target, *sorted(HERE.glob(_SOURCES[program])), "-lz"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMeasure(
            f"{program} cannot be built, gcc and the headers of the C library and of zlib are needed: {error}"
        ) from None
    return target


def write_tokens(path: Path, count: int) -> None:
    """Write a token a line, each of a user of its own."""
    users = ({"id": f"user-{number}", "name": f"User {number}"} for number in range(count))
    path.write_text("".join(sign(user, SECRET, expires_in=_DAY) + "\n" for user in users))


def allow_open_files(clients: int) -> None:
    """Raise this process's limit, and so its children's, to what this many clients need.

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


def measure(server: Server, workload: Workload, folder: Path) -> dict[str, Any]:
    """What load.c says of a fresh server under a workload; `folder` has `load` and `tokens.txt`.

    Raises `ServerFailed`, and `CannotMeasure` where the load could not be brought to bear.
    """
    _, load_core = cores()
    started = running_instances(server, workload.instances, folder, cores(), spare=workload.spare)
    with started as told, pinned(load_core):
        given = [*workload.options, f"--tokens={folder / 'tokens.txt'}", *told]
        done = subprocess.run([folder / "load", *given], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotMeasure(f"load, against {server.name}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
