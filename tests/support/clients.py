"""Clients of the tests: HTTP long polling by httpx, WebSocket by websockets, Socket.IO's packets by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
from tests.support.processes import PATIENCE
from tests.support.servers import Address
from websockets.asyncio.client import ClientConnection, connect


def opened(packet: str | bytes) -> dict[str, Any]:
    text = packet.decode() if isinstance(packet, bytes) else packet
    assert text.startswith("0{"), text
    handshake: dict[str, Any] = json.loads(text[1:])
    return handshake


class Polling:
    """A long-polling client, with a session unless it `opens` none."""

    def __init__(self, address: Address, headers: dict[str, str] | None = None, *, opens: bool = True) -> None:
        self.address = address
        self.opens = opens
        self.http = httpx.AsyncClient(timeout=PATIENCE, headers=headers, trust_env=False)
        self.sid = ""

    async def __aenter__(self) -> Self:
        if self.opens:
            await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def open(self) -> dict[str, Any]:
        answer = await self.http.get(self.address.url())
        assert answer.status_code == 200, answer.text
        handshake = opened(answer.text)
        self.sid = handshake["sid"]
        return handshake

    async def connect(self) -> None:
        """Connect to the main namespace."""
        await self.post("40")
        assert (await self.poll())[0].startswith('40{"sid":')

    async def get(self) -> httpx.Response:
        return await self.http.get(self.address.url(sid=self.sid))

    async def poll(self) -> list[str]:
        answer = await self.get()
        assert answer.status_code == 200, answer.text
        return answer.text.split("\x1e")

    async def post(self, *packets: str | bytes) -> httpx.Response:
        parts = [packet.encode() if isinstance(packet, str) else packet for packet in packets]
        return await self.http.post(self.address.url(sid=self.sid), content=b"\x1e".join(parts))


class WebSocket:
    """A WebSocket client that answers pings and returns everything else."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.handshake: dict[str, Any] = {}

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.connection.send(message)

    async def receive(self) -> str | bytes:
        async with asyncio.timeout(PATIENCE):
            while (message := await self.connection.recv()) == "2":
                await self.connection.send("3")
        return message

    async def receive_many(self, count: int) -> list[str | bytes]:
        return [await self.receive() for _ in range(count)]

    async def closed(self) -> int | None:
        """Wait for the end of the connection, and return its close code."""
        async with asyncio.timeout(PATIENCE):
            await self.connection.wait_closed()
        return self.connection.close_code

    async def connect(self, namespace: str = "/", auth: object = None) -> str:
        prefix = "" if namespace == "/" else f"{namespace},"
        await self.send(f"40{prefix}" + ("" if auth is None else json.dumps(auth)))
        answer = await self.receive()
        assert isinstance(answer, str)
        assert answer.startswith(f"40{prefix}{{"), answer
        sid: str = json.loads(answer[2 + len(prefix) :])["sid"]
        return sid

    async def emit(self, *event: object) -> None:
        await self.send("42" + json.dumps(event))

    async def event(self) -> list[Any]:
        """The next message, which must be an event of the main namespace."""
        message = await self.receive()
        assert isinstance(message, str)
        assert message.startswith("42["), message
        event: list[Any] = json.loads(message[2:])
        return event


@asynccontextmanager
async def websocket(address: Address, sid: str | None = None, **options: Any) -> AsyncIterator[WebSocket]:
    """Open a WebSocket. Without `sid` it has its own session, whose handshake is read."""
    options = {"compression": None, "proxy": None, "max_size": None, **options}
    async with connect(address.url("websocket", sid), **options) as connection:
        client = WebSocket(connection)
        if sid is None:
            first = await client.receive()
            client.handshake = opened(first)
        yield client


@asynccontextmanager
async def socketio(address: Address, auth: object = None) -> AsyncIterator[WebSocket]:
    """A WebSocket that is connected to the main namespace."""
    async with websocket(address) as client:
        await client.connect(auth=auth)
        yield client
