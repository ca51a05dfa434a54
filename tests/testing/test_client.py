"""The client in memory for applications' tests."""

import asyncio
import re
from typing import Any

import pytest
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE
from tests.support.real_clients import Client, Way
from tests.support.servers import serving

from synkora import ConnectRefused, EventRefused, Handshake, RedisAdapter, Socket, SocketServer
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.testing import ClientClosed, ConnectError, connect

pytest_plugins = ["synkora.testing.plugin"]


@pytest.fixture
def server() -> SocketServer:
    server = SocketServer()
    server.on("echo", lambda socket, *args: args)
    return server


async def test_events_and_acks_go_both_ways(server: SocketServer) -> None:
    """Attachments included. A function answers the server's `call`."""

    @server.on("ask me")
    async def ask(socket: Socket) -> object:
        return await socket.call("question", b"\x01", 2)

    async with connect(server) as client:
        assert client.connected
        assert await client.call("echo", b"\x00", {"a": [b"\x01"]}) == b"\x00"
        client.answers["question"] = lambda content, number: (content, number)
        assert await client.call("ask me") == b"\x01"
        server.emit("news", "text", b"\x02")
        assert await client.receive("news") == ["news", "text", b"\x02"]


async def test_a_client_has_the_handshakes_values(server: SocketServer) -> None:
    """Headers, query, address and auth are the test's choice."""
    seen: list[Any] = []
    server.on_connect(lambda socket, auth: seen.append((socket.handshake, auth)))
    async with connect(
        server, auth={"name": "Ada"}, headers={"X-Test": "1"}, query={"room": "a b"}, address="192.0.2.7", secure=True
    ):
        ((handshake, auth),) = seen
    assert auth == {"name": "Ada"}
    assert (handshake.headers["x-test"], handshake.query["room"]) == ("1", "a b")
    assert (handshake.address, handshake.secure) == ("192.0.2.7", True)


async def test_a_refused_client_raises(server: SocketServer) -> None:
    """With the message and data of the refusal. No socket is connected."""

    @server.on_connect
    async def refuse(socket: Socket, auth: dict[str, Any]) -> None:
        raise ConnectRefused("Who are you?", {"missing": "name"})

    with pytest.raises(ConnectError, match="Who are you") as refusal:
        async with connect(server):
            pass
    assert refusal.value.data == {"missing": "name"}
    with pytest.raises(ConnectError, match="Invalid namespace"):
        async with connect(server, "/nowhere"):
            pass


def refuse_bad_agents(handshake: Handshake) -> None:
    if handshake.headers.get("user-agent") == "bad":
        raise ConnectRefused("Not you")


@pytest.mark.parametrize(
    ("options", "handshake", "words"),
    [
        ({"allow_request": refuse_bad_agents}, {"headers": {"User-Agent": "bad"}}, "Not you"),
        ({"origins": ["https://a.com"]}, {"headers": {"Origin": "https://b.com"}}, "https://b.com"),
        (
            {"connection_limiter": ConnectionLimiter(ConnectionLimits(connections_per_address=1))},
            {"address": "192.0.2.7"},
            "Too many connections",
        ),
    ],
    ids=["allow_request", "origins", "limits"],
)
async def test_a_handshake_is_checked_as_a_real_one(
    options: dict[str, Any], handshake: dict[str, Any], words: str
) -> None:
    server = SocketServer(**options)
    server.on("echo", lambda socket, value: value)
    async with connect(server, address="192.0.2.7") as client:
        assert await client.call("echo", 5) == 5
        with pytest.raises(ConnectError, match=re.escape(words)):
            await connect(server, **handshake).__aenter__()


async def test_a_server_whose_adapter_is_not_connected_says_so() -> None:
    """The test has to enter `server.lifespan()`."""
    server = SocketServer(adapter=RedisAdapter.from_url("redis://127.0.0.1:9"))
    server.on("echo", lambda socket, value: value)
    with pytest.raises(ConnectError, match=r"The server's adapter is not connected: enter server\.lifespan"):
        await connect(server).__aenter__()


