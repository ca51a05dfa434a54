"""A server inside an application, with both implementations of WebSockets."""

from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from tests.support.clients import Polling, websocket
from tests.support.servers import running

from synkora import Socket, SocketServer


@pytest.fixture
def server() -> SocketServer:
    server = SocketServer(path="/live/socket.io")
    main = server.of("/")

    @main.on("echo")
    def echo(socket: Socket, text: object = None) -> None:
        socket.emit("echoed", text)

    return server


@pytest.fixture(params=["fast", "portable"])
def ws(request: pytest.FixtureRequest, server: SocketServer) -> Any:
    """uvicorn's option `ws`."""
    return server.websocket_protocol if request.param == "fast" else "auto"


def host(server: SocketServer, ws: Any, **options: Any) -> uvicorn.Server:
    """An application with a page, and the server below it."""
    app = Starlette(
        routes=[
            Route("/", lambda _: PlainTextResponse("a page")),
            Mount("/live", routes=[Mount("/socket.io", app=server.asgi)]),
        ]
    )
    return uvicorn.Server(uvicorn.Config(app, ws=ws, lifespan="off", log_config=None, access_log=False, **options))


@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
async def test_it_is_where_it_is_mounted(server: SocketServer, ws: Any, root_path: str) -> None:
    """Over polling and WebSocket, whatever prefix a proxy removes. The application's own pages work."""
    async with running(host(server, ws, root_path=root_path), server.settings.path) as address:
        async with Polling(address) as client:
            assert (await client.http.get(f"{address.http}/")).text == "a page"
            await client.connect()
            await client.post('42["echo","polling"]')
            assert await client.poll() == ['42["echoed","polling"]']
            await client.post("1")
        async with websocket(address) as socket:
            await socket.connect()
            await socket.emit("echo", "websocket")
            assert await socket.event() == ["echoed", "websocket"]


async def test_its_connections_end_with_a_lifespan_that_fails(server: SocketServer) -> None:
    """An application that ends with an error disconnects all clients."""
    with pytest.raises(ZeroDivisionError):
        async with server.lifespan():
            raise ZeroDivisionError
    assert server._registry.is_closing


async def test_its_connections_end_with_its_lifespan(server: SocketServer, ws: Any) -> None:
    """Clients get the restart as reason, and none remains."""
    async with running(host(server, ws), server.settings.path) as address:
        async with websocket(address) as socket:
            async with server.lifespan():
                await socket.connect()
                server.emit("last words")
            assert await socket.event() == ["last words"]
            assert await socket.closed() == 1012
        assert server._registry.is_drained
