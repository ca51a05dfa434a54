"""The server as users start it: its own process, configured by its environment."""

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from tests.support.processes import PATIENCE, Synkora
from tests.support.users import ISSUED, SECRET

_PORT = re.compile(
    r'(?:Server running on port: |"event":"started","instanceId":"[A-Za-z0-9]+",(?:"worker":\d+,)?"port":)(\d+)'
)


class ServerProcess(Synkora):
    """`synkora serve`; `variables` are its settings, besides a secret, loopback and a free port.

    The folder has no .env.local. Lost connections leave at once, or clients of one test would leave in the next one.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        given = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0", "PRESENCE_GRACE": "0", **variables}
        super().__init__(folder, "serve", **given)
        self._is_signalled = False
        try:
            found = _PORT.search(self.line(lambda line: _PORT.search(line) is not None))
        except AssertionError:
            self.kill()
            raise
        assert found is not None
        self.port = int(found[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._is_signalled = True
        super().signal(number)

    def wait(self) -> int:
        """Wait for its end, and return its exit code. Fails if it does not end, or has written a secret."""
        code = super().wait()
        leaked = [text for text in (SECRET, *ISSUED) if text in self.output]
        assert not leaked, f"the server wrote a secret: {leaked}"
        assert "library_error" not in self.output, self.output  # a task or a callback has failed unseen
        return code

    def stop(self) -> int:
        """Stop it as a service manager does, and return its exit code."""
        if self.process.poll() is None and not self._is_signalled:
            self.signal()
        return self.wait()


#: Starts a server with these settings, which is stopped when the test is over.
StartServer = Callable[..., ServerProcess]


async def expect_health(server: ServerProcess, **wanted: object) -> dict[str, Any]:
    """Wait until `/health` has the `wanted` values, and return its whole response."""
    health: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        try:
            async with asyncio.timeout(PATIENCE):
                while not wanted.items() <= (health := (await http.get("/health")).json()).items():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{wanted} is not in {health}") from None
    return health
