"""The server's shutdown, and the reconnection of its clients."""

import asyncio
import signal

from tests.end_to_end.raw import RawClient, RawPolling, RawWebSocket
from tests.support.real_clients import WAYS, Client, Connect, join
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB, PROJECT

#: python-socketio takes the packet that ends a session over polling for a dismissal; socket.io-client comes back.
STAYS_AWAY = WAYS["python-polling"]


async def expect_farewell(client: Client) -> None:
    """Check that the announcement comes, and that the connection ends so that the client reconnects."""
    before_close = await client.expect("server:shutdown")
    assert list(before_close) == ["message"]
    assert before_close["message"]
    change, reason = await client.changes.next()
    assert change == "disconnect"
    if client.way.language == "js":
        assert reason == "transport close"  # after `io server disconnect` it would not come back


async def test_every_client_is_informed_and_reconnects(start_server: StartServer, connect_by: Connect) -> None:
    """Over every transport. The server exits cleanly. After a restart everyone is connected and working."""
    server = start_server()
    everyone = [await connect_by(ALICE, url=server.url, way=way) for way in WAYS.values()]
    for index, client in enumerate(everyone):
        await join(client, *everyone[:index])

    server.signal(signal.SIGTERM)
    await asyncio.gather(*map(expect_farewell, everyone))
    assert await asyncio.to_thread(server.wait) == 0
    assert server.stderr == []

    again = start_server(WS_PORT=str(server.port))
    everyone = [client for client in everyone if client.way is not STAYS_AWAY]
    for client in everyone:
        while (await client.changes.next())[0] != "connect":
            pass  # attempts of the time when there was no server
        event, *args = await client.next()
        while event != "connected":
            assert event in ("user:left", "users:active", "users:count")  # others went before
            event, *args = await client.next()
        assert args[0]["socketId"] == client.id
    for index, client in enumerate(everyone):
        await join(client, *everyone[:index])
    await everyone[0].emit("task:create", {"projectId": PROJECT, "task": 1})
    for client in everyone[1:]:
        assert await client.next() == ["task:create", 1]
    await expect_health(again, connections=len(everyone), rooms=1)


async def open_both(server: ServerProcess) -> tuple[RawPolling, RawWebSocket]:
    polling, websocket = await RawPolling.open(server), await RawWebSocket.open(server)
    await RawClient(polling).sign_in(BOB)
    await RawClient(websocket).sign_in(BOB)
    return polling, websocket


async def test_clients_that_do_not_answer_are_not_waited_for(start_server: StartServer) -> None:
    """One that never polls, one that never reads and one that never sends: the server ends after SHUTDOWN_TIMEOUT."""
    server = start_server(SHUTDOWN_TIMEOUT="0.5")
    polling, websocket = await open_both(server)
    silent = await asyncio.open_connection("127.0.0.1", server.port)
    half = await asyncio.open_connection("127.0.0.1", server.port)
    half[1].write(b"GET /health HTTP/1.1\r\nHo")
    await half[1].drain()
    await expect_health(server, connections=2)
    server.signal()
    assert await asyncio.to_thread(server.wait) == 0
    assert server.stderr == []
    for _, writer in (silent, half):
        writer.close()
    await websocket.close()
    await polling.http.aclose()
