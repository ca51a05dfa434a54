"""Connections by hand: bytes to the server as they are given, from any loopback address."""

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.support.frames import BINARY, CLOSE, PING, TEXT, client_frame

PATH = "/socket.io/?EIO=4&transport="
PATIENCE = 20  # seconds: so long that only what never comes is missed, on a machine that is under attack


class Refused(Exception):
    """The server did not let a connection in."""


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes


class Connection:
    """A TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, source: str, *, receive_buffer: int | None = None) -> "Connection":
        """Connect from the loopback address `source`."""
        raw = socket.socket()
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            raw.bind((source, 0))
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        except BaseException:
            raw.close()
            raise
        # A reader that is to stand still must not read ahead much.
        return cls(*await asyncio.open_connection(sock=raw, limit=2**16 if receive_buffer is None else 4096))

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises `ConnectionResetError` where the connection has ended."""
        self._check_open()
        self.writer.write(data)
        await self.writer.drain()

    def send_end(self) -> None:
        """Say that nothing more comes. Raises `ConnectionResetError` where the connection has ended."""
        self._check_open()
        self.writer.write_eof()

    def _check_open(self) -> None:
        if self.writer.transport.is_closing():
            raise ConnectionResetError  # uvloop has another error, which would be taken for a fault of the attacker

    async def response(self) -> Response:
        """Read one HTTP response. Raises `IncompleteReadError` where the server closes instead."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            return Response(int(head.split(b" ", 2)[1]), await self.reader.readexactly(length))

    async def ended(self) -> bool:
        """Read until the server closes the connection; return whether it did so in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def reset(self) -> None:
        """Cut the connection off with a RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """Leave without a word."""
        self.writer.transport.abort()


def request(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """An HTTP request."""
    lines = {"Host": "localhost", **(headers or {})}
    if body or method == "POST":
        lines.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def upgrade(sid: str | None = None, **headers: str) -> bytes:
    """A WebSocket handshake; underscores in names of `headers` are hyphens, and an empty value leaves one out."""
    lines = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    target = f"{PATH}websocket" + (f"&sid={sid}" if sid else "")
    return request("GET", target, {name: value for name, value in lines.items() if value})


class WebSocket(Connection):
    """A WebSocket connection whose handshake is done."""

    async def shake(self, sid: str | None = None, **headers: str) -> None:
        """Do the handshake. Raises `Refused` where the server says anything but 101."""
        await self.send(upgrade(sid, **headers))
        answer = await self.response()
        if answer.status != 101:
            raise Refused(f"{answer.status} {answer.body.decode('latin-1')[:100]}")

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and payload. Raises `IncompleteReadError` at the end of the connection."""
        head = await self.reader.readexactly(2)
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return head[0] & 15, await self.reader.readexactly(size)

    async def ended(self) -> bool:
        """Read until the server closes; return whether it did so in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                while (await self.frame())[0] != CLOSE:
                    pass
        except (ConnectionError, EOFError):
            pass
        except TimeoutError:
            return False
        return True

    async def packet(self) -> bytes:
        """The next Engine.IO text packet that is no ping, which is answered."""
        async with asyncio.timeout(PATIENCE):
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    raise Refused(f"closed: {payload[2:].decode('latin-1')}")
                if opcode == TEXT and payload != b"2":
                    return payload
                if opcode == TEXT:
                    await self.text(b"3")

    async def text(self, packet: bytes) -> None:
        """Send a text message."""
        await self.send(client_frame(TEXT, packet))

    async def binary(self, data: bytes) -> None:
        """Send a binary message."""
        await self.send(client_frame(BINARY, data))

    async def ping(self, data: bytes) -> None:
        """Send a WebSocket ping."""
        await self.send(client_frame(PING, data))

    async def emit(self, *event: Any) -> None:
        """Send a Socket.IO event."""
        await self.text(b"42" + json.dumps(event).encode())

    async def connect(self, token: str) -> str:
        """Connect to the main namespace; return the socket's id. Raises `Refused`."""
        await self.text(b"40" + json.dumps({"token": token}).encode())
        answer = await self.packet()
        if not answer.startswith(b"40"):
            raise Refused(answer.decode()[:100])
        sid: str = json.loads(answer[2:])["sid"]
        return sid

    async def until_event(self, name: str) -> Any:
        """Skip to the next event of that name; return its argument."""
        while True:
            packet = await self.packet()
            if packet.startswith(b"42"):
                found, *arguments = json.loads(packet[2:])
                if found == name:
                    return arguments[0] if arguments else None
