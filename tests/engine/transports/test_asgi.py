"""Engine.IO as an ASGI application, with a server's messages written by hand."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.asgi import Wire
from tests.support.logs import capture_logs
from tests.support.servers import Engine, until

from synkora.engine.close_reasons import Reason
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.transports.asgi import AsgiEndpoint
from synkora.engine.transports.polling_endpoint import PollingEndpoint

DENIAL: dict[str, Any] = {"websocket.http.response": {}}
HANDSHAKE = b"EIO=4&transport=websocket"


class Life:
    def __init__(self, *, fails: bool = False) -> None:
        self.events: list[str] = []
        self._fails = fails

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        if self._fails:
            raise RuntimeError("no room")
        self.events.append("entered")
        yield
        self.events.append("left")


@pytest.fixture
def life() -> Life:
    return Life()


@pytest.fixture
def endpoint(engine: Engine, life: Life) -> AsgiEndpoint:
    return AsgiEndpoint(engine.registry, PollingEndpoint(engine.registry), life)


def scope_of(query: bytes = HANDSHAKE, extensions: Any = None, **headers: str) -> dict[str, Any]:
    """A WebSocket's scope with only what ASGI requires."""
    return {
        "type": "websocket",
        "path": "/anywhere/",
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "extensions": extensions,
    }


class TestLifespan:
    async def test_it_is_entered_before_the_server_starts_and_left_when_it_stops(
        self, endpoint: AsgiEndpoint, life: Life
    ) -> None:
        async with Wire(endpoint, {"type": "lifespan"}) as wire:
            wire.receive({"type": "lifespan.startup"})
            assert await wire.sent() == {"type": "lifespan.startup.complete"}
            assert life.events == ["entered"]
            wire.receive({"type": "lifespan.shutdown"})
            assert await wire.sent() == {"type": "lifespan.shutdown.complete"}
            assert life.events == ["entered", "left"]

    async def test_a_failed_start_is_reported(self, engine: Engine) -> None:
        endpoint = AsgiEndpoint(engine.registry, PollingEndpoint(engine.registry), Life(fails=True))
        with capture_logs() as logs:
            async with Wire(endpoint, {"type": "lifespan"}) as wire:
                wire.receive({"type": "lifespan.startup"})
                assert await wire.sent() == {"type": "lifespan.startup.failed", "message": "no room"}
        assert [entry["event"] for entry in logs] == ["start_failed"]


class TestRefusal:
    async def test_it_is_an_answer_where_the_server_can_send_one(self, endpoint: AsgiEndpoint) -> None:
        """With its status, and Engine.IO's error as body."""
        async with Wire(endpoint, scope_of(b"EIO=3&transport=websocket", DENIAL)) as wire:
            wire.receive({"type": "websocket.connect"})
            start, body = await wire.sent(), await wire.sent()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
        assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])
        assert body == {
            "type": "websocket.http.response.body",
            "body": b'{"code":5,"message":"Unsupported protocol version"}',
        }

    async def test_it_is_a_plain_close_elsewhere(self, endpoint: AsgiEndpoint, engine: Engine) -> None:
        """ASGI servers answer with 403."""
        async with Wire(endpoint, scope_of(b"EIO=3&transport=websocket")) as wire:
            wire.receive({"type": "websocket.connect"})
            assert await wire.sent() == {"type": "websocket.close"}
        assert engine.recorders == []

    async def test_a_refusal_has_retry_after(self, endpoint: AsgiEndpoint, engine: Engine) -> None:
        engine.registry._connection_limiter = full = ConnectionLimiter(ConnectionLimits(clients=1))
        full.add("192.0.2.1")
        async with Wire(endpoint, scope_of(extensions=DENIAL)) as wire:
            wire.receive({"type": "websocket.connect"})
            start = await wire.sent()
        assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"10")


