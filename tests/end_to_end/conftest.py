from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio

from tests.end_to_end.clients import WAYS, Client, Way
from tests.end_to_end.node_process import NodeProcess
from tests.end_to_end.people import Person
from tests.end_to_end.server_process import ServerProcess

PROJECT = "proj_456"


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
        join: str | None = None,
        auth: Any = ...,
        headers: dict[str, str] | None = None,
    ) -> Client:
        """Connect somebody, take `connected` from the events, and with `join` let them join a project as its first."""
        ...


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers for one test; those that still run at its end have to stop without a complaint."""
    servers: list[ServerProcess] = []

    def start(**variables: str) -> ServerProcess:
        servers.append(ServerProcess(tmp_path, **variables))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.returncode is None:
            assert server.stop() == 0, server.output


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for all tests that need no settings of their own."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0, server.output
    assert not server.stderr


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def node() -> AsyncIterator[NodeProcess]:
    """One process of Node.js for all JavaScript clients."""
    node = await NodeProcess.start("remote-sockets.mjs")
    yield node
    await node.stop()


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    """Which client, and over which transports."""
    way: Way = request.param
    return way


@pytest_asyncio.fixture(loop_scope="session")
async def connect_by(server: ServerProcess, node: NodeProcess) -> AsyncIterator[Connect]:
    """Connects people, each the way that the test says."""
    clients: list[Client] = []

    async def connect(
        person: Person,
        *,
        url: str | None = None,
        way: Way | None = None,
        join: str | None = None,
        auth: Any = ...,
        headers: dict[str, str] | None = None,
    ) -> Client:
        client = Client(person.name, way or WAYS["js-websocket"], node)
        clients.append(client)
        await client.connect(url or server.url, {"token": person.token} if auth is ... else auth, headers)
        await client.expect("connected")
        if join is not None:
            await client.emit("join-project", join)
            await client.expect("users:active")
            await client.expect("users:count")
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def connect(connect_by: Connect, way: Way) -> Connect:
    """Connects people, all of them the way that the test is run in."""

    async def connect(person: Person, **details: Any) -> Client:
        return await connect_by(person, **{"way": way, **details})

    return connect


async def see_joining(present: Sequence[Client]) -> None:
    """Take from the events of those who are `present` what a join tells them."""
    for client in present:
        await client.expect("user:joined")
        await client.expect("users:count")
