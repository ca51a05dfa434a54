"""Starts `python -m synkora` repeatedly, from one interpreter that has loaded the libraries: see forks.py.

Importing the libraries is most of a start: a second of CPU. Each process imports the package itself, in its own
folder and environment.
"""

import array
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any


def load_libraries() -> None:
    """Import all libraries of the server, but nothing of the project."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        importlib.import_module("synkora.app.commands")
        importlib.import_module("synkora.app.server")
        with os.fdopen(writing, "w") as pipe:
            json.dump([name for name in sys.modules if name.partition(".")[0] not in ("synkora", "__main__")], pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        names = json.load(pipe)
    os.wait()
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # a module that a library has made


def serve(orders: socket.socket) -> dict[str, Any]:
    """Fork a process for each order until there are no more. Returns, in each process, its program."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for the keepers
    while True:
        text, ancillary, _, _ = orders.recvmsg(65_536, socket.CMSG_SPACE(12))
        if not text:
            os._exit(0)
        files = array.array("i", ancillary[0][2])
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            orders.close()
            keep(files[2])
            os.dup2(files[0], 1)
            os.dup2(files[1], 2)
            os.closerange(3, max(files) + 1)
            order: dict[str, Any] = json.loads(text)
            return order
        for file in files:
            os.close(file)


def keep(status: int) -> None:
    """Return in a new process, the program. The keeper reports its id and, in the end, its exit code."""
    process = os.fork()
    if process:
        os.closerange(0, status)
        os.write(status, b"%d\n" % process)
        _, code = os.waitpid(process, 0)
        os.write(status, b"%d\n" % os.waitstatus_to_exitcode(code))
        os._exit(0)


if __name__ == "__main__":
    del sys.path[0]  # this file's folder
    load_libraries()
    order = serve(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.path.insert(0, order["folder"])  # as `python -m` does
    sys.argv[1:] = order["arguments"]
    runpy.run_module("synkora", run_name="__main__", alter_sys=True)
