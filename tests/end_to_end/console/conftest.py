"""A server in development, and operators who watch it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.end_to_end.console.operators import REDIS_PASSWORD, Operator, Watch
from tests.support.node_process import NodeProcess
from tests.support.redis_server import RedisServer, running_redis
from tests.support.server_process import ServerProcess, StartServer


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    """A server in development, as `make run` starts it, without clients."""
    return start_server()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis(password=REDIS_PASSWORD) as redis:
        yield redis


@pytest_asyncio.fixture(loop_scope="session")
async def watch(chromium: NodeProcess, server: ServerProcess) -> AsyncIterator[Watch]:
    operators: list[Operator] = []

    async def watch(view: str = "Overview", *, server: ServerProcess = server, **options: Any) -> Operator:
        operator = Operator(chromium)
        operators.append(operator)
        await operator.watch(server, view, **options)
        return operator

    yield watch
    for operator in operators:
        await operator.close()
