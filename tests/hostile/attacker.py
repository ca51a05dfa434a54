"""An attacker: opens connections, sends what no client would, and counts."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.users import SECRET
from tests.support.wire import PATH, Connection, Refused, Response, WebSocket, request

from synkora.identity.tokens import sign

PING_INTERVAL = 4  # seconds, of the attacked server
_BETWEEN = 0.01  # seconds from one run of a kind to the next, at least


@dataclass
class Account:
    """The counts so far: messages and runs by kind, and wrong answers."""

    rate: float  # messages a second, in all
    messages: int = 0
    connections: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    turns: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def wait_for_turn(self) -> None:
        """Wait, so that the average is `rate` messages a second."""
        async with self.turns:
            ahead = self.began + self.messages / self.rate - time.monotonic()
            await asyncio.sleep(max(ahead, _BETWEEN))


class Surprise(AssertionError):
    """The server gave a wrong answer to a hostile message."""


class Attacker:
    """One hostile client, from its own address, signed in as its own user with its own project.

    `victims` are projects of others.
    """

    def __init__(self, number: int, port: int, victims: list[str], account: Account, chance: random.Random) -> None:
        self.port = port
        self.source = f"127.0.{2 + number // 250}.{1 + number % 250}"
        self.victims = victims
        self.project = f"hostile-{number}"
        self.token = sign({"id": f"hostile-{number}", "name": f"Hostile {number}"}, SECRET, expires_in=3600)
        self.chance = chance
        self.kind = ""
        self._account = account

    def count(self, messages: int = 1) -> None:
        self._account.messages += messages
        self._account.by_kind[self.kind] = self._account.by_kind.get(self.kind, 0) + messages

    @contextlib.asynccontextmanager
    async def connection(self, *, slow: bool = False) -> AsyncIterator[Connection]:
        connection = await Connection.open(self.port, self.source, slow=slow)
        self._account.connections += 1
        try:
            yield connection
        finally:
            connection.abort()

    @contextlib.asynccontextmanager
    async def websocket(
        self, sid: str | None = None, *, slow: bool = False, **headers: str
    ) -> AsyncIterator[WebSocket]:
        """A WebSocket. With a new session, its OPEN packet is read."""
        async with self.connection(slow=slow) as connection:
            socket = WebSocket(connection.reader, connection.writer)
            await socket.shake(sid, **headers)
            if sid is None:
                await socket.frame()
            yield socket

    @contextlib.asynccontextmanager
    async def member(self, *, slow: bool = False) -> AsyncIterator[WebSocket]:
        """A signed-in WebSocket in the attacker's own project."""
        async with self.websocket(slow=slow) as socket:
            await socket.connect(self.token)
            await socket.emit("join-project", self.project)
            await socket.until_event("users:count")
            yield socket

    async def ask(self, data: bytes) -> Response | None:
        """Send one request over its own connection. Returns the response, or None if the server closed instead."""
        async with self.connection() as connection:
            self.count()
            try:
                await connection.send(data)
                return await connection.response()
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def open_polling(self) -> str:
        """Open a polling session and return its sid. Raises `Refused`."""
        answer = await self.ask(request("GET", f"{PATH}polling"))
        if answer is None or answer.status != 200:
            raise Refused(str(answer))
        sid: str = json.loads(answer.body[1:])["sid"]
        return sid

    async def expect_refusal(self, data: bytes, *statuses: int) -> None:
        """Send a request that must fail: with one of `statuses`, with any error, or with the end of the connection."""
        answer = await self.ask(data)
        if answer is not None and (answer.status < 400 or (statuses and answer.status not in (*statuses, 429, 503))):
            raise Surprise(f"{data[:60]!r} got {answer.status} {answer.body[:60]!r}")

    async def expect_end(self, connection: Connection) -> None:
        try:
            await (connection.closed() if isinstance(connection, WebSocket) else connection.ended())
        except TimeoutError:
            raise Surprise("the connection was not closed") from None

    async def expect_life(self, socket: WebSocket) -> None:
        """Check that a signed-in connection still works."""
        await socket.emit("ping")
        await socket.until_event("pong")

    def pick(self, *choices: Any) -> Any:
        return self.chance.choice(choices)


Attack = Callable[[Attacker], Awaitable[None]]
