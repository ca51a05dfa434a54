"""Starts a Redis of the workers' own, on a Unix socket in their folder, which ends with the parent."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

from synkora.app.workers import ending_with_parent

PROGRAMS: Final = ("redis-server", "valkey-server")
NOT_INSTALLED: Final = (
    "several workers share a Redis, and neither redis-server nor valkey-server is installed: apt install redis-server "
    "(Debian, Ubuntu), set REDIS_URL, or set WS_WORKERS=1"
)
_WITHIN: Final = 10.0  # seconds for the start
_MOST_CLIENTS: Final = 900  # below the usual limit of 1,024 open files


class PrivateRedisFailed(Exception):
    """The private Redis does not start. The message is one line for the operator."""


def find_program() -> str | None:
    """Return the path of a Redis server, or None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class PrivateRedis:
    """The process of a Redis without a port and without persistence. Its socket and its log are in `folder`."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._socket = folder / "redis.sock"
        self._log = folder / "redis.log"
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    async def start(self) -> subprocess.Popen[bytes]:
        """Start it, and return its process when it answers. Raises `PrivateRedisFailed`."""
        self.process = self._spawn()
        try:
            async with asyncio.timeout(_WITHIN):
                while not await self._answers():
                    if self.process.poll() is not None:
                        raise PrivateRedisFailed(f"{self._program} does not start: {self._last_words()}")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self.kill()
            raise PrivateRedisFailed(f"{self._program} does not answer: {self._last_words()}") from None
        return self.process

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "save": "",
            "appendonly": "no",
            "maxclients": str(_MOST_CLIENTS),
            "loglevel": "warning",
            "logfile": str(self._log),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        launcher = [sys.executable, "-I", "-S", ending_with_parent.__file__, str(os.getpid()), self._program]
        self._log.unlink(missing_ok=True)
        try:
            return subprocess.Popen(  # noqa: S603  # found in PATH, with arguments of ours
                [*launcher, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0
            )
        except OSError as error:
            raise PrivateRedisFailed(f"{self._program} does not start: {error.strerror}") from None

    def kill(self) -> None:
        """End it at once: it has nothing to save."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        except OSError:
            return False
        finally:
            writer.close()

    def _last_words(self) -> str:
        try:
            return self._log.read_text(errors="replace").strip().rpartition("\n")[2] or "it says nothing"
        except OSError:
            return "it says nothing"
