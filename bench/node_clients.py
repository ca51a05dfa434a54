"""Official clients in a process of Node.js."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.servers import PEERS, SECRET


@contextmanager
def node_clients(script: str, *arguments: object, ready: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script of `peers/node`, and wait until it prints the line `ready`. The process ends with the block."""
    argv = ["node", str(PEERS / "node" / script), *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "NEXTAUTH_SECRET": SECRET}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == ready + b"\n"
            yield process
        finally:
            process.kill()
