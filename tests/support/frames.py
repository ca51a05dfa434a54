"""WebSocket frames by hand, for what no client sends."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.support.processes import PATIENCE
from tests.support.servers import Address
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame as a client sends it; `rsv` holds the three reserved bits, the first as 4."""
    size = len(payload)
    flag = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    pad = (key * (size // 4 + 1))[:size]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def parse_frames(data: bytes, extensions: Sequence[Extension] = ()) -> list[Frame]:
    """The frames of a server, as the websockets library reads them."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    frames: list[Frame] = []

    def read() -> Generator[None, None, None]:
        while not (yield from reader.at_eof()):
            frames.append((yield from Frame.parse(reader.read_exact, mask=False, extensions=extensions)))

    for _ in read():
        raise AssertionError("a frame is cut short")
    return frames


class Closed(NamedTuple):
    """How a connection was closed; without a close frame the code is None."""

    code: int | None
    reason: str


class RawWebSocket:
    """A client that sends whatever it is told to, and answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))
        await self.writer.drain()

    async def frame(self) -> Frame:
        """The next frame. Raises `IncompleteReadError` at the end."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readexactly(2)
            size = head[1] & 0x7F
            assert not head[1] & 0x80, "a server does not mask"
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            payload = await self.reader.readexactly(size)
        bits = [bool(head[0] & bit) for bit in (0x80, 0x40, 0x20, 0x10)]
        return Frame(Opcode(head[0] & 15), payload, *bits)

    async def text(self) -> str:
        frame = await self.frame()
        assert frame.opcode is Opcode.TEXT, frame
        return bytes(frame.data).decode()

    async def closed(self) -> Closed:
        """Skip to the close frame, or to the end of the connection."""
        try:
            while (frame := await self.frame()).opcode is not Opcode.CLOSE:
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return Closed(None, "")
        data = bytes(frame.data)
        return Closed(int.from_bytes(data[:2], "big"), data[2:].decode())

    async def ended(self) -> None:
        """Wait for the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass


@asynccontextmanager
async def raw_websocket(
    address: Address,
    sid: str | None = None,
    *,
    extensions: str | None = None,
    receive_buffer: int | None = None,
    read_limit: int = 65536,
) -> AsyncIterator[RawWebSocket]:
    """Open a WebSocket by hand; what the server sends first has not been read."""
    connection = socket.socket()
    connection.setblocking(False)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", address.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=read_limit)
    target = address.url("websocket", sid).removeprefix(f"ws://127.0.0.1:{address.port}")
    head = (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
    )
    if extensions is not None:
        head += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    try:
        writer.write(head.encode() + b"\r\n")
        async with asyncio.timeout(PATIENCE):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield RawWebSocket(reader, writer)
    finally:
        writer.transport.abort()
