"""Servers of a cluster and their clients, for the suite of all adapters."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.clients import WebSocket, socketio
from tests.support.servers import Address

from synkora import Namespace, Socket, SocketServer

NAMES = ["alice", "bob", "carol", "dave"]


async def _at_once() -> None:
    """Do nothing: a single server delivers immediately."""


@dataclass(frozen=True)
class Cluster:
    """Running servers in this event loop. `settle` returns when each knows what the others have done.

    So earlier messages have arrived, and later messages reach the present members of a room.
    """

    servers: list[SocketServer]
    addresses: list[Address]
    settle: Callable[[], Awaitable[None]] = _at_once

    @property
    def namespaces(self) -> list[Namespace]:
        return [server.of("/") for server in self.servers]


class Crowd:
    """Four clients, each on the next server in turn. alice and bob are in `red`, bob and carol in `blue`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.clients: dict[str, WebSocket] = {}
        self.sockets: dict[str, Socket] = {}

    def server(self, name: str) -> SocketServer:
        return self.cluster.servers[NAMES.index(name) % len(self.cluster.servers)]

    def beside(self, server: SocketServer) -> list[str]:
        return [name for name in NAMES if self.server(name) is server]

    def names(self, ids: set[str]) -> list[str]:
        return [name for name in NAMES if self.sockets[name].id in ids]

    def members(self, room: str) -> list[str]:
        return [name for name in NAMES if room in self.sockets[name].rooms]

    async def who_gets(self, event: list[Any], server: SocketServer, sender: Any = None) -> list[str]:
        """The clients that get `event` from a server, once each, of `sender` if given.

        Afterwards nothing of it is in transit.
        """
        got: list[str] = []
        if sender is not None:
            sender.emit(*event)
        server.emit("end")
        for name, client in self.clients.items():
            while (received := await client.event()) != ["end"]:
                assert received == event
                got.append(name)
        return got

    async def answer(self, name: str, event: str, *args: object) -> None:
        message = await self.clients[name].receive()
        assert isinstance(message, str)
        found = re.fullmatch(rf'42(\d+)\["{event}".*\]', message)
        assert found is not None, message
        await self.clients[name].send(f"43{found[1]}{json.dumps(args)}")


@asynccontextmanager
async def crowd_in(cluster: Cluster) -> AsyncIterator[Crowd]:
    """Connect the clients, and let them join their rooms."""
    crowd = Crowd(cluster)
    async with AsyncExitStack() as stack:
        for number, name in enumerate(NAMES):
            namespace = crowd.server(name).of("/")
            before = set(namespace.sockets)
            address = cluster.addresses[number % len(cluster.addresses)]
            crowd.clients[name] = await stack.enter_async_context(socketio(address, {"name": name}))
            (sid,) = set(namespace.sockets) - before
            crowd.sockets[name] = namespace.sockets[sid]
        for name in ("alice", "bob"):
            crowd.sockets[name].join("red")
        for name in ("bob", "carol"):
            crowd.sockets[name].join("blue")
        await cluster.settle()
        yield crowd
