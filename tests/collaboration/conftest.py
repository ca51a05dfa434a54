from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.collaboration.site import Site, running_site
from tests.support.loops import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]


@pytest.fixture
def site() -> Site:
    """Synkora without a network."""
    return Site()


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Site]:
    """Synkora on a port."""
    async with running_site() as site:
        yield site
