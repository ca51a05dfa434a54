"""The application's choice of CORS headers."""

from typing import Any

import httpx
import pytest
from tests.support.processes import PATIENCE
from tests.support.servers import serving

from synkora import Cors, SocketServer

PAGE = "https://app.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "X-Mine, X-Other",
}
ALLOWED = "access-control-allow-"


async def headers_of(server: SocketServer, method: str, origin: str = PAGE) -> dict[str, str]:
    """The headers of CORS in a response, by their names without `access-control-`."""
    async with serving(server) as address, httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        answer = await http.request(method, address.url(), headers={**PREFLIGHT, "Origin": origin})
    found = answer.headers.items()
    return {name.removeprefix("access-control-"): value for name, value in found if name.startswith("access-control-")}


async def test_credentials_and_the_headers_that_are_asked_for_are_allowed_by_default() -> None:
    server = SocketServer(origins=[PAGE])
    assert await headers_of(server, "OPTIONS") == {
        "allow-origin": PAGE,
        "allow-credentials": "true",
        "allow-methods": "GET, POST, OPTIONS",
        "allow-headers": "X-Mine, X-Other",
        "max-age": "600",
    }


async def test_the_application_chooses() -> None:
    """Credentials, headers of requests and of responses, and the lifetime of a preflight."""
    cors = Cors(credentials=False, allow_headers=("X-Mine",), expose_headers=("X-Request-Id",), max_age=5)
    server = SocketServer(origins=[PAGE], cors=cors)
    assert await headers_of(server, "OPTIONS") == {
        "allow-origin": PAGE,
        "allow-methods": "GET, POST, OPTIONS",
        "allow-headers": "X-Mine",
        "expose-headers": "X-Request-Id",
        "max-age": "5",
    }


@pytest.mark.parametrize("cors", [Cors(), Cors(credentials=False)])
async def test_other_pages_get_nothing(cors: Any) -> None:
    found = await headers_of(SocketServer(origins=[PAGE], cors=cors), "GET", "https://evil.example")
    assert "allow-origin" not in found
    assert "allow-credentials" not in found
