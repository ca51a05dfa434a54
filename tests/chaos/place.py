"""A place where an instance runs, and its connection to Redis."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from tests.chaos.record import Instance
from tests.support.relay import Relay
from tests.support.server_process import ServerProcess
from tests.support.wire import Connection, request

SOURCE = os.pathsep.join(filter(None, sys.path))  # so that all processes run what the tests run
#: A client that has vanished is noticed after both together; an instance that stood still has to have time for a pong.
PINGS = {"WS_PING_INTERVAL": "3", "WS_PING_TIMEOUT": "10"}
SETTINGS = {"PYTHONPATH": SOURCE, "PRESENCE_GRACE": "5", "LOG_LEVEL": os.environ.get("LOG_LEVEL", "warning"), **PINGS}


class Place:
    """The place of successive instances on one port. `process` is None while none runs."""

    def __init__(self, number: int, relay: Relay, folder: Path) -> None:
        self.number = number
        self.relay = relay
        self.port = 0
        self.process: ServerProcess | None = None
        self.life = Instance(number)
        self.is_paused = False
        self._outputs: list[str] = []
        self._folder = folder

    @property
    def output(self) -> str:
        running = [] if self.process is None else [self.process.output]
        return "\n---\n".join([*self._outputs, *running])

    async def start(self) -> None:
        """Start an instance on the port of the previous one."""
        url = f"redis://127.0.0.1:{self.relay.port}"
        variables = {"REDIS_URL": url, "WS_PORT": str(self.port), **SETTINGS}
        self.life = Instance(self.number)  # which may have clients before it says so
        self.process = await asyncio.to_thread(lambda: ServerProcess(self._folder, **variables))
        self.port = self.process.port

    async def kill(self) -> None:
        self.life.stopping = time.monotonic()
        process, self.process = self.process, None
        if process is not None:
            await asyncio.to_thread(process.kill)
            self._outputs.append(process.output)

    async def stop(self) -> None:
        self.life.stopping = time.monotonic()
        process, self.process = self.process, None
        if process is not None:
            code = await asyncio.to_thread(process.stop)
            self._outputs.append(process.output)
            assert code == 0, process.output

    def pause(self) -> None:
        assert self.process is not None
        self.is_paused = True
        self.process.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.is_paused = False
        self.process.process.send_signal(signal.SIGCONT)

    async def is_healthy(self) -> bool:
        """Whether its health is `ok`."""
        if self.process is None or self.is_paused:
            return False
        try:
            async with asyncio.timeout(1):
                connection = await Connection.open(self.port, "127.0.1.1")
                try:
                    await connection.send(request("GET", "/health"))
                    answer = await connection.response()
                finally:
                    connection.abort()
        except (OSError, EOFError, TimeoutError):
            return False
        return bool(json.loads(answer.body)["status"] == "healthy")
