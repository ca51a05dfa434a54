"""Redis, as a process that is stopped by its id."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import hiredis
from tests.support.processes import PATIENCE, free_port


def valkey() -> str:
    """Valkey's server, from the system or from `make valkey`."""
    found = shutil.which("valkey-server") or shutil.which("valkey-server", path=str(Path(sys.executable).parent))
    assert found is not None, "make valkey unpacks valkey-server"
    return found


class RedisServer:
    """A Redis on a free port of the loopback address and on a Unix socket, which keeps nothing in files.

    `options` are those of redis-server, or of another `program` that takes the same. With `tls`, a certificate and its
    key, it has a second port, for TLS, which it names to other servers if `options` let it use TLS with them.
    """

    def __init__(
        self,
        *options: str,
        password: str | None = None,
        tls: tuple[Path, Path] | None = None,
        program: str = "redis-server",
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="synkora-redis-"))
        self.socket = self.folder / "redis.sock"
        self.port = free_port()
        self.tls_port = free_port() if tls else 0
        self._password = password
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        # A Sentinel needs a file that it can write to; others accept an empty one.
        config = self.folder / "redis.conf"
        config.touch()
        self._options = [str(config), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        self._options += ["--save", "", "--appendonly", "no", "--unixsocket", str(self.socket)]
        if tls:
            self._options += ["--tls-port", str(self.tls_port), "--tls-auth-clients", "no"]
            self._options += ["--tls-cert-file", str(tls[0]), "--tls-key-file", str(tls[1])]
            self._options += ["--tls-ca-cert-file", str(tls[0])]
        if password is not None:
            self._options += ["--requirepass", password]
        self._options += options

    @property
    def url(self) -> str:
        credentials = "" if self._password is None else f":{quote(self._password, safe='')}@"
        return f"redis://{credentials}127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> Self:
        """Start it, on its former port and this time with more options, and wait until it answers."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen([self._program, *self._options, *options], stdout=output, stderr=output)
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < until, "Redis does not start"
            time.sleep(0.005)
        return self

    def pause(self) -> None:
        """Freeze it: its connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Remove the files of one that keeps its memory (`--appendonly yes`) and has ended."""
        shutil.rmtree(self.folder / "appendonlydir")

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def do(self, *command: str | bytes | int) -> Any:
        """The reply to a command. Raises an error reply."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            if self._password is not None:
                _ask(client, "AUTH", self._password)
            reply = _ask(client, *command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
                _ask(client, "PING")
        except ConnectionError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def running_redis(
    *options: str, password: str | None = None, tls: tuple[Path, Path] | None = None
) -> Iterator[RedisServer]:
    """A Redis for the length of a `with` block."""
    server = RedisServer(*options, password=password, tls=tls)
    try:
        yield server.start()
    finally:
        server.remove()


def _ask(client: socket.socket, *command: str | bytes | int) -> Any:
    client.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub allows only commands of one word
    nothing = object()
    reader = hiredis.Reader(notEnoughData=nothing)
    while (reply := reader.gets()) is nothing:
        received = client.recv(65_536)
        if not received:
            raise ConnectionResetError
        reader.feed(received)
    return reply
