"""Health and readiness, as a load balancer or a browser requests them."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import pytest_asyncio
from tests.collaboration.site import Site, token_of
from tests.support.clients import Polling, socketio
from tests.support.processes import PATIENCE
from tests.support.servers import Address, serving, until

from synkora.app.database_outbox import DatabaseOutbox
from synkora.app.health import make_app
from synkora.app.instance import Instance


class TroubledInstance(Instance):
    trouble: str | None = None

    @property
    def problem(self) -> str | None:
        return self.trouble


class TroubledSite(Site):
    def __init__(self) -> None:
        super().__init__()
        self.instance = TroubledInstance(self.server, self.collaboration)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[TroubledSite]:
    site = TroubledSite()
    async with serving(site.server, app=make_app(site.instance)) as address:
        site.address = address
        yield site


async def ask(address: Address, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        return await http.request(method, address.http + path)


@pytest.mark.parametrize("path", ["/health", "/", "/health?verbose=1"])
async def test_health(site: Site, path: str) -> None:
    """State, start time and counts, in the contract's fields and order."""
    answer = await ask(site.address, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    health = json.loads(answer.text)
    assert list(health) == ["status", "service", "uptime", "connections", "rooms"]
    assert health.pop("uptime") >= 0
    assert health == {"status": "healthy", "service": "Synkora WebSocket Server", "connections": 0, "rooms": 0}


async def test_health_counts_users_and_projects(site: Site) -> None:
    """`connections` counts signed-in clients, and `rooms` counts projects with members."""

    async def counts() -> tuple[int, int]:
        health = (await ask(site.address, "/health")).json()
        return health["connections"], health["rooms"]

    async with socketio(site.address, {"token": token_of("Alice")}) as alice:
        async with socketio(site.address, {"token": token_of("Bob")}) as bob:
            for client in (alice, bob):
                await client.event()
                await client.emit("join-project", "p1")
            await alice.emit("join-project", "p2")
            await until(lambda: site.collaboration.presence.project_count == 2)
            assert await counts() == (2, 2)
        await until(lambda: site.collaboration.connections == 1)
        assert await counts() == (1, 2)
    await until(lambda: site.collaboration.connections == 0)
    assert await counts() == (0, 0)


async def test_uptime_continues(site: Site) -> None:
    first, second = [(await ask(site.address, "/health")).json()["uptime"] for _ in range(2)]
    assert 0 <= first <= second < 60


async def test_head(site: Site) -> None:
    answer = await ask(site.address, "/health", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/health"])
async def test_options_is_a_health_check(site: Site, path: str) -> None:
    assert (await ask(site.address, path, "OPTIONS")).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_other_methods(site: Site, method: str) -> None:
    """404: only GET, HEAD and OPTIONS are served."""
    assert (await ask(site.address, "/health", method)).status_code == 404


@pytest.mark.parametrize(
    "path", ["/health/", "/healthz", "/ready/", "/socket.iox", "/socket.ioo/", "/.env", "//", "/health/../x"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_other_paths_are_not_found(site: Site, path: str, method: str) -> None:
    assert (await ask(site.address, path, method)).status_code == 404


@pytest.mark.parametrize("path", ["/socket.io/", "/socket.io"])
async def test_socketio_is_beside_them(site: Site, path: str) -> None:
    """The server itself answers requests below Socket.IO's path."""
    answer = await ask(site.address, path)
    assert answer.status_code == 400
    assert answer.json() == {"code": 0, "message": "Transport unknown"}


async def test_the_server_does_not_name_its_software(site: Site) -> None:
    assert "server" not in (await ask(site.address, "/health")).headers


async def test_readiness(site: Site) -> None:
    """New clients may be sent to this instance."""
    answer = await ask(site.address, "/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_apart_from_the_other_instances(site: TroubledSite) -> None:
    """Health has the reason and stays 200, since existing clients are served. Readiness is 503 meanwhile."""
    site.instance.trouble = "nothing listens at the address of Redis"
    health = await ask(site.address, "/health")
    assert health.status_code == 200
    assert list(health.json()) == ["status", "reason", "service", "uptime", "connections", "rooms"]
    assert health.json()["status"] == "degraded"
    assert health.json()["reason"] == site.instance.trouble
    answer = await ask(site.address, "/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "reason": site.instance.trouble})
    site.instance.trouble = None
    assert (await ask(site.address, "/health")).json()["status"] == "healthy"
    assert (await ask(site.address, "/ready")).status_code == 200


async def test_health_and_readiness_while_the_server_stops(site: Site) -> None:
    """Until the last client has left, so that load balancers send no new clients."""
    async with Polling(site.address) as late:
        stopping = asyncio.create_task(site.server.close(5))
        await until(lambda: site.server._registry.is_closing)
        assert (await ask(site.address, "/health")).json()["status"] == "shutting down"
        answer = await ask(site.address, "/ready")
        assert (answer.status_code, answer.json()["reason"]) == (503, "the server is shutting down")
        assert await late.poll() == ["1"]
        assert await stopping


async def test_the_words_of_a_database_are_not_public(site: Site) -> None:
    """They may name its host and its user: they are in the log alone."""
    outbox = cast("DatabaseOutbox", SimpleNamespace(problem="user app at 10.0.0.5:5432 is refused"))
    instance = Instance(site.server, site.collaboration, outbox=outbox)
    assert instance.problem == "the database outbox cannot be read: the log has the reason"
    assert instance.status.reason == instance.problem
