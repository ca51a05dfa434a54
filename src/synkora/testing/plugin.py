"""A plugin for pytest: `pytest_plugins = ["synkora.testing.plugin"]` in the `conftest.py` of the root folder.

The plugin has these public names:

- `connect_client`: a fixture, `ada = await connect_client(server, "/chat", auth={"name": "Ada"})`. Its arguments are
  those of `synkora.testing.connect`. Its clients disconnect when the test ends.
- `Connect`: the type of the fixture, for annotations.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from synkora.sockets.server import SocketServer
from synkora.testing import Client, connect

try:
    from pytest_asyncio import fixture
except ImportError:  # with anyio's plugin, or without any
    fixture = pytest.fixture  # type: ignore[assignment]  # called alike

Connect = Callable[..., Awaitable[Client]]


@fixture
async def connect_client() -> AsyncIterator[Connect]:
    """Connects in-memory clients, which disconnect when the test ends."""
    async with AsyncExitStack() as clients:

        async def connect_client(server: SocketServer, namespace: str = "/", **options: Any) -> Client:
            return await clients.enter_async_context(connect(server, namespace, **options))

        yield connect_client
