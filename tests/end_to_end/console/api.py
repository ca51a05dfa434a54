"""The console's API as its page uses it."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from tests.support.processes import PATIENCE
from tests.support.server_process import ServerProcess

TOKEN = "the-token-of-the-console-5be01c9a"


class ConsoleApi:
    """The console of one server, with the token. All its answers are in `told`."""

    def __init__(self, server: ServerProcess, token: str | None = TOKEN) -> None:
        self.told: list[str] = []
        self._url = f"{server.url}/console/api/"
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def ask(self, path: str, **parameters: str | int) -> Any:
        answer = await self._send("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def act(self, path: str, **body: str | int) -> Any:
        answer = await self._send("POST", path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, headers=self._headers) as http:
            answer = await http.request(method, self._url + path, **options)
        self.told.append(answer.text)
        return answer

    async def until(self, path: str, wanted: Callable[[Any], bool], **parameters: str | int) -> Any:
        """The first answer that is as wanted. Fails if none comes."""
        found: Any = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not wanted(found := await self.ask(path, **parameters)):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not as wanted: {found}") from None
        return found
