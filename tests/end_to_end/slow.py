"""Members of a project who read nothing until the test has them read."""

import asyncio
import contextlib
import json
import socket
import ssl
import zlib
from typing import Any, Self

from tests.end_to_end.people import Person
from tests.end_to_end.raw import Closed, Packet, RawClient
from tests.end_to_end.server_process import ServerProcess
from tests.support.clients import opened
from tests.support.frames import TEXT, RawWebSocket, client_frame
from websockets.frames import Opcode

DEFLATE = "permessage-deflate; client_max_window_bits"
_READ_AHEAD = 1024  # bytes that asyncio reads though nobody asked
_RECEIVE_BUFFER = 4096  # bytes, of the kernel


class SlowWebSocket:
    """An Engine.IO session over a WebSocket whose client's end takes next to nothing that is not asked for."""

    def __init__(self, frames: RawWebSocket) -> None:
        self._frames = frames

    @classmethod
    async def open(cls, server: ServerProcess, *, trust: ssl.SSLContext | None = None, extension: str = "") -> Self:
        """Open a session; over TLS if there is a certificate to `trust`."""
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", server.port))
        reader, writer = await asyncio.open_connection(
            sock=connection, limit=_READ_AHEAD, ssl=trust, server_hostname="127.0.0.1" if trust else None
        )
        head = [
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
            *("Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            *([f"Sec-WebSocket-Extensions: {extension}"] if extension else []),
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer
        assert (b"permessage-deflate" in answer) is bool(extension)
        carrier = cls(RawWebSocket(reader, writer))
        packet = await carrier.receive()
        assert isinstance(packet, str)
        opened(packet)
        return carrier

    async def send(self, *packets: str | bytes) -> None:
        """Send Engine.IO packets; the server may be gone already."""
        with contextlib.suppress(ConnectionError):
            await self._frames.send(*(client_frame(TEXT, str(packet).encode()) for packet in packets))

    async def receive(self) -> Packet:
        """The next Engine.IO packet from the server."""
        try:
            frame = await self._frames.frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            return Closed(None)
        assert frame.opcode is Opcode.TEXT
        data = bytes(frame.data)
        if frame.rsv1:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data + b"\x00\x00\xff\xff")
        return data.decode()

    async def close(self) -> None:
        """Cut the connection."""
        self._frames.writer.transport.abort()


async def enter(client: RawClient, person: Person, project: str) -> RawClient:
    """Sign in and join a project."""
    await client.sign_in(person)
    await client.join(project)
    return client


async def catch_up(client: RawClient) -> list[tuple[str, Any]]:
    """Read all events up to the answer to a ping that is sent now, or to the end of the connection."""
    events: list[tuple[str, Any]] = []
    await client.emit("ping")
    while not isinstance(packet := await client.receive(), Closed):
        assert isinstance(packet, str)
        assert packet.startswith("42[")
        name, argument = json.loads(packet[2:])
        if name == "pong":
            return events
        events.append((name, argument))
    return events
