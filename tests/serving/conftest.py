from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.serving.http_app import SOON, app
from tests.serving.instances import Site
from tests.support.servers import Address, serving

from synkora import SocketServer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as around:
        yield Site(around)


@pytest.fixture
def server() -> SocketServer:
    server = SocketServer()
    server.of("/")
    return server


@pytest.fixture
async def address(server: SocketServer) -> AsyncIterator[Address]:
    async with serving(server, app=app) as address:
        yield address


@pytest.fixture
async def hasty(server: SocketServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Address]:
    for name in ("HEAD_TIME", "BODY_TIME", "READ_TIME"):
        monkeypatch.setattr(f"synkora.serving.http_limits.{name}", SOON)
    async with serving(server, app=app) as address:
        yield address
