from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.serving.instances import Site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as around:
        yield Site(around)
