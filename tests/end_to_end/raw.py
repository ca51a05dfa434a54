"""Clients that do what no well-behaved client does: bytes, frames and packets are sent as the test writes them."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import httpx
from tests.end_to_end.people import Person
from tests.end_to_end.server_process import ServerProcess
from tests.support.processes import PATIENCE

TEXT, BINARY, CLOSE = 1, 2, 8
SEPARATOR = "\x1e"


class Closed(NamedTuple):
    """What a carrier receives in the end: a WebSocket's close code, or an HTTP status; None where it was just cut."""

    code: int | None


Packet = str | bytes | Closed


def frame(opcode: int, payload: bytes, *, first: int = 0x80, masked: bool = True) -> bytes:
    """A frame (RFC 6455 section 5.2); `first` are its FIN and reserved bits."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 65536 else b"\x7f" + size.to_bytes(8)
    head = bytes([first | opcode])
    if not masked:
        return head + length + payload
    # A mask of zeros is a mask, and leaves what is sent to be read in the test.
    return head + bytes([length[0] | 0x80]) + length[1:] + bytes(4) + payload


def _fields(headers: Mapping[str, str | list[str]]) -> list[tuple[str, str]]:
    values = {name: value if isinstance(value, list) else [value] for name, value in headers.items()}
    return [(name, value) for name, several in values.items() for value in several]


class RawConnection:
    """A TCP connection, for HTTP and whatever else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, server: ServerProcess) -> "RawConnection":
        """Connect to a server."""
        return cls(*await asyncio.open_connection("127.0.0.1", server.port, limit=2**24))

    async def send(self, data: bytes) -> None:
        """Send bytes; that the server has closed already is no failure."""
        self.writer.write(data)
        try:
            await self.writer.drain()
        except ConnectionError:
            pass

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises `EOFError` at the end of the connection."""
        try:
            return await asyncio.wait_for(self.reader.readexactly(size), PATIENCE)
        except ConnectionError:
            raise EOFError from None

    async def head(self) -> str:
        """The head of an HTTP answer; what there is of one at the end of the connection."""
        try:
            return (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
        except asyncio.IncompleteReadError as error:
            return error.partial.decode()
        except ConnectionError:
            return ""

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


class Carrier(Protocol):
    """A transport as the tests use it."""

    async def send(self, *packets: str | bytes) -> None:
        """Send Engine.IO packets; the server may be gone already."""
        ...

    async def receive(self) -> Packet:
        """The next Engine.IO packet from the server."""
        ...

    async def close(self) -> None:
        """Let go of the server."""
        ...


class RawWebSocket:
    """An Engine.IO session over a WebSocket whose every byte is the test's."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, server: ServerProcess) -> "RawWebSocket":
        """Open a session."""
        carrier = await cls.shake_hands(server, "")
        opening = await carrier.receive()
        assert isinstance(opening, str)
        assert opening.startswith("0{")
        return carrier

    @classmethod
    async def shake_hands(cls, server: ServerProcess, sid: str, **headers: str | list[str]) -> "RawWebSocket":
        """Open a WebSocket, for the session `sid` if it is not empty; a header with several values is repeated."""
        connection = await RawConnection.open(server)
        given = {
            "Host": f"127.0.0.1:{server.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            **headers,
        }
        query = "EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
        lines = [f"GET /socket.io/?{query} HTTP/1.1", *(f"{name}: {value}" for name, value in _fields(given))]
        await connection.send("\r\n".join([*lines, "", ""]).encode())
        assert " 101 " in await connection.head()
        return cls(connection)

    async def send(self, *packets: str | bytes) -> None:
        """Send Engine.IO packets, all in one piece."""
        await self.connection.send(
            b"".join(
                frame(TEXT, packet.encode("utf-8", "surrogateescape"))
                if isinstance(packet, str)
                else frame(BINARY, packet)
                for packet in packets
            )
        )

    async def receive(self) -> Packet:
        """The next Engine.IO packet from the server, whose frames are never fragmented."""
        try:
            first, size = await self.connection.read(2)
            if size >= 126:
                size = int.from_bytes(await self.connection.read(2 if size == 126 else 8))
            payload = await self.connection.read(size)
        except EOFError:
            return Closed(None)
        if first == 0x80 | CLOSE:
            return Closed(int.from_bytes(payload[:2]) if payload else 1005)
        assert first in (0x80 | TEXT, 0x80 | BINARY)
        return payload.decode() if first == 0x80 | TEXT else payload

    async def close(self) -> None:
        """Let go of the server."""
        await self.connection.close()


