"""How many workers `WS_WORKERS` means."""

import math
import os
from pathlib import Path
from typing import Final, Literal

_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")  # a container's quota and period in µs (cgroups v2)


def worker_count(setting: int | Literal["auto"]) -> int:
    """Return the number of workers; `auto` is one for each core that this process may use."""
    return available_cores() if setting == "auto" else setting


def available_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_MAX.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
