from collections.abc import AsyncIterator

import pytest
from tests.support.servers import Address, serving

from synkora.sockets.server import SocketServer


@pytest.fixture
def server() -> SocketServer:
    """A server whose main namespace gets a test's handlers, before or after the start."""
    server = SocketServer(max_payload=100_000)
    server.of("/")
    return server


@pytest.fixture
async def address(server: SocketServer) -> AsyncIterator[Address]:
    async with serving(server) as address:
        yield address
