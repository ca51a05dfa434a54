"""Compression by choice, for the official client: WebSocket's permessage-deflate, and gzip for polls by fetch()."""

import itertools
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Client, Way
from tests.support.relay import Relay, relaying
from tests.support.servers import Address, serving

from synkora import Socket, SocketServer

pytestmark = pytest.mark.tools

TEXT: Final = "compressible " * 1000
PICTURE: Final = bytes(10_000)
#: Bytes of a reply's head, and of the small events between the large ones.
_SMALL: Final = 2_000


@pytest.fixture
def server() -> SocketServer:
    """It sends a text or a picture to one client or to many, compressed or not, with or without an ack."""
    server = SocketServer(compression=True)
    server.on_connect(lambda socket: socket.join("lobby"))

    @server.on("send")
    async def send(socket: Socket, way: str, compress: bool | None, data: Any) -> str:
        main: Any = server.of("/")
        target: Any = {"socket": socket, "namespace": main, "server": server, "room": main.to("lobby")}[way]
        target = target if compress is None else target.compress(compress)
        if way == "room":
            target.emit("data", data)
        else:
            target.volatile.emit("data", data)
        return "sent"

    return server


@pytest.fixture
async def relay(server: SocketServer) -> AsyncIterator[Relay]:
    async with serving(server) as address, relaying(address.port) as relay:
        yield relay


@pytest.fixture(params=["websocket", "fetch"])
async def client(relay: Relay, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    node = await NodeProcess.start("remote-sockets.mjs")
    client = Client("client", Way("js", (request.param,)), node)
    await client.connect(Address(relay.port, "/").http, None)
    yield client
    await client.close()
    await node.stop()


@pytest.mark.parametrize("data", [TEXT, PICTURE], ids=["text", "binary"])
async def test_an_event_is_compressed_unless_it_is_to_be_sent_as_it_is(
    client: Client, relay: Relay, data: str | bytes
) -> None:
    """The client gets the same data, in a fraction of the bytes or in all of them."""
    for way, compress in itertools.product(("socket", "namespace", "server", "room"), (None, True, False)):
        before = relay.downloaded
        assert await client.call("send", way, compress, data) == "sent"
        assert await client.expect("data") == data
        downloaded = relay.downloaded - before
        assert (downloaded < _SMALL) is (compress is not False), downloaded
        assert (downloaded >= len(data)) is (compress is False), downloaded
