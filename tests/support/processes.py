"""Programs that a test runs as users run them."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Self

import psutil
from tests.support.forks import Fork

PATIENCE = 60  # seconds: far more than anything here takes on a busy machine, so that only what never comes fails

_PORTS = 1_000  # of a worker
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST_PORT = 12_000 + _WORKER % 20 * _PORTS
_OFFSETS = count(random.randrange(_PORTS))  # two test runs on a machine rarely meet


def free_port() -> int:
    """A free port of the loopback address, for programs that need to be told one.

    The port is below those that the system gives to connections (32,768 and more on Linux), and each worker of a test
    run has its own range: otherwise a connection, or another test, could take the port before the program does.
    """
    for offset in _OFFSETS:
        port = _FIRST_PORT + offset % _PORTS
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            pass
    raise AssertionError("unreachable: the offsets have no end")


class Program:
    """A process with the lines that it has written; it is ended, at the latest, when the `with` block is left."""

    def __init__(self, command: Sequence[str | Path], folder: Path, **variables: str) -> None:
        environment = {"PATH": os.environ["PATH"], **variables}
        self._watch(
            subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
            )
        )

    def _watch(self, process: subprocess.Popen[str] | Fork) -> None:
        self.process = process
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._changed = threading.Condition()
        self._open_pipes = 2
        assert process.stdout is not None
        assert process.stderr is not None
        pipes = ((process.stdout, self.stdout), (process.stderr, self.stderr))
        self._readers = [threading.Thread(target=self._read, args=pipe) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: IO[str], lines: list[str]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    lines.append(line.removesuffix("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._open_pipes -= 1
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            # A server that the program started would outlive the program, and keep open the pipes that are read here.
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    @property
    def output(self) -> str:
        return "\n".join([*self.stdout, *self.stderr])

    @property
    def rss(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def line(self, wanted: Callable[[str], bool]) -> str:
        """The first line of standard output that is `wanted`. Fails if none comes."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open_pipes or any(map(wanted, self.stdout)), PATIENCE)
            found = next(filter(wanted, self.stdout), None)
        assert found is not None, f"no such line in:\n{self.output}"
        return found

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.output

    def wait(self) -> int:
        """Its exit code, after its end and all its output. Fails if it does not end."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end:\n{self.output}") from None
        for reader in self._readers:
            reader.join()
        return code


class Synkora(Program):
    """`python -m synkora` with these arguments. `variables` are its environment, besides the PATH."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self._watch(Fork(arguments, folder, {"PATH": os.environ["PATH"], **variables}))
