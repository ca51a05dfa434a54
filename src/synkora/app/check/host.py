"""Checks of the machine's capacity for clients."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from synkora.app.check.finding import Finding, risky, skipped, well
from synkora.app.settings import Settings
from synkora.serving.listen import BACKLOG

_OTHER_FILES: Final = 100  # besides clients: Redis, the app or its database, libraries, listening sockets
_SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")
# A container's memory limit, in cgroups v2 and v1.
_MEMORY_LIMITS: Final = tuple(map(Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")))
_GB: Final = 1_000_000_000


def check_files(settings: Settings) -> Iterator[Finding]:
    """Check that there are enough file descriptors for all clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = settings.limit_clients
    if soft == resource.RLIM_INFINITY:
        yield well("files", "a process may have any number of files open")
    elif not clients:
        yield risky("files", f"LIMIT_CLIENTS is 0, and {soft} files may be open", f"Set it below {soft}")
    elif clients + _OTHER_FILES > soft:
        if settings.environment == "development":
            yield skipped("files", f"{soft} may be open, which will do for development")
            return
        needed = clients + _OTHER_FILES
        may = "" if hard == resource.RLIM_INFINITY or hard >= needed else f", which takes root: the limit is {hard}"
        yield risky(
            "files",
            f"{clients} clients may come (LIMIT_CLIENTS), and {soft} files may be open, one for each",
            f"Set LIMIT_CLIENTS to the clients that you expect; or allow {needed} files: LimitNOFILE={needed} for "
            f"systemd, ulimit -n {needed} in a shell{may}",
        )
    else:
        yield well("files", f"{soft} may be open, and {clients} clients may come")


def check_memory(settings: Settings) -> Iterator[Finding]:
    """Check that the memory suffices if all clients stop reading."""
    memory, clients, outbox = _memory(), settings.limit_clients, settings.max_outbox
    if not clients:
        yield risky("memory", "LIMIT_CLIENTS is 0: clients may fill any memory", "Set it to those that you expect")
    elif clients * outbox <= memory:
        yield well("memory", f"{_size(memory)}, more than the backlogs of {clients} clients that stop reading")
    elif settings.environment == "development":
        yield skipped("memory", f"{_size(memory)}, which will do for development")
    else:
        yield risky(
            "memory",
            f"{clients} clients (LIMIT_CLIENTS) that all stop reading could hold {_size(clients * outbox)} "
            f"(WS_MAX_OUTBOX each), and there are {_size(memory)}",
            f"Set LIMIT_CLIENTS to the clients that you expect: {memory // outbox} could hold no more than there is. "
            "Or limit only this process's memory: MemoryMax= for systemd",
        )


def check_backlog(settings: Settings) -> Iterator[Finding]:
    """Check that the listen backlog can hold all clients when they reconnect at once."""
    if not _SOMAXCONN.exists():
        yield skipped("backlog", "this system does not say how many connections may wait")
        return
    most, wanted = int(_SOMAXCONN.read_text()), min(BACKLOG, settings.limit_clients or BACKLOG)
    if most < wanted:
        yield risky(
            "backlog",
            f"{most} connections may wait to be taken, and after a restart {wanted} may come at once",
            f"sysctl -w net.core.somaxconn={BACKLOG}, and the same in /etc/sysctl.d",
        )
    else:
        yield well("backlog", f"{most} connections may wait to be taken")


def check_user(settings: Settings) -> Iterator[Finding]:
    """Check that the server does not run as root."""
    if os.geteuid():
        yield well("user", "not root")
    elif settings.environment == "production":
        yield risky("user", "root, which may do anything on this machine", "Run the server as its own user")
    else:
        yield skipped("user", "this is root, which will do for development")


def _memory() -> int:
    """The memory available to the process, in bytes."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in _MEMORY_LIMITS if path.exists()]
    return min([most, *(int(limit) for limit in limits if limit.isdigit())])


def _size(size: int) -> str:
    return f"{size / _GB:.1f} GB"
