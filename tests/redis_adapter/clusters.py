"""Several servers in the test's event loop, joined through a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.contracts.crowds import Cluster
from tests.support.links import MakeLink
from tests.support.processes import PATIENCE
from tests.support.servers import serving

from synkora import SocketServer
from synkora.redis.link import Link
from synkora.redis_adapter.adapter import RedisAdapter
from synkora.sockets.local_adapter import LocalAdapter

_ROUNDS = 3  # what one server does may make another subscribe, and a third needs that


def server_on(link: Link, **options: Any) -> SocketServer:
    """A server, not running yet, whose namespaces use `link`. `options` are the adapter's."""

    def adapter(namespace: str, local: LocalAdapter) -> RedisAdapter:
        return RedisAdapter(namespace, local, link, **options)

    server = SocketServer(adapter=adapter)
    server.of("/")
    return server


def adapter_of(server: SocketServer, namespace: str = "/") -> RedisAdapter:
    adapter = server.of(namespace)._core.adapter
    assert isinstance(adapter, RedisAdapter)
    return adapter


def link_of(server: SocketServer) -> Link:
    return adapter_of(server)._link


async def settle(links: Sequence[Link]) -> None:
    """Wait until all messages, and the messages that they caused, have arrived."""
    for _ in range(_ROUNDS):
        await asyncio.gather(*(link.call("PING") for link in links))


@asynccontextmanager
async def cluster_of(count: int, make_link: MakeLink, **options: Any) -> AsyncIterator[Cluster]:
    links = [make_link() for _ in range(count)]
    servers = [server_on(link, **options) for link in links]
    for link in links:
        assert await link.start(PATIENCE)
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(serving(server)) for server in servers]
        yield Cluster(servers, addresses, lambda: settle(links))