@pytest.fixture
async def wire(endpoint: AsgiEndpoint) -> AsyncIterator[Wire]:
    """An accepted WebSocket whose client has got the handshake."""
    async with Wire(endpoint, scope_of()) as wire:
        wire.receive({"type": "websocket.connect"})
        assert await wire.sent() == {"type": "websocket.accept", "subprotocol": None}
        assert (await wire.sent())["text"].startswith('0{"sid"')
        yield wire


class TestWebSocket:
    async def test_messages_may_have_both_kinds_of_payload(self, wire: Wire, engine: Engine) -> None:
        """Servers omit the missing one, or set it to None."""
        for message in ({"text": "4a"}, {"text": "4b", "bytes": None}, {"bytes": b"c"}, {"bytes": b"d", "text": None}):
            wire.receive({"type": "websocket.receive", **message})
        await until(lambda: engine.recorders[0].messages == [b"a", b"b", b"c", b"d"])
        assert [(await wire.sent()).get("text") for _ in range(2)] == ["4a", "4b"]
        assert [(await wire.sent()).get("bytes") for _ in range(2)] == [b"c", b"d"]

    async def test_a_flood_does_not_block_others(self, wire: Wire, engine: Engine) -> None:
        """A server delivers its read messages without suspending: tens of thousands may have come."""
        for _ in range(10_000):
            wire.receive({"type": "websocket.receive", "text": "4a"})
        received = engine.recorders[0].messages
        seen = []
        while len(received) < 10_000:
            await asyncio.sleep(0)
            seen.append(len(received))
        assert max(after - before for before, after in itertools.pairwise([0, *seen])) <= 100

    async def test_invalid_text_closes_the_connection(self, wire: Wire, engine: Engine) -> None:
        """A lone surrogate, which a server may accept, is invalid in UTF-8 (RFC 6455 section 8.1)."""
        wire.receive({"type": "websocket.receive", "text": "4\ud800"})
        close = await wire.sent()
        assert (close["type"], close["code"]) == ("websocket.close", 1007)
        assert engine.recorders[0].messages == []

    async def test_a_client_that_does_not_answer_the_close_is_released(
        self, wire: Wire, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After the timeout the application returns, and leaves the connection to the server."""
        monkeypatch.setattr("synkora.engine.transports.asgi_websocket.CLOSING_TIME", 0.05)
        engine.recorders[0].session.close(Reason.FORCED_SERVER_CLOSE)
        assert await wire.sent() == {"type": "websocket.close", "code": 1000, "reason": "forced server close"}
        await wire.returned()
        assert engine.registry.open_websockets == 0

    async def test_a_disconnect_during_a_send_ends_the_session(self, wire: Wire, engine: Engine) -> None:
        """Servers raise after a disconnect: this is no internal error."""
        wire.fails_with = OSError("gone")
        with capture_logs() as logs:
            engine.recorders[0].session.send(b"hello?")
            await wire.returned()
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]
        assert logs == []

    async def test_a_fault_of_ours_ends_its_connection_and_is_in_the_log(self, wire: Wire, engine: Engine) -> None:
        """A message that cannot be sent, such as invalid text, does not affect other clients."""
        with capture_logs() as logs:
            engine.recorders[0].session.send(b"\xff")
            await wire.returned()
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]
        assert [entry["event"] for entry in logs] == ["websocket_failed"]

    async def test_a_task_that_the_server_cancels_ends_the_session(self, wire: Wire, engine: Engine) -> None:
        wire.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wire.returned()
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]
        assert engine.registry.is_drained

    async def test_it_is_not_writable_while_the_server_is_busy(self, wire: Wire, engine: Engine) -> None:
        """Meanwhile messages wait in the outbox with its limits, and are sent in order."""
        session = engine.recorders[0].session
        wire.hold()
        session.send(b"first")
        await until(lambda: wire.is_held)
        assert not session.transport.writable
        session.send(b"second")
        await until(lambda: session.outbox.waiting_bytes)
        wire.release()
        assert [(await wire.sent())["text"] for _ in range(2)] == ["4first", "4second"]
        await until(lambda: session.transport.writable)
