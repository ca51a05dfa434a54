"""Fixtures: official clients on servers that share a Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Client, Way

Visit = Callable[..., Awaitable[Client]]


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    """Connects official clients, which join the rooms that are named, on servers with a handler for `join`."""
    node = await NodeProcess.start("remote-sockets.mjs")
    clients: list[Client] = []

    async def connect(port: int, *rooms: str, namespace: str = "/") -> Client:
        way = Way("js", ("websocket",), (("reconnectionDelay", 10),))
        clients.append(Client(f"client {len(clients)}", way, node))
        await clients[-1].connect(f"http://127.0.0.1:{port}{namespace}", {})
        for room in rooms:
            assert await clients[-1].call("join", room) is None
        return clients[-1]

    yield connect
    for client in clients:
        await client.close()
    await node.stop()