class RawPolling:
    """An Engine.IO session over HTTP whose every body is the test's."""

    def __init__(self, http: httpx.AsyncClient, sid: str) -> None:
        self.http = http
        self.query = {"EIO": "4", "transport": "polling", "sid": sid}
        self._packets: list[str] = []

    @classmethod
    async def open(cls, server: ServerProcess, **headers: str | list[str]) -> "RawPolling":
        """Open a session, with these headers in all its requests; one with several values is repeated."""
        http = httpx.AsyncClient(
            base_url=f"{server.url}/socket.io/", headers=_fields(headers), timeout=PATIENCE, trust_env=False
        )
        opening = await http.get("", params={"EIO": "4", "transport": "polling"})
        assert opening.status_code == 200
        return cls(http, json.loads(opening.text[1:])["sid"])

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        """Send a body."""
        return await self.http.post("", params=self.query, content=body, headers=headers)

    async def send(self, *packets: str | bytes) -> None:
        """Send Engine.IO packets in one body."""
        parts = [packet if isinstance(packet, str) else "b" + base64.b64encode(packet).decode() for packet in packets]
        await self.post(SEPARATOR.join(parts).encode("utf-8", "surrogateescape"))

    async def receive(self) -> Packet:
        """The next Engine.IO packet from the server."""
        if not self._packets:
            answer = await self.http.get("", params=self.query)
            if answer.status_code != 200:
                return Closed(answer.status_code)
            self._packets = answer.text.split(SEPARATOR)
        packet = self._packets.pop(0)
        return Closed(None) if packet == "1" else packet

    async def close(self) -> None:
        """Let go of the server."""
        await self.http.post("", params=self.query, content=b"1")
        await self.http.aclose()


class RawClient:
    """A Socket.IO client that sends what it is given."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier

    async def sign_in(self, person: Person) -> None:
        """Connect to the main namespace."""
        await self.carrier.send("40" + json.dumps({"token": person.token}))
        answer = await self.receive()
        assert isinstance(answer, str)
        assert answer.startswith("40{"), answer
        await self.expect("connected")

    async def receive(self) -> Packet:
        """The next Engine.IO packet that is not a ping; pings are answered."""
        while (packet := await self.carrier.receive()) == "2":
            await self.carrier.send("3")
        return packet

    async def emit(self, *event: Any) -> None:
        """Emit an event."""
        await self.carrier.send("42" + json.dumps(event))

    async def expect(self, name: str) -> Any:
        """The argument of the next event, which is to be `name`."""
        packet = await self.receive()
        assert isinstance(packet, str), f"{packet!r} instead of {name}"
        assert packet.startswith("42["), f"{packet!r} instead of {name}"
        event, *args = json.loads(packet[2:])
        assert event == name, f"{packet!r} instead of {name}"
        return args[0] if args else None

    async def join(self, project: str) -> None:
        """Join a project."""
        await self.emit("join-project", project)
        await self.expect("users:active")
        await self.expect("users:count")

    async def goes_on(self) -> None:
        """Fail unless the connection still works, with nothing in it but the answer to a ping."""
        await self.emit("ping")
        await self.expect("pong")

    async def is_closed(self) -> Closed:
        """Wait for the end of the connection, which is to come before anything else; return how it was closed."""
        packet = await self.receive()
        assert isinstance(packet, Closed), f"{packet!r} instead of the end"
        return packet
