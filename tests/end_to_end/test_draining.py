"""An instance that drains its clients to the others, one project after the other, before it stops."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.end_to_end.behind_nginx import HANDSHAKE, client_of
from tests.end_to_end.raw import RawClient, RawWebSocket
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS, Client, Connect, join
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.servers import until
from tests.support.users import ALICE, BOB, CAROL

HOURS = "3600"  # seconds: a test has to bring the end about itself


@dataclass
class Halfway:
    """A draining instance with two clients, each in its own project: one is drained, one is left. Carol is on another
    instance.
    """

    draining: ServerProcess
    gone: Client
    left: Client
    project: str  # of the remaining client
    carol: Client


@pytest_asyncio.fixture(loop_scope="session", params=["js-polling", "js-websocket"])
async def halfway(
    request: pytest.FixtureRequest, redis: RedisServer, start_server: StartServer, connect_by: Connect
) -> AsyncIterator[Halfway]:
    """A stopping instance that has drained the first of its two clients."""
    draining, other = start_server(REDIS_URL=redis.url, SHUTDOWN_DRAIN=HOURS), start_server(REDIS_URL=redis.url)
    carol = await connect_by(CAROL, url=other.url)
    clients = {}
    for user in (ALICE, BOB):
        client = clients[user.name] = await connect_by(user, url=draining.url, way=WAYS[request.param])
        await join(client, project=user.name)
        await carol.emit("join-project", user.name)
        await client.expect("user:joined")
        await client.expect("users:count")
        await carol.expect("users:active")
        await carol.expect("users:count")
    draining.signal()
    await until(lambda: any(map(has_gone, clients.values())), PATIENCE)
    (gone,) = [client for client in clients.values() if has_gone(client)]
    ((project, left),) = [(name, client) for name, client in clients.items() if client is not gone]
    yield Halfway(draining, gone, left, project, carol)


def has_gone(client: Client) -> bool:
    """Whether its connection has ended in a way that makes it reconnect."""
    return ["disconnect", "transport close"] in client.changes.items


async def test_one_leaves_and_the_other_stays(halfway: Halfway) -> None:
    """The first gets the announcement, and the others its leave. They continue with other instances, until another
    signal.
    """
    await expect_gone(halfway)
    await expect_shut(halfway.draining)
    await halfway.left.emit("task:create", {"projectId": halfway.project, "task": 1})
    await until(lambda: ["task:create", 1] in halfway.carol.events.items, PATIENCE)
    await halfway.carol.emit("task:create", {"projectId": halfway.project, "task": 2})
    assert await halfway.left.next() == ["task:create", 2]  # no event about the client that left

    halfway.draining.signal(signal.SIGINT)
    await halfway.left.expect("server:shutdown")
    assert await asyncio.to_thread(halfway.draining.wait) == 0
    assert halfway.draining.stderr == []
    lines = [line for line in halfway.draining.stdout if "raining" in line or "topp" in line]
    assert lines == [
        "✓ Draining, clients to send elsewhere: 2",
        "✓ Stopping, clients to tell: 1",
        "✓ Stopped",
    ]


async def expect_gone(halfway: Halfway) -> None:
    """Check that one client got the shutdown's announcement, and that others got its leave."""
    assert list(await halfway.gone.expect("server:shutdown")) == ["message"]
    await until(lambda: ["users:count", {"count": 1}] in halfway.carol.events.items, PATIENCE)
    (left,) = [args[0] for name, *args in halfway.carol.events.items if name == "user:left"]
    assert left["socketId"] == halfway.gone.id


async def expect_shut(server: ServerProcess) -> None:
    """Check that new clients are refused, and that readiness says so."""
    async with client_of(server.url) as http:
        refused = await http.get("", params=HANDSHAKE)
        assert (refused.status_code, refused.json()["message"]) == (503, "Server is shutting down")
        ready = await http.get(f"{server.url}/ready")
        assert (ready.status_code, ready.json()["reason"]) == (503, "the server is shutting down")
    await expect_health(server, status="shutting down", connections=1)


async def test_it_ends_when_the_last_client_has_gone(redis: RedisServer, start_server: StartServer) -> None:
    """Without clients immediately, otherwise when they have left by themselves."""
    server = start_server(REDIS_URL=redis.url, SHUTDOWN_DRAIN=HOURS)
    both = [await RawWebSocket.open(server), await RawWebSocket.open(server)]
    for number, carrier in enumerate(both):
        client = RawClient(carrier)
        await client.sign_in((ALICE, BOB)[number])
    server.signal()
    for carrier in both:
        await carrier.close()
    assert await asyncio.to_thread(server.wait) == 0
    deserted = start_server(REDIS_URL=redis.url, SHUTDOWN_DRAIN=HOURS)
    deserted.signal()
    assert await asyncio.to_thread(deserted.wait) == 0


async def test_a_single_instance_announces_immediately(start_server: StartServer) -> None:
    """There is no other instance. The start's output says so."""
    server = start_server(SHUTDOWN_DRAIN=HOURS)
    server.line(lambda line: line.startswith("! SHUTDOWN_DRAIN does nothing without REDIS_URL"))
    both = [await RawWebSocket.open(server), await RawWebSocket.open(server)]
    for number, carrier in enumerate(both):
        await RawClient(carrier).sign_in((ALICE, BOB)[number])
    server.signal()
    for carrier in both:
        await RawClient(carrier).expect("server:shutdown")
    assert await asyncio.to_thread(server.wait) == 0
    for carrier in both:
        await carrier.close()
