"""The last messages of connections that the server ends."""

import asyncio

import pytest
from tests.support.clients import Polling, socketio, websocket
from tests.support.processes import PATIENCE
from tests.support.servers import Address, serving, until
from tests.support.wire import TEXT, WebSocket, client_frame, raw_websocket
from websockets.frames import Opcode

from synkora import Socket, SocketServer
from synkora.engine.close_reasons import Reason
from synkora.engine.transports import websocket as transport_module

DOCUMENT = "x" * 900_000
BACKLOG = 3
FORCED, SHUTDOWN = 1000, 1012


async def connected_slowly(slow: WebSocket, server: SocketServer) -> None:
    """Connect a client that then reads nothing, until its buffers are full and it has a backlog."""
    await slow.frame()
    await slow.send(client_frame(TEXT, b"40"))
    await slow.frame()
    (socket,) = server.of("/").sockets.values()
    while socket._session.transport.writable:
        socket.emit("fill", DOCUMENT)
        await asyncio.sleep(0.001)
    for number in range(BACKLOG):
        socket.emit("held", number, DOCUMENT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert socket._session.outbox.waiting_bytes > BACKLOG * len(DOCUMENT)


class TestABacklog:
    @pytest.mark.parametrize("end", ["disconnect", "forced", "shutdown"])
    async def test_arrives_whole_before_the_close(self, server: SocketServer, address: Address, end: str) -> None:
        """A client that reads again gets its backlog, the close packet, and then the close frame."""
        async with raw_websocket(address, slow=True) as slow:
            await connected_slowly(slow, server)
            (socket,) = server.of("/").sockets.values()
            socket.emit("last")
            stopping = None
            if end == "shutdown":
                stopping = asyncio.create_task(server.close(5))
            elif end == "forced":
                socket._session.close(Reason.FORCED_SERVER_CLOSE)
            else:
                socket.disconnect(close=True)
            received: list[bytes] = []
            while (frame := await slow.frame()).opcode is not Opcode.CLOSE:
                received.append(bytes(frame.data))
            await slow.send(client_frame(Opcode.CLOSE, bytes(frame.data)))
            if stopping is not None:
                assert await stopping
        if end == "disconnect":
            assert received.pop() == b"41"
        assert received.pop() == b'42["last"]'
        assert [packet[:12] for packet in received[-BACKLOG:]] == [b'42["held",%d,' % n for n in range(BACKLOG)]
        assert {len(packet) for packet in received[-BACKLOG:]} == {len(DOCUMENT) + 15}
        code = SHUTDOWN if end == "shutdown" else FORCED
        assert int.from_bytes(bytes(frame.data)[:2], "big") == code

    async def test_of_a_client_that_does_not_read_is_closed(
        self, server: SocketServer, address: Address, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After the close timeout the connection is aborted, and nothing of it remains."""
        monkeypatch.setattr(transport_module, "CLOSING_TIME", 0.05)
        async with raw_websocket(address, slow=True) as slow:
            await connected_slowly(slow, server)
            (socket,) = server.of("/").sockets.values()
            socket.disconnect(close=True)
            assert server._registry.open_websockets == 1  # it has its time
            await until(lambda: server._registry.is_drained)
            assert (await slow.closed()).code is None


class TestInTheMiddleOfAnUpgrade:
    @pytest.mark.parametrize("shutdown", [True, False], ids=["shutdown", "disconnect"])
    async def test_the_last_messages_come_by_the_websocket(
        self, server: SocketServer, address: Address, shutdown: bool
    ) -> None:
        """The client does not poll after its probe is answered: the last messages follow after the upgrade."""
        main = server.of("/")
        reasons: list[str] = []
        main.on_disconnect(lambda socket, reason: reasons.append(reason))
        async with Polling(address) as polling:
            await polling.post("40")
            await polling.poll()
            async with websocket(address, polling.sid) as client:
                await client.send("2probe")
                assert await client.receive() == "3probe"
                (socket,) = main.sockets.values()
                socket.emit("last")
                stopping = None
                if shutdown:
                    stopping = asyncio.create_task(server.close(5))
                    await until(lambda: reasons)
                else:
                    socket.disconnect(close=True)
                await client.send("5")
                assert await client.receive() == '42["last"]'
                if not shutdown:
                    assert await client.receive() == "41"
                assert await client.closed() == (SHUTDOWN if shutdown else FORCED)
                if stopping is not None:
                    assert await stopping
        assert reasons == ["server shutting down" if shutdown else "server namespace disconnect"]
        await until(lambda: server._registry.is_drained)


async def test_a_disconnect_that_closes_tells_every_namespace(server: SocketServer, address: Address) -> None:
    """Each namespace gets a DISCONNECT before the close, and the same reason."""
    reasons: list[tuple[str, str]] = []
    for name in ("/", "/chat", "/admin"):
        server.of(name).on_disconnect(lambda socket, reason: reasons.append((socket.namespace, reason)))
    async with socketio(address) as client:
        await client.connect("/chat")
        await client.connect("/admin")
        (socket,) = server.of("/chat").sockets.values()
        socket.disconnect(close=True)
        assert sorted(map(str, await client.receive_many(3))) == ["41", "41/admin,", "41/chat,"]
        assert await client.closed() == FORCED
    assert sorted(reasons) == [(name, "server namespace disconnect") for name in ("/", "/admin", "/chat")]


class TestGoodbyes:
    async def test_they_are_waited_for(self, server: SocketServer) -> None:
        """A started coroutine of `on_disconnect` ends before `close` does."""
        done: list[str] = []

        @server.of("/").on_disconnect
        async def save(socket: Socket, reason: str) -> None:
            await asyncio.sleep(0.2)
            done.append(reason)

        async with serving(server) as address, socketio(address):
            assert await server.close(5)
            assert done == ["server shutting down"]

    async def test_but_not_for_longer_than_closing_has(self, server: SocketServer) -> None:
        ends: list[str] = []

        @server.of("/").on_disconnect
        async def hang(socket: Socket, reason: str) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        async with serving(server) as address, socketio(address):
            async with asyncio.timeout(PATIENCE):
                await server.close(0.1)
            await until(lambda: ends)
        assert ends == ["cancelled"]


async def test_a_post_to_an_ended_session_is_ignored(server: SocketServer, address: Address) -> None:
    """While its last messages wait for a poll, a running POST is answered `ok`, and its packets are ignored."""
    seen: list[object] = []
    server.of("/").on("note", lambda socket, value: seen.append(value))
    async with Polling(address) as client:
        await client.post("40")
        await client.poll()
        await client.post('42["note",1]')
        (socket,) = server.of("/").sockets.values()
        socket.disconnect(close=True)
        answer = await client.post('42["note",2]')
        assert (answer.status_code, answer.text) == (200, "ok")
        received = await client.poll()
        while received[-1] != "1":
            received += await client.poll()
        assert received == ["41", "1"]
    assert seen == [1]
