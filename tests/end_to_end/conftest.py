import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.access.fixtures import app, app_process, postgres
from tests.end_to_end.app_visitors import AppVisitor
from tests.end_to_end.browser import start_chromium
from tests.end_to_end.bystanders import MALLORY, Bystanders
from tests.end_to_end.raw import RawClient, RawPolling, RawWebSocket
from tests.support.collector import Collector
from tests.support.node_process import NodeProcess
from tests.support.real_clients import WAYS, Client, Connect, Way, join
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB, User

__all__ = ["app", "app_process", "postgres"]


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run all tests of this folder in one event loop, since they share browsers, Node.js and servers.

    The mark must exist before pytest-asyncio reads it: otherwise each test has its own loop, and pytest starts
    everything that lives in the loop again for each test.
    """
    if inspect.iscoroutinefunction(metafunc.function):
        mark = pytest.mark.asyncio(loop_scope="session")
        metafunc.definition.add_marker(mark)
        mark(metafunc.function)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers for one test. Those that still run at its end must stop without an error."""
    servers: list[ServerProcess] = []

    def start(**variables: str) -> ServerProcess:
        servers.append(ServerProcess(tmp_path, **variables))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.returncode is None:
            assert server.stop() == 0, server.output


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for all tests of a module without settings of their own."""
    # All tests have one address, and some send larger bursts than users.
    limits = {"LIMIT_FAILED_SIGN_INS": "0", "LIMIT_EDIT_RATE": "1000"}
    # Refusals by polling wait for an upgrade, as long as an upgrade may take.
    server = ServerProcess(tmp_path_factory.mktemp("server"), WS_UPGRADE_TIMEOUT="2", **limits)
    yield server
    assert server.stop() == 0, server.output
    assert not server.stderr


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def node() -> AsyncIterator[NodeProcess]:
    """One process of Node.js for all JavaScript clients."""
    node = await NodeProcess.start("remote-sockets.mjs")
    yield node
    await node.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[NodeProcess]:
    chromium = await start_chromium()
    yield chromium
    await chromium.stop()


@pytest.fixture(params=WAYS.values(), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    way: Way = request.param
    return way


@pytest_asyncio.fixture(loop_scope="session")
async def connect_by(server: ServerProcess, node: NodeProcess) -> AsyncIterator[Connect]:
    """Connects users, by default in JavaScript over WebSocket, and takes `connected` from the events.

    They send their tokens unless `auth` is given. A client that upgrades has finished its upgrade, unless
    `upgraded` is false. The server has no clients of the test before: a client does not wait for its own disconnect.
    """
    await expect_health(server, connections=0)
    clients: list[Client] = []

    async def connect(
        user: User,
        *,
        url: str | None = None,
        way: Way | None = None,
        auth: Any = ...,
        headers: dict[str, str] | None = None,
        upgraded: bool = True,
    ) -> Client:
        client = Client(user.name, way or WAYS["js-websocket"], node)
        clients.append(client)
        await client.connect(url or server.url, {"token": user.token} if auth is ... else auth, headers)
        if upgraded and client.way.upgrades:
            await client.upgraded()
        connected = await client.expect("connected")
        assert connected["socketId"] == client.id
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def connect(connect_by: Connect, way: Way) -> Connect:
    """Connects users with the client and transports of the test's parameter."""

    async def connect(user: User, **details: Any) -> Client:
        return await connect_by(user, **{"way": way, **details})

    return connect


@pytest_asyncio.fixture(loop_scope="session")
async def bystanders(connect_by: Connect) -> Bystanders:
    """Alice over WebSocket and Bob by polling, in one project."""
    alice, bob = await connect_by(ALICE), await connect_by(BOB, way=WAYS["js-polling"])
    await join(alice)
    await join(bob, alice)
    return Bystanders(alice, bob)


CARRIERS: dict[str, type[RawWebSocket] | type[RawPolling]] = {"websocket": RawWebSocket, "polling": RawPolling}


@pytest_asyncio.fixture(loop_scope="session", params=CARRIERS.values(), ids=list(CARRIERS))
async def newcomer(request: pytest.FixtureRequest, server: ServerProcess) -> AsyncIterator[RawClient]:
    """A client that has opened a session, and sends whatever the test wants."""
    carrier = await request.param.open(server)
    yield RawClient(carrier)
    await carrier.close()


@pytest_asyncio.fixture(loop_scope="session", params=CARRIERS.values(), ids=list(CARRIERS))
async def mallory(
    request: pytest.FixtureRequest, server: ServerProcess, bystanders: Bystanders
) -> AsyncIterator[RawClient]:
    """A signed-in member of the bystanders' project, who sends the test's messages."""
    carrier = await request.param.open(server)
    try:
        mallory = RawClient(carrier)
        await mallory.sign_in(MALLORY)
        await bystanders.see_joining(mallory)
        yield mallory
    finally:
        await carrier.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(chromium: NodeProcess) -> AsyncIterator[list[AppVisitor]]:
    visitors = [AppVisitor(chromium), AppVisitor(chromium)]
    yield visitors
    for visitor in visitors:
        await visitor.close()


@pytest_asyncio.fixture(loop_scope="session")
async def collector() -> AsyncIterator[Collector]:
    async with Collector.running() as collector:
        yield collector
