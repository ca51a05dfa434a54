"""The well-behaved members of projects, who send numbered edits and cursors and check what they get."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from tests.support.positions import without_position
from tests.support.processes import PATIENCE
from tests.support.users import User
from tests.support.wire import PATH, TEXT, Connection, Response, WebSocket, request

_EDIT, _CURSOR = "canvas:update", "canvas:cursor"
_PRESENCE = frozenset(("connected", "users:active", "users:count", "user:joined", "user:left"))


class Line(Protocol):
    async def open(self) -> None: ...

    async def send(self, packet: bytes) -> None: ...

    async def receive(self) -> list[bytes]: ...

    def close(self) -> None: ...


class WebSocketLine:
    def __init__(self, port: int, source: str) -> None:
        self._port, self._source = port, source

    async def open(self) -> None:
        self._socket = await WebSocket.open(self._port, self._source)
        await self._socket.shake()
        await self._socket.frame()  # OPEN

    async def send(self, packet: bytes) -> None:
        await self._socket.send_text(packet)

    async def receive(self) -> list[bytes]:
        frame = await self._socket.frame()
        assert frame.opcode == TEXT, f"closed: {frame}"
        return [bytes(frame.data)]

    def close(self) -> None:
        self._socket.abort()


class PollingLine:
    """By long polling, with one connection for the polls and one for the posts."""

    def __init__(self, port: int, source: str) -> None:
        self._port, self._source = port, source

    async def open(self) -> None:
        self._polls = await Connection.open(self._port, self._source)
        self._posts = await Connection.open(self._port, self._source)
        self._posting = asyncio.Lock()
        self._target = f"{PATH}polling"
        opened = await self._poll()
        self._target += f"&sid={json.loads(opened.body[1:])['sid']}"

    async def _poll(self) -> Response:
        await self._polls.send(request("GET", self._target))
        answer = await self._polls.response()
        assert answer.status == 200, answer
        return answer

    async def send(self, packet: bytes) -> None:
        async with self._posting:
            await self._posts.send(request("POST", self._target, body=packet))
            answer = await self._posts.response()
        assert answer.status == 200, answer

    async def receive(self) -> list[bytes]:
        return (await self._poll()).body.split(b"\x1e")

    def close(self) -> None:
        self._polls.abort()
        self._posts.abort()


class Member:
    """One of a project's members. `faults` has wrong and missing messages."""

    def __init__(self, user: User, project: str, line: Line, latencies: list[float]) -> None:
        self.user = user
        self.project = project
        self.socket_id = ""
        self.faults: list[str] = []
        self.sent: Counter[str] = Counter()
        self.received: Counter[tuple[str, str]] = Counter()
        self._connected = asyncio.Event()
        self._joined = asyncio.Event()
        self._line = line
        self._latencies = latencies
        self._peers: dict[str, str] = {}
        self._leaving = False
        self._stopped = False
        self._working: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    async def join(self) -> None:
        await self._line.open()
        self._reading = asyncio.create_task(self._read())
        await self._line.send(b"40" + json.dumps({"token": self.user.token}).encode())
        async with asyncio.timeout(PATIENCE):
            await self._connected.wait()
            await self._line.send(b"42" + json.dumps(["join-project", self.project]).encode())
            await self._joined.wait()

    def meet(self, members: list["Member"]) -> None:
        self._peers = {member.user.id: member.socket_id for member in members if member is not self}

    def start(self, interval: float) -> None:
        """Begin to send a cursor every `interval` seconds, and an edit with each fourth."""
        self._working = asyncio.create_task(self._work(interval))

    async def _work(self, interval: float) -> None:
        await asyncio.sleep(random.uniform(0, interval))  # users are not synchronized
        number = 0
        try:
            while not self._stopped:
                await self._emit(_CURSOR, "position")
                if number % 4 == 0:
                    await self._emit(_EDIT, "changes")
                number += 1
                await asyncio.sleep(interval)
        except (AssertionError, OSError, EOFError, TimeoutError) as error:
            self.faults.append(f"{self.user.name} could not send: {error!r}")

    async def stop(self) -> None:
        self._stopped = True
        if self._working is not None:
            await self._working

    async def _emit(self, event: str, field: str) -> None:
        self.sent[event] += 1
        content = {"by": self.user.id, "in": self.project, "number": self.sent[event], "at": time.perf_counter()}
        payload = {"projectId": self.project, field: content}
        await self._line.send(b"42" + json.dumps([event, payload]).encode())

    def lacks(self, others: list["Member"]) -> int:
        return sum(
            other.sent[event] - self.received[event, other.user.id]
            for other in others
            if other is not self
            for event in (_EDIT, _CURSOR)
        )

    def leave(self) -> None:
        self._leaving = True
        for task in (self._reading, self._working):
            if task is not None:
                task.cancel()
        self._line.close()

    async def _read(self) -> None:
        try:
            while True:
                for packet in await self._line.receive():
                    if packet == b"2":
                        await self._line.send(b"3")
                    else:
                        self._take(packet)
        except (AssertionError, OSError, EOFError, TimeoutError) as error:
            if not self._leaving:
                self.faults.append(f"{self.user.name} was disconnected: {error!r}")

    def _take(self, packet: bytes) -> None:
        if packet.startswith(b"40"):
            self.socket_id = json.loads(packet[2:])["sid"]
            self._connected.set()
            return
        name: str = repr(packet)
        argument: Any = None
        if packet.startswith(b"42"):
            name, argument = without_position(json.loads(packet[2:]))
        if name == _EDIT:
            self._take_content(name, argument)
        elif name == _CURSOR:
            self._take_content(name, argument["position"], argument["socketId"])
        elif name == "users:count":
            self._joined.set()
        elif name not in _PRESENCE:
            self.faults.append(f"{self.user.name} got {name}: {argument}")
        if name == "users:active" and any(user["userId"] not in self._everyone for user in argument["users"]):
            self.faults.append(f"{self.user.name} sees strangers: {argument}")

    @property
    def _everyone(self) -> Any:
        return _Anyone() if not self._peers else {self.user.id, *self._peers}

    def _take_content(self, event: str, content: Any, socket_id: str | None = None) -> None:
        sender = content.get("by") if isinstance(content, dict) else None
        if sender not in self._peers or content["in"] != self.project:
            self.faults.append(f"{self.user.name} got what is not theirs: {event} {content}")
            return
        if socket_id is not None and socket_id != self._peers[sender]:
            self.faults.append(f"{self.user.name} got a cursor of {sender} under another's id")
        self._latencies.append(time.perf_counter() - content["at"])
        self.received[event, sender] += 1
        if content["number"] != self.received[event, sender]:
            self.faults.append(
                f"{self.user.name} got {event} {content['number']} of {sender}, "
                f"and {self.received[event, sender]} was due"
            )
            self.received[event, sender] = content["number"]


class _Anyone:
    """Contains everybody: the other members are not known before all have joined."""

    def __contains__(self, _: object) -> bool:
        return True


async def join_all(port: int, count: int, projects: int, members: list[Member], latencies: list[float]) -> None:
    """Let members join the projects in turn, half of them by polling. Each is in `members` once it has joined."""
    for number in range(count):
        line = (WebSocketLine, PollingLine)[number % 2](port, f"127.0.1.{1 + number}")
        user = User(f"member-{number}", f"Member {number}")
        member = Member(user, f"project-{number // 2 % projects}", line, latencies)
        await member.join()
        members.append(member)
    for member in members:
        member.meet([other for other in members if other.project == member.project])


def lacking(members: list[Member]) -> list[int]:
    """How many messages each member still lacks."""
    return [member.lacks([other for other in members if other.project == member.project]) for member in members]


async def holds_within(condition: Callable[[], bool], within: float) -> bool:
    """Wait until `condition()` holds. Returns whether it did in time."""
    try:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return True
