"""The adapter of a single server."""

from collections.abc import AsyncIterator

import pytest
from tests.contracts.adapter import AdapterContract
from tests.contracts.crowds import Cluster
from tests.support.servers import serving

from synkora import SocketServer


class TestLocalAdapter(AdapterContract):
    @pytest.fixture
    async def cluster(self) -> AsyncIterator[Cluster]:
        server = SocketServer()
        server.of("/")
        async with serving(server) as address:
            yield Cluster([server], [address])
