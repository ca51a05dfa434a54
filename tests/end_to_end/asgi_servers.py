"""ASGI servers as their users start them: by their own commands, with an application that they import."""

import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.processes import PATIENCE, Program, free_port

_BIN: Final = Path(sys.executable).parent


class App(NamedTuple):
    """An application by its name for these commands, and the name of our server in the same module."""

    module: str
    name: str
    server: str = "server"


def _uvicorn(app: App, port: str) -> list[str]:
    return ["uvicorn", f"{app.module}:{app.name}", "--port", port]


#: The command of each.
COMMANDS: Final[dict[str, Callable[[App, str], list[str]]]] = {
    "uvicorn-fast": lambda app, port: [*_uvicorn(app, port), "--ws", f"{app.module}:{app.server}.websocket_protocol"],
    "uvicorn": _uvicorn,
    "hypercorn": lambda app, port: ["hypercorn", f"{app.module}:{app.name}", "--bind", f"127.0.0.1:{port}"],
    "granian": lambda app, port: ["granian", "--interface", "asgi", f"{app.module}:{app.name}", "--port", port],
}


class AsgiServer(Program):
    """One of these servers, in the folder of the application."""

    def __init__(self, command: str, app: App, folder: Path, **variables: str) -> None:
        self._port = free_port()
        program, *arguments = COMMANDS[command](app, str(self._port))
        super().__init__([_BIN / program, *arguments], folder, PYTHONDONTWRITEBYTECODE="1", **variables)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def wait_until_it_listens(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self._listens():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < until, self.output
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def stop(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        self.wait()


@contextmanager
def asgi_server(command: str, app: App, folder: Path, **variables: str) -> Iterator[AsgiServer]:
    """Run one. It has to stop without a traceback."""
    with AsgiServer(command, app, folder, **variables) as server:
        try:
            server.wait_until_it_listens()
            yield server
        finally:
            server.stop()
        assert "Traceback" not in server.output, server.output
