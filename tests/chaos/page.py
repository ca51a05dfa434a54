"""A user at work in the web app, who connects and disconnects in every possible way."""

import asyncio
import json
import random
import time
from contextlib import suppress

from tests.chaos.place import Place
from tests.chaos.record import Connection
from tests.chaos.site import Site
from tests.support.positions import without_position
from tests.support.users import User
from tests.support.wire import CLOSE, TEXT, Refused, WebSocket, client_frame

_PATIENCE = 3  # seconds for a connection, after which another instance is tried
_PAUSE = (0.3, 0.9)  # seconds between two actions of a client
_GONE = (OSError, EOFError, TimeoutError, Refused)
#: The actions of a client between messages, each with its share of a thousand.
_WHIMS = {"move": 25, "come_and_go": 10, "leave": 10, "hang_up": 10, "vanish": 4}


class Page:
    """A client that connects to any instance repeatedly. With `is_calm` it stays connected and sends nothing."""

    def __init__(self, site: Site, user: User, projects: list[str], chance: random.Random) -> None:
        self.is_calm = False
        self.since = 0.0  # when it asked to be where it is
        self.vanished = 0.0  # when it last left without a close
        self._site = site
        self._user = user
        self._projects = projects
        self._chance = chance
        self._socket: WebSocket | None = None
        self._connection: Connection | None = None
        self._ghosts: list[WebSocket] = []
        self._changed = asyncio.Event()

    @property
    def is_settled(self) -> bool:
        """Whether it is connected and in a project, as far as it knows."""
        connection = self._connection
        return connection is not None and connection.visit is not None and connection.visit.left > time.monotonic()

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._chance.uniform(0.1, 1))
                place = self._chance.choice(self._site.places)
                with suppress(*_GONE):
                    await self._connect(place)
        finally:
            self._let_go()
            for ghost in self._ghosts:
                ghost.abort()

    async def _connect(self, place: Place) -> None:
        life = place.life
        async with asyncio.timeout(_PATIENCE):
            self._socket = socket = await WebSocket.open(place.port, "127.0.1.1")
            try:
                await socket.shake()
                await socket.packet()
                socket_id = await socket.connect(self._user.token)
            except BaseException:
                socket.abort()
                raise
        self._connection = connection = Connection(self._site.book, self._user.id, life, socket_id)
        reading = asyncio.create_task(self._read(socket, connection))
        try:
            await self._live(socket, connection, reading)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.end(time.monotonic())
        if self._socket is not None:
            self._socket.abort()
        self._connection = self._socket = None

    async def _read(self, socket: WebSocket, connection: Connection) -> None:
        with suppress(*_GONE):
            while True:
                frame = await socket.frame()
                opcode, payload = frame.opcode, bytes(frame.data)
                if opcode == CLOSE:
                    break
                if opcode == TEXT and payload == b"2":
                    await socket.send_text(b"3")
                elif opcode == TEXT and payload.startswith(b"42"):
                    connection.take(without_position(json.loads(payload[2:])), time.monotonic())
                    self._changed.set()
                elif opcode == TEXT and payload.startswith(b"41"):
                    break
        connection.end(time.monotonic())
        self._changed.set()

    async def _live(self, socket: WebSocket, connection: Connection, reading: asyncio.Task[None]) -> None:
        await self._enter(socket, connection)
        while not reading.done():
            await asyncio.wait((reading,), timeout=self._chance.uniform(*_PAUSE))
            visit = connection.visit
            if reading.done():
                return
            if visit is None:
                await self._enter(socket, connection)
            elif not self.is_calm and visit.confirmed < time.monotonic() < visit.left:
                whims = [*_WHIMS, "work"]
                whim = self._chance.choices(whims, [*_WHIMS.values(), 1000 - sum(_WHIMS.values())])[0]
                if whim == "work":
                    await self._work(socket, connection)
                elif whim == "move":
                    await self._leave(socket, connection)
                elif whim == "come_and_go":
                    await self._come_and_go(socket, connection)
                else:
                    await self._go(whim, socket, connection, reading)
                    return

    async def _enter(self, socket: WebSocket, connection: Connection) -> None:
        project = self._chance.choice(self._projects)
        connection.enter(project, time.monotonic())
        self.since = time.monotonic()
        await socket.emit("join-project", project)

    async def _leave(self, socket: WebSocket, connection: Connection) -> None:
        """Leave the project. The answer to a ping shows that the server has handled the leave."""
        assert connection.visit is not None
        connection.leave(time.monotonic())
        await socket.emit("leave-project", connection.visit.project)
        await socket.emit("ping")

    async def _come_and_go(self, socket: WebSocket, connection: Connection) -> None:
        """Leave, and be in another project for a moment."""
        await self._leave(socket, connection)
        while connection.visit is not None and connection.ended > time.monotonic():
            self._changed.clear()
            await self._changed.wait()
        if connection.ended > time.monotonic():
            await self._enter(socket, connection)
            await asyncio.sleep(self._chance.uniform(0, 0.02))
            if connection.visit is not None:
                await self._leave(socket, connection)

    async def _work(self, socket: WebSocket, connection: Connection) -> None:
        assert connection.visit is not None
        message = connection.send(time.monotonic())
        if message.number % 2:
            await socket.emit("task:move", {"projectId": message.project, "taskId": message.id, "status": "done"})
        else:
            await socket.emit("canvas:update", {"projectId": message.project, "changes": {"id": message.id}})

    async def _go(self, whim: str, socket: WebSocket, connection: Connection, reading: asyncio.Task[None]) -> None:
        connection.end(time.monotonic())
        if whim == "leave":
            await socket.send_text(b"41")
            await socket.send(client_frame(CLOSE, b"\x03\xe8"))
            await asyncio.sleep(0.2)
        elif whim == "vanish":
            self.vanished = time.monotonic()
            self._ghosts.append(socket)
            self._socket = None  # it stays open, and nothing is read or sent
        # Otherwise the connection ends without a close.
