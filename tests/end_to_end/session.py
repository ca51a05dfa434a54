"""What tests ask the fixtures for, and what happens on the way into a project."""

import asyncio
import re
from typing import Any, Protocol

import httpx
from tests.end_to_end.clients import Client, Way
from tests.end_to_end.people import Person
from tests.end_to_end.server_process import ServerProcess
from tests.support.processes import PATIENCE

PROJECT = "proj_456"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class StartServer(Protocol):
    """Starts servers, which are stopped when the test is over."""

    def __call__(self, **variables: str) -> ServerProcess:
        """Start one with these settings."""
        ...


class Connect(Protocol):
    """Connects clients, which are disconnected when the test is over."""

    async def __call__(
        self,
        person: Person,
        *,
        url: str | None = None,
        way: Way | None = None,
        auth: Any = ...,
        headers: dict[str, str] | None = None,
        upgraded: bool = True,
    ) -> Client:
        """Connect somebody, with their token unless `auth` is something else, and take `connected` from the events.

        A client that upgrades is waited for until it has, unless `upgraded` is false.
        """
        ...


async def join(client: Client, *others: Client, project: str = PROJECT) -> None:
    """Join a project, and take from everyone's events what that tells them; `others` are in the project already."""
    await client.emit("join-project", project)
    await client.expect("users:active")
    await client.expect("users:count")
    for other in others:
        await other.expect("user:joined")
        await other.expect("users:count")


async def expect_health(server: ServerProcess, **wanted: object) -> dict[str, Any]:
    """Wait until `/health` says what is `wanted`; return all that it says."""
    health: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        try:
            async with asyncio.timeout(PATIENCE):
                while not wanted.items() <= health.items():
                    await asyncio.sleep(0.02)
                    health = (await http.get("/health")).json()
        except TimeoutError:
            raise AssertionError(f"{wanted} is not in {health}") from None
    return health
