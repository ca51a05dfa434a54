"""The protocol texts of Engine.IO v4 and Socket.IO v5 as tables of rows, run against real servers.

The head of each table says what its rows cover.
"""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conformance import engineio_rows, socketio_rows
from tests.conformance.steps import Row, Runner
from tests.support.servers import Engine, serving, serving_engine, until

from synkora import ConnectRefused, Socket, SocketServer


def heartbeat(row: Row) -> dict[str, Any]:
    return {"ping_interval": 0.2, "ping_timeout": 0.5} if row.quick else {"ping_interval": 25, "ping_timeout": 20}


def echo_server(row: Row) -> SocketServer:
    server = SocketServer(**heartbeat(row), connect_timeout=0.6 if row.quick else 45)

    def greet(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("auth", auth)

    async def ask(socket: Socket) -> None:
        socket.emit("answer", await socket.call("question", timeout=5))

    def refuse(socket: Socket, auth: dict[str, Any]) -> None:
        raise ConnectRefused("Not authorized", {"code": 7})

    for name in ("/", "/custom"):
        namespace = server.of(name)
        namespace.on_connect(greet)
        namespace.on("message", lambda socket, *args: socket.emit("message-back", *args))
        namespace.on("message-with-ack", lambda socket, *args: args)
        namespace.on("ask", ask)
    server.of("/closed").on_connect(refuse)
    return server


@pytest.mark.parametrize("row", engineio_rows.ROWS, ids=lambda row: row.name)
async def test_engineio(row: Row) -> None:
    engine = Engine(echoes=True, **heartbeat(row))
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        await Runner(address, engine.registry, stack).run(row)


@pytest.mark.parametrize("row", socketio_rows.ROWS, ids=lambda row: row.name)
async def test_socketio(row: Row) -> None:
    """Against a Socket.IO server, which has no session afterwards."""
    server = echo_server(row)
    async with serving(server) as address, AsyncExitStack() as stack:
        await Runner(address, server._registry, stack).run(row)
        await stack.aclose()
        await until(lambda: len(server._registry) == 0)


@pytest.mark.parametrize("rows", [engineio_rows.ROWS, socketio_rows.ROWS])
def test_every_row_has_a_name_of_its_own(rows: list[Row]) -> None:
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
