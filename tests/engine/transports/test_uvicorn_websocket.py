"""uvicorn with two kinds of WebSockets: those of Engine.IO, and an application's own."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
import websockets.exceptions
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from tests.support.clients import Polling, websocket
from tests.support.servers import Address, Engine, running, until
from tests.support.wire import raw_websocket
from websockets.asyncio.client import connect

from synkora.engine.transports.asgi import AsgiEndpoint
from synkora.engine.transports.asgi_websocket import AsgiWebSocket
from synkora.engine.transports.polling_endpoint import PollingEndpoint
from synkora.engine.transports.uvicorn_websocket import protocol_for
from synkora.engine.transports.websocket import WebSocketTransport

HTTP = ("httptools", "h11")


async def shout(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text((await socket.receive_text()).upper())
    await socket.close()


@dataclass
class Site:
    """An application with Engine.IO at /engine.io/ and at /elsewhere/, and its own WebSocket at /shout."""

    engine: Engine
    stops: int = 0

    def config(self, http: str) -> uvicorn.Config:
        registry = self.engine.registry
        endpoint = AsgiEndpoint(registry, PollingEndpoint(registry), nullcontext)
        mounts: list[BaseRoute] = [Mount("/engine.io", app=endpoint), Mount("/elsewhere", app=endpoint)]
        mounts += [Route("/elsewhere", endpoint), WebSocketRoute("/elsewhere", endpoint)]
        protocol: Any = protocol_for(registry, self.stop)
        return uvicorn.Config(
            Starlette(routes=[WebSocketRoute("/shout", shout), *mounts]),
            http=http,
            ws=protocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )

    def stop(self) -> None:
        self.stops += 1
        self.engine.registry.close()


@pytest.fixture
def site() -> Site:
    return Site(Engine(echoes=True))


@pytest.fixture(params=HTTP)
def server(request: pytest.FixtureRequest, site: Site) -> uvicorn.Server:
    return uvicorn.Server(site.config(request.param))


@pytest.fixture
async def address(server: uvicorn.Server) -> AsyncIterator[Address]:
    async with running(server, "/engine.io/") as address:
        yield address


async def test_under_its_path_it_is_picows(address: Address, site: Site) -> None:
    async with websocket(address) as client:
        assert isinstance(site.engine.recorders[0].session.transport, WebSocketTransport)
        for text in ("4hello", "4" + "x" * 200_000):
            await client.send(text)
            assert await client.receive() == text
    await until(lambda: site.engine.registry.open_websockets == 0)


async def test_an_application_keeps_its_own(address: Address, site: Site) -> None:
    async with connect(f"ws://127.0.0.1:{address.port}/shout", proxy=None) as client:
        await client.send("hello")
        assert await client.recv() == "HELLO"
        await client.wait_closed()
    assert site.engine.recorders == []


async def test_an_endpoint_at_another_path_is_reached_by_asgi(address: Address, site: Site) -> None:
    async with websocket(Address(address.port, "/elsewhere/")) as client:
        assert isinstance(site.engine.recorders[0].session.transport, AsgiWebSocket)
        await client.send("4hello")
        assert await client.receive() == "4hello"


@pytest.mark.parametrize("path", ["/engine.io", "/%65ngine.io/", "http://app.example.com/engine.io/"])
async def test_other_forms_of_its_path_are_picows(address: Address, site: Site, path: str) -> None:
    """The last slash may be missing, and the target may be percent-encoded or have a host in front."""
    async with raw_websocket(Address(address.port, path)) as client:
        assert (await client.text()).startswith("0{")
        assert isinstance(site.engine.recorders[0].session.transport, WebSocketTransport)


async def test_routes_take_a_path_without_its_last_slash(address: Address) -> None:
    """Beside a mount, one route for requests and one for WebSockets serve such clients."""
    bare = Address(address.port, "/elsewhere")
    async with Polling(bare), websocket(bare) as client:
        await client.send("4hello")
        assert await client.receive() == "4hello"


async def test_a_refusal_is_an_answer(address: Address, server: uvicorn.Server) -> None:
    """With the error's status. The connection is closed, and uvicorn does not wait for it."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{address.port}/engine.io/?EIO=3&transport=websocket", proxy=None)
    assert refused.value.response.status_code == 400
    assert b"Unsupported protocol version" in refused.value.response.body
    await until(lambda: not server.server_state.connections)


async def test_uvicorn_stops_after_the_announcement_to_clients(server: uvicorn.Server, site: Site) -> None:
    """`stop` is called once for each, they are closed with the code for a restart, and uvicorn does not wait."""
    async with running(server, "/engine.io/") as address:
        clients = [await connect(address.url("websocket"), proxy=None) for _ in range(2)]
        assert len(server.server_state.connections) == 2
    for client in clients:
        await client.wait_closed()
        assert client.close_code == 1012
    assert site.stops == 2
    assert not server.server_state.connections
