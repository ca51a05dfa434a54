"""A client in memory that returns as socket.io-client does.

Source: socketio/socket.io, packages/socket.io-client/lib/socket.ts (`_pid`, `_lastOffset`, `recovered`).
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from tests.support.sessions import MemoryTransport, request_of

from synkora.engine.close_reasons import Reason
from synkora.sockets.recovery import NamespaceRecovery
from synkora.sockets.server import SocketServer
from synkora.sockets.socket_recovery import RecoveryOutcome

_TURNS = 6  # longest that a return takes: its task, the handlers, and the writes


class Page:
    """A page in the main namespace. `events` are those that it got over all its connections, with their offsets.

    `packets` are all packets of the present connection, and `sid` and `recovered` are as the page sees them. Events
    before the reply to CONNECT wait for it, also for that of a later connection, and move the offset when the page gets
    them.
    """

    def __init__(self, server: SocketServer) -> None:
        self._server = server
        self.pid: str | None = None
        self.offset: str | None = None
        self.sid: str | None = None
        self.recovered = False
        self.refusal: str | None = None
        self.events: list[list[Any]] = []
        self.transport = MemoryTransport()
        self._early: list[list[Any]] = []

    async def come(self, **auth: object) -> "Page":
        """Connect, with pid and offset of the last connection, and read the answer if it comes at once."""
        self.connect(**auth)
        await self.read()
        return self

    def connect(self, **auth: object) -> None:
        self.transport, self._read, self.sid, self.recovered = MemoryTransport(), 0, None, False
        self.session = self._server._registry.open(request_of(), self.transport)
        if self.pid is not None:
            auth = {"pid": self.pid, **auth}
            if self.offset is not None:
                auth = {"offset": self.offset, **auth}
        self.send("40" + json.dumps(auth))

    async def restore(self, **auth: object) -> list[list[Any]]:
        """Connect and be recovered. Returns all events over all connections, without their offsets."""
        await self.come(**auth)
        assert self.recovered
        return without_offsets(self.events)

    def move_to(self, server: SocketServer) -> None:
        self._server = server

    def send(self, packet: str) -> None:
        self.session.receive_text(self.transport, packet.encode())

    def emit(self, *event: object) -> None:
        self.send("42" + json.dumps(event))

    @property
    def packets(self) -> list[str]:
        sent = [message for write in self.transport.writes for message in write]
        return [text for message in sent for text in message.messages() if isinstance(text, str)]

    async def read(self) -> list[list[Any]]:
        """Let the server finish its turn. Returns the events since the last read."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        fresh = self.packets[self._read :]
        self._read += len(fresh)
        before = len(self.events)
        for packet in fresh:
            if packet.startswith("40"):
                reply = json.loads(packet[2:])
                self.sid, pid = reply["sid"], reply.get("pid")
                self.recovered = pid is not None and pid == self.pid
                self.pid = pid
            elif packet.startswith("44"):
                self.refusal = json.loads(packet[2:])["message"]
            elif packet.startswith(("42", "45")):
                self._early.append(json.loads(packet[packet.index("[") :]))
            if self.sid is not None:
                self._hand_over()
        return self.events[before:]

    def _hand_over(self) -> None:
        for event in self._early:
            self.events.append(event)
            if self.pid is not None and isinstance(event[-1], str):  # also the name of an event without arguments
                self.offset = event[-1]
        self._early.clear()

    async def lose(self, reason: Reason = Reason.TRANSPORT_CLOSE) -> None:
        await self.read()
        self.session.transport_closed(self.transport, reason)
        await self.read()


def without_offsets(events: list[list[Any]]) -> list[list[Any]]:
    """The events without the offset that is the last argument of each."""
    assert all(isinstance(event[-1], str) and "." in event[-1] for event in events), events
    return [event[:-1] for event in events]


def recovery_of(server: SocketServer) -> NamespaceRecovery:
    recovery = server.of("/")._core.recovery
    assert recovery is not None
    return recovery


def outcomes(server: SocketServer) -> dict[RecoveryOutcome, int]:
    return dict(recovery_of(server).outcomes)


@contextmanager
def held_reads(server: SocketServer) -> Iterator[list[Callable[[], None]]]:
    """The reads of the log, each answered when the test calls it: an answer of Redis comes later, too."""
    log, held = recovery_of(server).log, list[Callable[[], None]]()
    replay = log.replay
    with patch.object(log, "replay", lambda *args: held.append(partial(replay, *args))):
        yield held
