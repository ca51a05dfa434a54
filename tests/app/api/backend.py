"""The app's backend, which uses the HTTP API of a site without a network."""

from typing import Any

import httpx
from starlette.applications import Starlette
from tests.collaboration.site import Site

from synkora.app.api.routes import ApiRoute
from synkora.app.health import make_app
from synkora.app.instance import Instance

TOKENS = ("0123456789abcdef-of-the-backend", "the-token-that-replaces-it")


class Backend:
    """A site with its API, which gets requests on its port 3001."""

    def __init__(self, site: Site | None = None, **given: Any) -> None:
        self.site = site or Site(recovery=True)
        self.instance = Instance(self.site.server, self.site.collaboration)
        options = {"rate": 0, "max_body": 100_000, **given}
        self.route = ApiRoute(self.instance, TOKENS, **options)
        self.app: Starlette = make_app(self.instance, [self.route])

    async def send(self, method: str, path: str, token: str = TOKENS[0], **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", **options.pop("headers", {})}
        transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://synkora.example:3001") as http:
            return await http.request(method, f"/api/v1{path}", headers=headers, **options)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer to a request that is not refused."""
        options = {} if body is None else {"json": body}
        answer = await self.send(method, path, headers=headers, **options)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    async def problem(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """The status and the detail of a refusal, in Problem Details."""
        answer = await self.send(method, path, **options)
        assert answer.headers["content-type"] == "application/problem+json"
        assert list(answer.json()) == ["title", "status", "detail"]
        assert answer.json()["status"] == answer.status_code
        return answer.status_code, answer.json()["detail"]