async def test_a_server_without_websocket_is_polled() -> None:
    server = SocketServer(transports=["polling"])
    server.on("echo", lambda socket, value: value)
    async with connect(server) as client:
        assert await client.call("echo", 5) == 5


async def test_nothing_follows_the_end(server: SocketServer) -> None:
    """Earlier messages are received, then the wait ends with the reason."""
    async with connect(server) as client:
        server.emit("last")
        server.disconnect_sockets()
        assert await client.receive() == ["last"]
        for _ in range(2):
            with pytest.raises(ClientClosed, match="server namespace disconnect"):
                await client.receive()
        with pytest.raises(ClientClosed):
            client.emit("echo")
        assert not client.connected


async def test_events_that_came_can_be_looked_at(server: SocketServer) -> None:
    async with connect(server) as client:
        server.emit("one", 1)
        server.emit("two")
        await client.call("echo")
        assert client.received() == [["one", 1], ["two"]]
        assert client.received() == []
        with pytest.raises(TimeoutError):
            await client.receive(timeout=0.01)


async def test_a_refused_event_is_not_acknowledged(server: SocketServer) -> None:
    @server.on("refuse")
    def refuse(socket: Socket) -> None:
        raise EventRefused("No")

    async with connect(server) as client:
        with pytest.raises(TimeoutError):
            await client.call("refuse", timeout=0.02)
        assert await client.receive("error") == ["error", {"message": "No", "event": "refuse"}]


async def test_the_servers_handlers_learn_of_the_end(server: SocketServer) -> None:
    """At the end of the block, after earlier messages, and nothing remains."""
    seen: list[str] = []
    server.on("last", lambda socket: seen.append("last"))

    @server.on_disconnect
    async def gone(socket: Socket, reason: str) -> None:
        seen.append(reason)

    async with connect(server) as client:
        client.emit("last")
    assert seen == ["last", "client namespace disconnect"]
    assert server.of("/").sockets == {}


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_disconnect_has_the_reason_that_a_real_client_causes(server: SocketServer, transport: str) -> None:
    """socket.io-client sends DISCONNECT before it closes the connection."""
    reasons: asyncio.Queue[str] = asyncio.Queue()
    server.on_disconnect(lambda socket, reason: reasons.put_nowait(reason))
    server.of("/chat").on_disconnect(lambda socket, reason: reasons.put_nowait(reason))
    for namespace in ("/", "/chat"):
        async with connect(server, namespace):
            pass
    in_memory = {await reasons.get(), await reasons.get()}
    node = await NodeProcess.start("remote-sockets.mjs")
    try:
        async with serving(server) as address:
            client = Client("client", Way("js", (transport,)), node)
            await client.connect(address.http, None)
            await client.close()
            async with asyncio.timeout(PATIENCE):
                assert in_memory == {await reasons.get()}
    finally:
        await node.stop()


async def test_the_fixture_connects_clients_for_the_length_of_a_test(server: SocketServer, connect_client: Any) -> None:
    ada, bob = await asyncio.gather(connect_client(server), connect_client(server))
    assert {ada.id, bob.id} == set(server.of("/").sockets)


async def test_a_call_without_an_ack_reports_the_received_events(server: SocketServer) -> None:
    """A refused event has no ack by default: the refusal is in the error."""

    @server.on("refuse")
    def refuse(socket: Socket) -> None:
        raise EventRefused("Not now")

    async with connect(server) as client:
        with pytest.raises(TimeoutError, match=r"no ack for 'refuse' within 0.01 s; events meanwhile: .*Not now"):
            await client.call("refuse", timeout=0.01)
        server.emit("news")
        with pytest.raises(TimeoutError, match=r"no 'other' within 0.01 s; other events: .*'news'"):
            await client.receive("other", timeout=0.01)
