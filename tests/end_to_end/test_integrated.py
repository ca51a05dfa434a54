"""Socket.IO inside other web applications, under the usual ASGI servers."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import pytest
import pytest_asyncio
from tests.docs.documents import blocks
from tests.end_to_end.asgi_servers import COMMANDS, App, AsgiServer, asgi_server
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS, Client, Connect, Refused, join
from tests.support.redis_server import running_redis
from tests.support.users import ALICE, BOB, CAROL, PROJECT, SECRET
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

StartWeb = Callable[..., AsgiServer]

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
APPS: Final = {
    "starlette": App("starlette_app", "app"),
    "fastapi": App("fastapi_app", "app"),
    "django": App("django_app", "application"),
}
BY_UVICORN: Final = '"WebSocket /socket.io/'  # what uvicorn logs of a WebSocket that it has taken itself


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=APPS.values(), ids=list(APPS))
def example(request: pytest.FixtureRequest, command: str) -> Iterator[AsgiServer]:
    with asgi_server(command, request.param, EXAMPLES) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def clients(example: AsgiServer, node: NodeProcess) -> AsyncIterator[list[Client]]:
    """The real client three times: by default, over polling only, and over WebSocket only."""
    clients = [Client(way, WAYS[way], node) for way in ("js-upgrade", "js-polling", "js-websocket")]
    for client in clients:
        await client.connect(example.url, None)
    await clients[0].upgraded()
    yield clients
    for client in clients:
        await client.close()
    async with asyncio.timeout(PATIENCE):  # some servers wait for clients when they are to stop
        while await announce(example, "Is anybody there?") != "0 clients were told":
            await asyncio.sleep(0.02)


async def announce(example: AsgiServer, text: str) -> str:
    """Let an application send an event to all clients."""
    async with httpx.AsyncClient(base_url=example.url, timeout=PATIENCE, trust_env=False) as http:
        return (await http.post("/announce", params={"text": text})).text


async def test_examples(clients: list[Client], example: AsgiServer, command: str) -> None:
    """Clients get each other's and the application's events, with every framework, server and transport."""
    for client in clients:
        assert await client.call("say", "Grüße") == "told the others"
        for other in clients:
            if other is not client:
                assert await other.next() == ["said", "Grüße"]
    assert await announce(example, "Tea!") == "3 clients were told"
    for client in clients:
        assert await client.next() == ["announced", "Tea!"]
    if command.startswith("uvicorn"):
        assert (BY_UVICORN in example.output) is (command == "uvicorn")


@pytest.mark.parametrize("example", [APPS["starlette"]], indirect=True, ids=[""])
async def test_subprotocols(example: AsgiServer) -> None:
    """Under every server, the first subprotocol that a client offers is answered."""
    url = f"ws{example.url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket"
    async with connect(url, subprotocols=[Subprotocol("v2"), Subprotocol("v1")], proxy=None) as client:
        assert client.subprotocol == "v2"
        assert str(await client.recv()).startswith("0{")
    async with connect(url, proxy=None) as client:
        assert client.subprotocol is None


# Synkora's server inside an application: the one that the documentation shows.

WEB: Final = App("web", "app", "collaboration")
ELSEWHERE: Final = "ENABLE_INTEGRATED_WEBSOCKET is false"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[StartWeb]:
    """Starts applications with Synkora's server inside."""
    document = Path(__file__).parents[2] / "docs" / "integrating.md"
    (tmp_path / "web.py").write_text(blocks(document, "python")[0].text, encoding="utf-8")
    with ExitStack() as running:

        def start(command: str, **variables: str) -> AsgiServer:
            given = {"NEXTAUTH_SECRET": SECRET, "SHUTDOWN_TIMEOUT": "1", **variables}
            return running.enter_context(asgi_server(command, WEB, tmp_path, **given))

        yield start


@pytest.mark.parametrize("command", ["uvicorn-fast", "hypercorn"])
async def test_users_work_in_an_integrated_server(web: StartWeb, connect_by: Connect, command: str) -> None:
    """It signs users in, shows presence and relays events. Its own pages count them."""
    server = web(command)
    alice = await connect_by(ALICE, url=server.url, way=WAYS["js-upgrade"])
    bob = await connect_by(BOB, url=server.url, way=WAYS["js-polling"])
    await join(alice)
    await join(bob, alice)
    await alice.emit("task:create", {"projectId": PROJECT, "task": {"title": "Tea"}})
    assert await bob.next() == ["task:create", {"title": "Tea"}]
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        health = (await http.get("/synkora/health")).json()
        metrics = (await http.get("/synkora/metrics")).text
    assert (health["status"], health["connections"], health["rooms"]) == ("healthy", 2, 1)
    assert "synkora_connections" in metrics
    server.line(lambda line: line == "✓ Alice joined project proj_456")
    with pytest.raises(Refused, match="Authentication required"):
        await connect_by(CAROL, url=server.url, auth={})
    for client in (alice, bob):
        await client.close()


async def test_clients_are_informed_when_the_application_stops(web: StartWeb, connect_by: Connect) -> None:
    """Under uvicorn with `--ws` the announcement reaches every client, and no client delays the stop."""
    server = web("uvicorn-fast")
    alice = await connect_by(ALICE, url=server.url, way=WAYS["js-websocket"])
    bob = await connect_by(BOB, url=server.url, way=WAYS["js-polling"])
    server.signal(signal.SIGTERM)
    for client in (alice, bob):
        assert (await client.expect("server:shutdown"))["message"]
        assert (await client.changes.next())[0] == "disconnect"
        await client.close()


@pytest.mark.parametrize("command", ["uvicorn-fast", "uvicorn"])
async def test_switched_off_it_is_not_there(web: StartWeb, connect_by: Connect, command: str) -> None:
    """Clients of every transport are refused. The response and the log name the right address."""
    server = web(command, ENABLE_INTEGRATED_WEBSOCKET="false")
    server.line(lambda line: line.startswith(f"! {ELSEWHERE}"))
    for way in ("js-polling", "js-websocket"):
        with pytest.raises(Refused):
            await connect_by(ALICE, url=server.url, way=WAYS[way])
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        answer = await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
        assert (await http.get("/synkora/ready")).status_code == 200
    assert answer.status_code == 404
    assert answer.json()["message"].startswith(ELSEWHERE)


async def test_integrated_servers_are_one_over_redis(web: StartWeb, connect_by: Connect) -> None:
    with running_redis() as redis:
        first, second = (web(command, REDIS_URL=redis.url) for command in ("uvicorn-fast", "hypercorn"))
        alice = await connect_by(ALICE, url=first.url)
        bob = await connect_by(BOB, url=second.url)
        await join(alice)
        await bob.emit("join-project", PROJECT)
        users = (await bob.expect("users:active"))["users"]
        assert {user["userId"] for user in users} == {ALICE.id, BOB.id}
        assert (await alice.expect("user:joined"))["userId"] == BOB.id
        assert await alice.expect("users:count") == {"count": 2}
        await alice.emit("task:create", {"projectId": PROJECT, "task": {"title": "Tea"}})
        assert await bob.expect("users:count") == {"count": 2}
        assert await bob.next() == ["task:create", {"title": "Tea"}]
        for client in (alice, bob):
            await client.close()
        for server in (first, second):
            server.stop()
