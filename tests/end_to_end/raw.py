"""Clients that do what no well-behaved client does: the test writes bytes, frames and packets."""

import asyncio
import base64
import contextlib
import json
import ssl
import zlib
from typing import Any, NamedTuple, Protocol

import httpx
from tests.support.positions import without_position
from tests.support.processes import PATIENCE
from tests.support.server_process import ServerProcess
from tests.support.users import User
from tests.support.wire import BINARY, TEXT, WebSocket, client_frame, fields
from websockets.frames import Opcode

DEFLATE = "permessage-deflate; client_max_window_bits"
SEPARATOR = "\x1e"


class Closed(NamedTuple):
    """The end of a connection: a WebSocket's close code, an HTTP status, or None if it was aborted."""

    code: int | None


Packet = str | bytes | Closed


class Carrier(Protocol):
    async def send(self, *packets: str | bytes) -> None:
        """Send Engine.IO packets. The server may have closed already."""
        ...

    async def receive(self) -> Packet: ...

    async def close(self) -> None: ...


class RawWebSocket:
    """An Engine.IO session over a WebSocket whose every byte the test writes."""

    def __init__(self, connection: WebSocket, *, slow: bool = False) -> None:
        self.connection = connection
        self._is_slow = slow

    @classmethod
    async def open(
        cls, server: ServerProcess, *, slow: bool = False, trust: ssl.SSLContext | None = None, extension: str = ""
    ) -> "RawWebSocket":
        """Open a session. The kernel of a `slow` client buffers very little."""
        connection = await WebSocket.open(server.port, slow=slow, trust=trust)
        await connection.shake(Sec_WebSocket_Extensions=extension)
        carrier = cls(connection, slow=slow)
        opening = await carrier.receive()
        assert isinstance(opening, str)
        assert opening.startswith("0{")
        return carrier

    @classmethod
    async def shake_hands(cls, server: ServerProcess, sid: str, **headers: str | list[str]) -> "RawWebSocket":
        """Open a WebSocket, for the session `sid` if given. A header with several values is repeated."""
        connection = await WebSocket.open(server.port)
        await connection.shake(sid, path="/socket.io/", **headers)
        return cls(connection)

    async def send(self, *packets: str | bytes) -> None:
        """Send Engine.IO packets. The server may have closed already."""
        await self.send_bytes(
            b"".join(
                client_frame(TEXT, packet.encode("utf-8", "surrogateescape"))
                if isinstance(packet, str)
                else client_frame(BINARY, packet)
                for packet in packets
            )
        )

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes. A connection that the server has closed is no error."""
        with contextlib.suppress(ConnectionError):
            await self.connection.send(data)

    async def receive(self) -> Packet:
        try:
            frame = await self.connection.frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            return Closed(None)
        data = bytes(frame.data)
        if frame.opcode is Opcode.CLOSE:
            return Closed(int.from_bytes(data[:2]) if data else 1005)
        assert frame.fin
        assert frame.opcode in (Opcode.TEXT, Opcode.BINARY)
        if frame.rsv1:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data + b"\x00\x00\xff\xff")
        return data.decode() if frame.opcode is Opcode.TEXT else data

    async def close(self) -> None:
        if self._is_slow:
            self.connection.abort()
        else:
            await self.connection.close()


class RawPolling:
    """An Engine.IO session over HTTP whose every body the test writes."""

    def __init__(self, http: httpx.AsyncClient, sid: str) -> None:
        self.http = http
        self.query = {"EIO": "4", "transport": "polling", "sid": sid}
        self._packets: list[str] = []

    @classmethod
    async def open(cls, server: ServerProcess, **headers: str | list[str]) -> "RawPolling":
        """Open a session. The kernel of a `slow` client buffers very little."""
        http = httpx.AsyncClient(
            base_url=f"{server.url}/socket.io/", headers=fields(headers), timeout=PATIENCE, trust_env=False
        )
        opening = await http.get("", params={"EIO": "4", "transport": "polling"})
        assert opening.status_code == 200
        return cls(http, json.loads(opening.text[1:])["sid"])

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        return await self.http.post("", params=self.query, content=body, headers=headers)

    async def send(self, *packets: str | bytes) -> None:
        """Send Engine.IO packets. The server may have closed already."""
        parts = [packet if isinstance(packet, str) else "b" + base64.b64encode(packet).decode() for packet in packets]
        await self.post(SEPARATOR.join(parts).encode("utf-8", "surrogateescape"))

    async def receive(self) -> Packet:
        if not self._packets:
            answer = await self.http.get("", params=self.query)
            if answer.status_code != 200:
                return Closed(answer.status_code)
            self._packets = answer.text.split(SEPARATOR)
        packet = self._packets.pop(0)
        return Closed(None) if packet == "1" else packet

    async def close(self) -> None:
        await self.http.post("", params=self.query, content=b"1")
        await self.http.aclose()


class RawClient:
    """A Socket.IO client that sends the test's packets."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier

    async def sign_in(self, user: User) -> None:
        await self.carrier.send("40" + json.dumps({"token": user.token}))
        answer = await self.receive()
        assert isinstance(answer, str)
        assert answer.startswith("40{"), answer
        await self.expect("connected")

    async def receive(self) -> Packet:
        while (packet := await self.carrier.receive()) == "2":
            await self.carrier.send("3")
        return packet

    async def emit(self, *event: Any) -> None:
        await self.carrier.send("42" + json.dumps(event))

    async def expect(self, name: str) -> Any:
        """The argument of the next event, which must be `name`."""
        packet = await self.receive()
        assert isinstance(packet, str), f"{packet!r} instead of {name}"
        assert packet.startswith("42["), f"{packet!r} instead of {name}"
        event, *args = json.loads(packet[2:])
        assert event == name, f"{packet!r} instead of {name}"
        return args[0] if args else None

    async def join(self, project: str) -> None:
        await self.emit("join-project", project)
        await self.expect("users:active")
        await self.expect("users:count")

    async def goes_on(self) -> None:
        """Fail unless the connection works, with the answer to a ping as its next event."""
        await self.emit("ping")
        await self.expect("pong")

    async def is_closed(self) -> Closed:
        """Wait for the end of the connection, which must come before anything else. Returns how it was closed."""
        packet = await self.receive()
        assert isinstance(packet, Closed), f"{packet!r} instead of the end"
        return packet


async def enter(client: RawClient, user: User, project: str) -> RawClient:
    await client.sign_in(user)
    await client.join(project)
    return client


async def catch_up(client: RawClient) -> list[tuple[str, Any]]:
    """Read all events up to the answer to a ping that is sent now, or to the end of the connection."""
    events: list[tuple[str, Any]] = []
    await client.emit("ping")
    while not isinstance(packet := await client.receive(), Closed):
        assert isinstance(packet, str)
        assert packet.startswith("42[")
        name, argument = without_position(json.loads(packet[2:]))
        if name == "pong":
            return events
        events.append((name, argument))
    return events
