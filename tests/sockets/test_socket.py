"""Each end of a connection, and Socket.IO's reason for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.clients import Polling, socketio, websocket
from tests.support.logs import capture_logs
from tests.support.servers import Address, serving, until
from tests.support.wire import TEXT, WebSocket, client_frame, raw_websocket

from synkora import Socket, SocketServer


@dataclass
class Watched:
    """A running server, and the reasons that its main namespace got."""

    server: SocketServer
    address: Address
    reasons: list[str] = field(default_factory=list)

    async def reason(self) -> str:
        await until(lambda: self.reasons)
        assert len(self.reasons) == 1
        return self.reasons[0]

    @property
    def socket(self) -> Socket:
        (socket,) = self.server.of("/").sockets.values()
        return socket


def watch(server: SocketServer, reasons: list[str]) -> None:
    main = server.of("/")
    main.on("echo", lambda socket, *args: args)

    @main.on_disconnect
    async def gone(socket: Socket, reason: str) -> None:
        assert not socket.connected
        assert socket.rooms == frozenset()
        reasons.append(reason)


@pytest.fixture
async def watched(server: SocketServer) -> AsyncIterator[Watched]:
    async with serving(server) as address:
        watched = Watched(server, address)
        watch(server, watched.reasons)
        yield watched


@asynccontextmanager
async def raw_client(address: Address) -> AsyncIterator[WebSocket]:
    async with raw_websocket(address) as raw:
        await raw.send(client_frame(TEXT, b"40"))
        await raw.text()
        await raw.text()
        yield raw


async def test_a_client_that_closes_its_websocket(watched: Watched) -> None:
    async with socketio(watched.address):
        pass
    assert await watched.reason() == "transport close"


async def test_a_client_whose_connection_is_cut(watched: Watched) -> None:
    async with raw_client(watched.address):
        pass
    assert await watched.reason() == "transport close"


async def test_a_client_that_sends_engine_ios_close(watched: Watched) -> None:
    async with socketio(watched.address) as client:
        await client.send("1")
        assert await watched.reason() == "transport close"
    watched.reasons.clear()
    async with Polling(watched.address) as polling:
        await polling.post("40")
        await polling.post("1")
        assert await watched.reason() == "transport close"


async def test_a_poll_that_is_given_up(watched: Watched) -> None:
    async with Polling(watched.address) as client:
        await client.post("40")
        await client.poll()
        poll = asyncio.create_task(client.poll())
        await until(lambda: watched.socket._session.transport.writable)
        poll.cancel()
        assert await watched.reason() == "transport error"


async def test_a_broken_websocket_frame(watched: Watched) -> None:
    """A transport error: the connection is at fault, not Socket.IO's packets."""
    async with raw_client(watched.address) as raw:
        await raw.send(client_frame(TEXT, b"2", masked=False))
        assert (await raw.closed()).code == 1002
    assert await watched.reason() == "transport error"


async def test_a_message_over_the_limit(watched: Watched) -> None:
    async with socketio(watched.address) as client:
        await client.send('42["echo","' + "x" * 100_000 + '"]')
        assert await client.closed() == 1009
    assert await watched.reason() == "transport error"


@pytest.mark.parametrize("packet", ["x", "4abc", "42{}", '42["echo",NaN]', '42abc["echo"]'])
async def test_a_packet_that_cannot_be_read(watched: Watched, packet: str) -> None:
    async with socketio(watched.address) as client:
        await client.send(packet)
        assert await client.closed() == 1002
    assert await watched.reason() == "parse error"


@pytest.mark.parametrize("packet", ['42/other,["echo"]', '44{"message":"x"}', "43[]"])
async def test_a_packet_out_of_place(watched: Watched, packet: str) -> None:
    """A forced server close: an event for a namespace that was not joined, or a server's packet."""
    async with socketio(watched.address) as client:
        await client.send(packet)
        await client.closed()
    assert await watched.reason() == "forced server close"


async def test_a_client_that_does_not_answer_a_ping() -> None:
    reasons: list[str] = []
    server = SocketServer(ping_interval=0.05, ping_timeout=0.05)
    watch(server, reasons)
    async with serving(server) as address, raw_websocket(address) as raw:
        await raw.send(client_frame(TEXT, b"40"))
        await raw.closed()
        assert reasons == ["ping timeout"]


async def test_a_client_that_leaves_a_namespace(watched: Watched) -> None:
    admin: list[str] = []
    watched.server.of("/admin").on_disconnect(lambda socket, reason: admin.append(reason))
    async with socketio(watched.address) as client:
        await client.connect("/admin")
        await client.send("41/admin,")
        await until(lambda: admin)
        assert admin == ["client namespace disconnect"]
        await client.send('421["echo",1]')
        assert await client.receive() == "431[1]"
        await client.send("41")
        assert await watched.reason() == "client namespace disconnect"
        sid = await client.connect()
        assert sid in watched.server.of("/").sockets


async def test_an_event_after_leaving_closes_the_connection(watched: Watched) -> None:
    """A client that left by itself knows this."""
    async with socketio(watched.address) as client:
        await client.send("41", '42["echo"]')
        await client.closed()


