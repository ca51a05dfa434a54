"""The WebSocket of an ASGI server, here uvicorn's."""

from collections.abc import AsyncIterator

import pytest
from tests.contracts.websocket import WebSocketContract, echoing_engine
from tests.support.servers import Address, Engine, most_in_one_turn, serving_engine
from tests.support.wire import TEXT, client_frame, raw_websocket


class TestAsgiWebSocket(WebSocketContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return echoing_engine()

    @pytest.fixture
    async def address(self, engine: Engine) -> AsyncIterator[Address]:
        async with serving_engine(engine, portable=True) as address:
            yield address


async def test_large_messages_are_handled_in_turns() -> None:
    """The ASGI server may hand over all of a read at once."""
    engine = Engine()
    async with serving_engine(engine, portable=True) as address, raw_websocket(address) as client:
        await client.text()
        messages = engine.recorders[0].messages
        client.writer.write(client_frame(TEXT, b"4" + b"x" * 20_000) * 40)
        assert await most_in_one_turn(lambda: len(messages), 40) == 1
