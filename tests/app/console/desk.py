"""A console without a network."""

from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from tests.collaboration.site import Site

from synkora.app.console.console import Console
from synkora.app.console.log_tail import LogTail
from synkora.app.health import make_app
from synkora.app.instance import Instance
from synkora.app.settings import Settings

SECRET = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="
TOKEN = "0123456789abcdef-of-the-console"


class Desk:
    """A site with its console, which gets requests as from the page."""

    def __init__(self, files: Path, site: Site | None = None, **given: Any) -> None:
        self.site = site or Site()
        self.tail = LogTail()
        settings = Settings(**{"NEXTAUTH_SECRET": SECRET, "CONSOLE_TOKEN": TOKEN, **given}, _env_file=None)
        instance = Instance(self.site.server, self.site.collaboration)
        self.console = Console(settings, instance, log_tail=self.tail, files=files)
        self.app: Starlette = make_app(instance, self.console.routes)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        options.setdefault("headers", {})
        options["headers"] = {"authorization": f"Bearer {TOKEN}", **options["headers"]}
        transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://synkora.example") as http:
            return await http.request(method, f"/console{path}", **options)

    async def ask(self, path: str, **parameters: Any) -> Any:
        answer = await self.send("GET", f"/api/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    async def act(self, path: str, **body: Any) -> Any:
        answer = await self.send("POST", f"/api/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refusal(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        answer = await self.send(method, f"/api/{path}", **options)
        assert list(answer.json()) == ["message"]
        return answer.status_code, answer.json()["message"]
