"""A server in a program's own event loop, and in a thread."""

import asyncio
import socket
import threading
import urllib.error
import urllib.request

import pytest
import socketio  # type: ignore[import-untyped]  # it has no types
from tests.support.processes import free_port
from tests.support.servers import until

from synkora import SocketServer, serve, serve_async, serve_in_thread


async def test_a_server_in_the_running_loop_ends_when_it_is_cancelled() -> None:
    """Clients get the announcement, the port is free again, and the caller gets the cancellation."""
    server, ports = SocketServer(), []
    server.on("echo", lambda socket, value: value)
    task = asyncio.create_task(
        serve_async(server, host="127.0.0.1", port=0, started=lambda sockets: ports.append(sockets[0].getsockname()[1]))
    )
    await until(lambda: ports)
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(f"http://127.0.0.1:{ports[0]}", transports=["websocket"])
    assert await client.call("echo", 5) == 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not client.connected)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", ports[0])) != 0
    await client.disconnect()


async def test_the_server_with_a_loop_of_its_own_names_the_other_in_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match=r"within one, use await serve_async\(server\)"):
        serve(SocketServer(), host="256.0.0.1")


async def test_where_it_listens_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """By standard logging, for a program that embeds the server."""
    caplog.set_level("INFO", logger="synkora")
    port = free_port()
    task = asyncio.create_task(serve_async(SocketServer(), host="127.0.0.1", port=port))
    await until(lambda: caplog.messages)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert caplog.messages == [f"listening address='http://127.0.0.1:{port}'"]


async def test_a_port_in_use_raises() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await serve_async(SocketServer(), host="127.0.0.1", port=taken.getsockname()[1])


def test_a_server_in_a_thread_ends_with_its_block() -> None:
    """It has a port during the block, and no thread remains."""
    server = SocketServer()
    server.on("thread", lambda socket: threading.current_thread().name)
    with serve_in_thread(server) as port:
        client = socketio.Client(reconnection=False)
        client.connect(f"http://127.0.0.1:{port}", transports=["polling"])
        assert client.call("thread") == "synkora"
        client.disconnect()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/socket.io/", timeout=1)  # of the test
    assert "synkora" not in {thread.name for thread in threading.enumerate()}


def test_an_error_that_ends_the_thread_early_is_raised() -> None:

    class Broken:
        async def __aenter__(self) -> None:
            raise RuntimeError("of the test")

        async def __aexit__(self, *_: object) -> None: ...

    with pytest.raises(RuntimeError, match="of the test"), serve_in_thread(SocketServer(), around=Broken()):
        pass


def test_a_chosen_port_is_used() -> None:
    port = free_port()
    with serve_in_thread(SocketServer(), port=port) as taken:
        assert taken == port
