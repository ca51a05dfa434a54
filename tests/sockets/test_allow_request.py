"""The application's own decision about requests that open a session, over every transport."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.support.clients import Polling, websocket
from tests.support.logs import capture_logs
from tests.support.processes import PATIENCE
from tests.support.servers import Address, running, serving, until
from tests.support.wire import TEXT, client_frame, raw, upgrade
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from synkora import ConnectRefused, Handshake, SocketServer


class Door:
    """A decision by the request's parameter `key`."""

    def __init__(self) -> None:
        self.seen: list[Handshake] = []
        self.is_open = asyncio.Event()

    async def decide(self, handshake: Handshake) -> dict[str, str] | None:
        self.seen.append(handshake)
        await asyncio.sleep(0)
        match handshake.query.get("key"):
            case "bad":
                raise ConnectRefused("Not with this key")
            case "broken":
                raise RuntimeError("of the test")
            case "slow":
                await self.is_open.wait()
            case "good":
                return {"X-Route": "blue"}
        return None


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture(params=["serve", "fast", "portable"])
async def address(request: pytest.FixtureRequest, door: Door) -> AsyncIterator[Address]:
    """A server that decides: by itself, and mounted, with both implementations of WebSockets."""
    server = SocketServer(allow_request=door.decide)
    server.on("echo", lambda socket, value: value)
    app = Starlette(routes=[Mount("/socket.io", app=server.asgi)])
    ws = server.websocket_protocol if request.param == "fast" else "auto"
    config = uvicorn.Config(app, ws=ws, lifespan="off", log_config=None, access_log=False)
    running_server = serving(server) if request.param == "serve" else running(uvicorn.Server(config), "/socket.io/")
    async with running_server as address:
        yield address
        await server.close(0.05)


async def test_an_allowed_session_gets_the_returned_headers(address: Address, door: Door) -> None:
    """In the response to the handshake. Later polls need no decision."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        answer = await http.get(address.url(key="good"))
        assert answer.headers["x-route"] == "blue"
    async with Polling(address) as client:
        await client.connect()
        await client.post('421["echo",5]')
        assert await client.poll() == ["431[5]"]
        await client.post("1")
    assert len(door.seen) == 2
    assert door.seen[1].address == "127.0.0.1"
    assert door.seen[1].auth == {}


async def test_a_websocket_is_asked_for_too(address: Address) -> None:
    url = address.url("websocket", key="good")
    async with connect(url, proxy=None) as connection:
        assert connection.response is not None
        assert connection.response.headers["X-Route"] == "blue"
        assert str(await connection.recv()).startswith("0{")
    async with websocket(address) as client:
        await client.connect()
        await client.send('421["echo",5]')
        assert await client.receive() == "431[5]"


async def test_frames_after_a_handshake_wait_for_the_decision(door: Door) -> None:
    server = SocketServer(allow_request=door.decide)
    server.on("echo", lambda socket, value: value)
    async with serving(server) as address, raw(address) as client:
        target = address.url("websocket", key="slow").removeprefix(f"ws://127.0.0.1:{address.port}")
        handshake = upgrade().replace(b"/socket.io/?EIO=4&transport=websocket", target.encode())
        await client.send(handshake, client_frame(TEXT, b"40"), client_frame(TEXT, b'421["echo",5]'))
        await until(lambda: door.seen)
        door.is_open.set()
        async with asyncio.timeout(PATIENCE):
            assert b"101 Switching" in await client.reader.readuntil(b"431[5]")


@pytest.mark.parametrize(("key", "status", "words"), [("bad", 403, "Not with this key"), ("broken", 500, "Internal")])
async def test_refusals_have_a_reason(address: Address, key: str, status: int, words: str) -> None:
    """The message of `ConnectRefused`. Any other exception is logged, and no detail is sent."""
    with capture_logs() as logs:
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
            answer = await http.get(address.url(key=key))
        assert answer.status_code == status
        assert words in answer.json()["message"]
        with pytest.raises(InvalidStatus) as refused:
            async with connect(address.url("websocket", key=key), proxy=None):
                pass
        assert refused.value.response.status_code == status
    failures = [entry["event"] for entry in logs if entry["log_level"] == "error"]
    assert failures == ["allow_request_failed"] * (2 if key == "broken" else 0)


async def test_a_client_may_leave_before_the_decision(address: Address, door: Door) -> None:
    """No session is opened for it, and the next client is served."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(address.url(key="slow"), timeout=0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), connect(address.url("websocket", key="slow"), proxy=None):
            pass
    await until(lambda: len(door.seen) == 2)
    door.is_open.set()
    async with websocket(address) as client:
        await client.connect()
