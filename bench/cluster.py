"""Several instances of a server that are one, joined through a Redis of their own."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.servers import Server, running

_REDIS = "redis-server"


def has_redis() -> bool:
    """Whether there is a Redis to join instances."""
    return shutil.which(_REDIS) is not None


def redis() -> Server:
    """A Redis that keeps nothing."""
    return Server(
        "Redis",
        lambda port: [_REDIS, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"],
    )


@contextmanager
def running_instances(
    server: Server, instances: int, folder: Path, cores: tuple[int, int], *, spare: bool = False
) -> Iterator[list[str]]:
    """Start a server, or several instances of it; yields the options of load.c for them.

    The instances share the first core; Redis is on the second one, with the load. `spare` is one more instance, which
    gets no clients. Raises `ServerFailed`.
    """
    server_core, load_core = cores
    told = []
    with ExitStack() as started:
        if instances > 1:
            pid, port = started.enter_context(running(redis(), folder, load_core))
            joined = {"REDIS_URL": f"redis://127.0.0.1:{port}"}
            server = replace(server, environment=server.environment | joined)
            told.append(f"--redis={pid}")
        pids, ports = zip(
            *(started.enter_context(running(server, folder, server_core)) for _ in range(instances)), strict=True
        )
        told += [f"--pids={','.join(map(str, pids))}", f"--port={','.join(map(str, ports))}"]
        if spare:
            pid, _ = started.enter_context(running(server, folder, server_core))
            told.append(f"--spare={pid}")
        yield told
