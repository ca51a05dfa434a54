"""The WebSocket of an ASGI server, here uvicorn's."""

from collections.abc import AsyncIterator

import pytest
from tests.contracts.websocket import WebSocketContract, echoing_engine
from tests.support.servers import Address, Engine, serving_engine


class TestAsgiWebSocket(WebSocketContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return echoing_engine()

    @pytest.fixture
    async def address(self, engine: Engine) -> AsyncIterator[Address]:
        async with serving_engine(engine, portable=True) as address:
            yield address
