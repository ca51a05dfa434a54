"""Runs a program that ends when its parent ends, however that happens: `PARENT PROGRAM ARGUMENT…`.

The signals that a supervisor sends to a whole process group do not reach the program: its parent ends it last.
A script of its own, since nothing should run in the parent between fork and exec: the parent has threads.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # prctl(2); it outlives execve(2)


def main() -> None:
    parent, program, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(1)  # the parent ended before prctl
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGINT, signal.SIGTERM})  # outlives execve(2) too
    os.execv(program, [program, *arguments])  # noqa: S606  # the program is the parent's choice


if __name__ == "__main__":
    main()