class TestServerSide:
    async def test_disconnect_removes_the_client_from_the_namespace(self, watched: Watched) -> None:
        """It gets DISCONNECT after earlier messages, and may reconnect over the same connection."""
        async with socketio(watched.address) as client:
            socket = watched.socket
            socket.emit("last words")
            socket.disconnect()
            socket.emit("never")
            assert await client.receive_many(2) == ['42["last words"]', "41"]
            assert await watched.reason() == "server namespace disconnect"
            assert watched.server.of("/").sockets == {}
            assert await client.connect() != socket.id

    async def test_events_that_were_under_way_are_ignored(self, watched: Watched) -> None:
        """A client may send before it knows of its disconnect."""
        async with socketio(watched.address) as client:
            watched.socket.disconnect()
            await client.send('421["echo",1]', "430[]", "41", '451-["echo",{"_placeholder":true,"num":0}]', b"\x01")
            assert await client.receive() == "41"
            await client.connect()
            await client.send('422["echo",2]')
            assert await client.receive() == "432[2]"

    async def test_disconnect_with_close_ends_the_connection(self, watched: Watched) -> None:
        """All its namespaces end, after the last messages."""
        admin: list[str] = []
        watched.server.of("/admin").on_disconnect(lambda socket, reason: admin.append(reason))
        async with socketio(watched.address) as client:
            await client.connect("/admin")
            watched.socket.emit("last words")
            watched.socket.disconnect(close=True)
            assert await client.receive_many(2) == ['42["last words"]', "41"]
            await client.closed()
        assert await watched.reason() == "server namespace disconnect"
        assert admin == ["server namespace disconnect"]
        assert len(watched.server._registry) == 0

    async def test_a_polling_client_learns_by_its_next_poll(self, watched: Watched) -> None:
        """Last messages and DISCONNECT come in one poll, the close in another: it would hide them."""
        async with Polling(watched.address) as client:
            await client.post("40")
            await client.poll()
            socket = watched.socket
            socket.emit("last words")
            socket.disconnect(close=True)
            assert await client.poll() == ['42["last words"]', "41"]
            assert await client.poll() == ["1"]

    async def test_a_handler_may_disconnect_its_own_client(self, watched: Watched) -> None:
        @watched.server.of("/").on("bye")
        def bye(socket: Socket) -> str:
            socket.disconnect()
            return "never"

        async with socketio(watched.address) as client:
            await client.send('421["bye"]')
            assert await client.receive() == "41"
            await client.connect()


class TestShutdown:
    async def test_the_shutdown_is_announced_to_every_client(self, watched: Watched) -> None:
        """Each client gets the last messages, over either transport, and its connection ends."""
        server = watched.server
        async with socketio(watched.address) as client, Polling(watched.address) as polling:
            await polling.post("40")
            await polling.poll()
            server.emit("goodbye")
            stopping = asyncio.create_task(server.close(5))
            assert await client.event() == ["goodbye"]
            assert await client.closed() == 1012
            received = await polling.poll()
            while received[-1] != "1":
                received += await polling.poll()
            assert received == ['42["goodbye"]', "1"]
            assert await stopping
        assert watched.reasons == ["server shutting down"] * 2

    async def test_a_client_that_does_not_return_is_not_awaited(self) -> None:
        """Closing ends within its timeout, and reports the remaining client."""
        server = SocketServer()
        server.of("/")
        async with serving(server) as address, Polling(address):
            assert not await server.close(0.05)

    async def test_without_clients_returns_at_once(self) -> None:
        assert await SocketServer().close(60)


class TestHandlerErrors:
    async def test_an_error_in_on_disconnect_is_logged(
        self, server: SocketServer, address: Address, either: Callable[..., Any]
    ) -> None:

        def fail(socket: Socket, reason: str) -> None:
            raise RuntimeError("of the test")

        server.of("/").on_disconnect(either(fail))
        with capture_logs() as logs:
            async with socketio(address):
                pass
            await until(lambda: logs)
        assert (logs[0]["event"], logs[0]["eventName"]) == ("handler_failed", "disconnect")
        async with websocket(address) as other:
            await other.connect()


async def test_nothing_remains_of_disconnected_clients(server: SocketServer, address: Address) -> None:
    """After many connects and disconnects over both transports, every count is zero."""
    main = server.of("/")
    main.on_connect(lambda socket, auth: socket.join("room", socket.id + "'s"))
    for _ in range(10):
        async with socketio(address), websocket(address), Polling(address) as polling:
            await polling.post("40")
            await polling.post("1")
    await until(lambda: len(server._registry) == 0)
    assert server._registry.open_websockets == 0
    assert main.sockets == {}
    assert len(main._core.adapter.rooms) == 0
    assert len(main._core.adapter.rooms.members) == 0
    assert len(server._host.connecting) == 0
    assert len(server._registry.heartbeat._pings) == 0
    assert len(server._registry.heartbeat._pongs) == 0
