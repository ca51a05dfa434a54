from collections.abc import AsyncIterator

import pytest_asyncio
from tests.support.node_process import NodeProcess


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[NodeProcess]:
    node = await NodeProcess.start("remote-sockets.mjs")
    yield node
    await node.stop()
