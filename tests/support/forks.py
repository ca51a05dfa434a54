"""Processes of `python -m synkora` that start within a moment, since their libraries are loaded: see preloaded.py."""

import array
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_PRELOADED = Path(__file__).with_name("preloaded.py")


@cache
def _orders() -> socket.socket:
    """The input of the interpreter that forks. It ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        interpreter = subprocess.Popen(
            [sys.executable, _PRELOADED, str(theirs.fileno())],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # as the processes have: Python looks once whether it can seek there
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(interpreter.communicate)
    atexit.register(ours.close)  # before that, so that it ends
    return ours


class Fork:
    """A process of `python -m synkora` with these arguments, to be used as one of `subprocess.Popen` is.

    Variables that Python reads when it starts, such as PYTHONIOENCODING, have no effect.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.returncode: int | None = None
        pipes = [os.pipe() for _ in range(3)]
        self.stdout, self.stderr, self._status = (
            os.fdopen(reading, encoding="utf-8", newline="\n") for reading, _ in pipes
        )
        theirs = array.array("i", [writing for _, writing in pipes])
        order = {"arguments": arguments, "folder": str(folder), "environment": environment}
        _orders().sendmsg([json.dumps(order).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, theirs)])
        for file in theirs:
            os.close(file)
        self.pid = int(self._status.readline())
        self._ended = select.poll()
        self._ended.register(self._status, select.POLLIN)
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code after its end. Raises `subprocess.TimeoutExpired`."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("synkora", timeout or 0)
        return code

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._ended.poll(None if timeout is None else timeout * 1000):
            with self._reading:
                if self.returncode is None:
                    self.returncode = int(self._status.readline())
                    self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(folder: Path, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `python -m synkora` with these arguments to its end. Its stderr must fit into a pipe."""
    process = Fork(arguments, folder, environment)
    with process.stdout, process.stderr:
        output, errors = process.stdout.read(), process.stderr.read()
    return subprocess.CompletedProcess(arguments, process.wait(), output, errors)
