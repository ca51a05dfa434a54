from collections.abc import AsyncIterator

import pytest
from tests.support.servers import Address, Engine, serving_engine
from tests.support.wire import WebSocket, raw_websocket


@pytest.fixture
def engine() -> Engine:
    return Engine(echoes=True)


@pytest.fixture
async def address(engine: Engine) -> AsyncIterator[Address]:
    async with serving_engine(engine) as address:
        yield address


@pytest.fixture
async def raw(address: Address) -> AsyncIterator[WebSocket]:
    async with raw_websocket(address) as raw:
        assert (await raw.text()).startswith("0{")
        yield raw
