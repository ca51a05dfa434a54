from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.collaboration.guarded import Guarded, MakeGuarded, Roles
from tests.collaboration.site import Site, running_site


@pytest.fixture
def site() -> Site:
    """Synkora without a network."""
    return Site()


@pytest_asyncio.fixture
async def guarded() -> AsyncIterator[MakeGuarded]:
    """Makes sites that ask a policy. Their timers end with the test, before its loop does."""
    sites: list[Guarded] = []

    def make(roles: Roles, **options: Any) -> Guarded:
        sites.append(Guarded(roles, **options))
        return sites[-1]

    yield make
    for site in sites:
        await site.close()


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site
