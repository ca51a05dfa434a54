"""Helpers of the tests with nginx."""

from typing import Any

import httpx
from tests.support.processes import PATIENCE
from tests.support.server_process import ServerProcess

HANDSHAKE = {"EIO": "4", "transport": "polling"}
#: Sessions that a test leaves behind are not waited for.
BEHIND_PROXY = {"TRUSTED_PROXIES": "127.0.0.1", "SHUTDOWN_TIMEOUT": "0.2"}


def ports_of(servers: list[ServerProcess]) -> list[int]:
    return [server.port for server in servers]


def client_of(url: str, **options: Any) -> httpx.AsyncClient:
    """An HTTP client for Socket.IO's path."""
    return httpx.AsyncClient(base_url=f"{url}/socket.io/", timeout=PATIENCE, trust_env=False, **options)


async def knows(http: httpx.AsyncClient, sid: str) -> bool:
    answer = await http.post("", params={**HANDSHAKE, "sid": sid}, content="6")
    if answer.status_code == 200:
        return True
    assert answer.status_code == 400
    assert answer.json()["message"] in ("Session ID unknown", "Bad handshake method")
    return False
