"""Connections by hand: bytes, HTTP requests and WebSocket frames as a test writes them, for what no client sends."""

import asyncio
import base64
import json
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from tests.support.processes import PATIENCE
from tests.support.servers import Address
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10

#: Of a request for Socket.IO; the name of a transport follows.
PATH = "/socket.io/?EIO=4&transport="

Headers = Mapping[str, str | list[str]]


class Refused(Exception):
    """The server refused a client."""


class Response(NamedTuple):
    status: int
    body: bytes


class Closed(NamedTuple):
    """The end of a WebSocket. Without a close frame the code is None."""

    code: int | None
    reason: str


def request(method: str, target: str, headers: Headers | None = None, body: bytes = b"") -> bytes:
    """An HTTP request. A header with several values is repeated."""
    lines: dict[str, str | list[str]] = {"Host": "localhost", **(headers or {})}
    if body or method == "POST":
        lines.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields(lines))
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def fields(headers: Headers) -> list[tuple[str, str]]:
    values = {name: value if isinstance(value, list) else [value] for name, value in headers.items()}
    return [(name, value) for name, several in values.items() for value in several]


def upgrade(sid: str | None = None, *, path: str = "/socket.io/", **headers: str | list[str]) -> bytes:
    """A WebSocket handshake. Underscores in names of `headers` are hyphens, and an empty value omits one."""
    lines: dict[str, str | list[str]] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    target = f"{path}?EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
    return request("GET", target, {name: value for name, value in lines.items() if value})


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame as a client sends it. `rsv` holds the three reserved bits, the first as 4."""
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


class Connection:
    """A TCP connection to a server on the loopback address."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(
        cls,
        port: int,
        source: str = "127.0.0.1",
        *,
        slow: bool = False,
        receive_buffer: int | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect from the address `source`, over TLS if there is a certificate to `trust`.

        The kernel and the reader of a `slow` one buffer very little.
        """
        raw = socket.socket()
        try:
            raw.setblocking(False)
            if slow or receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer or 4096)
            raw.bind((source, 0))
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        except BaseException:
            raw.close()
            raise
        host = None if trust is None else "127.0.0.1"
        limit = 1024 if slow else 2**16
        return cls(*await asyncio.open_connection(sock=raw, limit=limit, ssl=trust, server_hostname=host))

    async def send(self, *data: bytes) -> None:
        """Send bytes. Raises `ConnectionError` if the connection has ended."""
        self._check_open()
        self.writer.write(b"".join(data))
        await self.writer.drain()

    def send_end(self) -> None:
        """Send the end of the data. Raises `ConnectionResetError` if the connection has ended."""
        self._check_open()
        self.writer.write_eof()

    def _check_open(self) -> None:
        if self.writer.transport.is_closing():
            raise ConnectionResetError  # uvloop has another error

    async def read(self, size: int) -> bytes:
        """Exactly this many bytes. Raises `IncompleteReadError` at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def head(self) -> str:
        """The head of an HTTP response, or its part before the end of the connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            return error.partial.decode("latin-1")
        except ConnectionError:
            return ""

    async def response(self) -> Response:
        """Read one HTTP response. Raises `IncompleteReadError` if the server closes instead."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            return Response(int(head.split(b" ", 2)[1]), await self.reader.readexactly(length))

    async def status(self) -> int:
        """The status of the next HTTP response, after its body."""
        return (await self.response()).status

    async def ended(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def abort(self) -> None:
        """Close the connection without sending pending data."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


class WebSocket(Connection):
    """A WebSocket that sends only what the test says, except pongs in `packet`."""

    async def shake(self, sid: str | None = None, *, path: str = "/socket.io/", **headers: str | list[str]) -> None:
        """Do the handshake. Raises `Refused` if the response is not 101."""
        await self.send(upgrade(sid, path=path, **headers))
        answer = await self.response()
        if answer.status != 101:
            raise Refused(f"{answer.status} {answer.body.decode('latin-1')[:100]}")

    async def frame(self) -> Frame:
        """The next frame. Raises `IncompleteReadError` at the end of the connection."""
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
        """The next frame, which must be text."""
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

    async def packet(self) -> bytes:
        """The next Engine.IO text packet other than a ping. Pings are answered. Raises `Refused` at a close frame."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = await self.frame()
                if frame.opcode is Opcode.CLOSE:
                    raise Refused(f"closed: {bytes(frame.data)[2:].decode('latin-1')}")
                if frame.opcode is Opcode.TEXT and frame.data != b"2":
                    return bytes(frame.data)
                if frame.opcode is Opcode.TEXT:
                    await self.send_text(b"3")

    async def send_text(self, packet: bytes) -> None:
        await self.send(client_frame(TEXT, packet))

    async def send_binary(self, data: bytes) -> None:
        await self.send(client_frame(BINARY, data))

    async def emit(self, *event: Any) -> None:
        await self.send_text(b"42" + json.dumps(event).encode())

    async def connect(self, token: str) -> str:
        """Connect to the main namespace, and return the socket's id. Raises `Refused`."""
        await self.send_text(b"40" + json.dumps({"token": token}).encode())
        answer = await self.packet()
        if not answer.startswith(b"40"):
            raise Refused(answer.decode()[:100])
        sid: str = json.loads(answer[2:])["sid"]
        return sid

    async def until_event(self, name: str) -> Any:
        while True:
            packet = await self.packet()
            if packet.startswith(b"42"):
                found, *arguments = json.loads(packet[2:])
                if found == name:
                    return arguments[0] if arguments else None


@asynccontextmanager
async def raw(address: Address, *, slow: bool = False, receive_buffer: int | None = None) -> AsyncIterator[Connection]:
    connection = await Connection.open(address.port, slow=slow, receive_buffer=receive_buffer)
    try:
        yield connection
    finally:
        connection.abort()


@asynccontextmanager
async def raw_websocket(
    address: Address,
    sid: str | None = None,
    *,
    source: str = "127.0.0.1",
    extensions: str = "",
    slow: bool = False,
) -> AsyncIterator[WebSocket]:
    """Open a WebSocket by hand. The server's first messages have not been read."""
    client = await WebSocket.open(address.port, source, slow=slow)
    try:
        await client.shake(sid, path=address.path, Sec_WebSocket_Extensions=extensions)
        yield client
    finally:
        client.abort()
