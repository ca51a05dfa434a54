import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

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


Handler = Callable[..., Any]


def _coroutine(function: Handler) -> Handler:
    @functools.wraps(function)
    async def handle(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return handle


@pytest.fixture(params=["coroutine", "function"])
def either(request: pytest.FixtureRequest) -> Callable[[Handler], Handler]:
    """Gives a handler as a coroutine that takes a turn of the loop, and as a function."""
    return _coroutine if request.param == "coroutine" else lambda function: function
