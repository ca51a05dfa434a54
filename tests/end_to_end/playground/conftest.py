"""Users on the playground of a server in development."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.end_to_end.playground.visitors import Visit, Visitor
from tests.support.node_process import NodeProcess
from tests.support.server_process import ServerProcess

_projects = itertools.count()


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server in development, as `make run` starts it."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0, server.output


@pytest.fixture
def project() -> str:
    return f"project-{next(_projects)}"


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: NodeProcess, development: ServerProcess, project: str) -> AsyncIterator[Visit]:
    """Opens the page as a user, in one project per test. Browser consoles that are expected clean must stay empty."""
    visitors: list[Visitor] = []

    async def visit(name: str, *, server: ServerProcess = development, **options: Any) -> Visitor:
        visitor = Visitor(chromium)
        visitors.append(visitor)
        await visitor.open(server, name, project, **options)
        return visitor

    yield visit
    for visitor in visitors:
        await visitor.close()


@pytest_asyncio.fixture(loop_scope="session")
async def two(visit: Visit) -> AsyncIterator[tuple[Visitor, Visitor]]:
    """Alice and Bob, whose browser consoles must be empty in the end."""
    alice, bob = await visit("Alice"), await visit("Bob")
    yield alice, bob
    assert alice.console == bob.console == []
