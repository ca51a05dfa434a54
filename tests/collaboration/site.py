"""Synkora as the tests of its parts need it: in memory for what happens in one turn of the loop, or on a port."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
from tests.support.servers import Address, serving
from tests.support.sessions import MemoryTransport, request_of

from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.events import CATALOGUE
from synkora.engine.message import Message
from synkora.engine.request import Request
from synkora.engine.state_updates import Bundle
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring, sign
from synkora.recovery.ports import RecoveryStore
from synkora.recovery.settings import RecoverySettings
from synkora.sockets.internals import registry_of
from synkora.sockets.local_adapter import AdapterFactory
from synkora.sockets.server import SocketServer

SECRET = "the-secret-of-these-tests-5f0c2a"
PAGE = "http://localhost:3000"
EVENT = b"42["
every_event = pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.name)
#: Turns of the loop until everything of one turn is delivered: the lists, the writes, and the timers that they start.
_STEPS = 4


def token_of(name: str, **claims: object) -> str:
    """A token of the user `name`, whose id is the name in lower case."""
    return sign({"id": name.lower(), "name": name, **claims}, SECRET, expires_in=3600)


class MemoryClient:
    """A client in memory that gets each message as the server's own object."""

    def __init__(self, server: SocketServer, token: str, transport: MemoryTransport, request: Request) -> None:
        self.transport = transport
        self._taken = 0
        self.session = server._registry.open(request, transport)
        self.send("40" + json.dumps({"token": token}))

    def send(self, packet: str) -> None:
        self.session.receive_text(self.transport, packet.encode())

    def emit(self, *event: object) -> None:
        self.send("42" + json.dumps(event))

    async def act(self, *event: object) -> None:
        """Emit an event, and let the server finish its turn."""
        self.emit(*event)
        await turn()

    @property
    def id(self) -> str:
        reply = next(packet for packet in self.transport.packets if packet.startswith(b"40"))
        sid: str = json.loads(reply[2:])["sid"]
        return sid

    def take(self) -> list[Message]:
        """The encoded events since the last call."""
        came = [part for write in self.transport.writes for message in write for part in parts(message)]
        new, self._taken = came[self._taken :], len(came)
        return [message for message in new if message.packet.startswith(EVENT)]

    def take_events(self) -> list[list[Any]]:
        """The decoded events since the last call."""
        return [json.loads(message.packet[2:]) for message in self.take()]


class Site:
    """A Socket.IO server with Synkora. By default, leaves are announced immediately."""

    def __init__(
        self,
        *,
        recovery: bool | RecoverySettings | RecoveryStore = False,
        adapter: AdapterFactory | None = None,
        **options: Any,
    ) -> None:
        self.server = SocketServer(origins=[PAGE], recovery=recovery, adapter=adapter)
        registry_of(self.server).arrivals.share = registry_of(self.server).strangers.share = (
            inf  # a client is connected in the turn in which it comes
        )
        self.collaboration = Collaboration(
            self.server.of("/"),
            Authenticator(Keyring(SECRET)),
            **{"incidents": self.server.incidents, "leave_delay": 0, **options},
        )
        self.address = Address(0, "/socket.io/")

    def come(self, name: str, **claims: object) -> MemoryClient:
        return MemoryClient(self.server, token_of(name, **claims), MemoryTransport(), request_of())

    async def meet(self, *names: str, project: str | None = None) -> list[MemoryClient]:
        """Connect users one after the other, let them join a project, and clear their events."""
        clients = []
        for name in names:
            clients.append(self.come(name))
            if project is not None:
                clients[-1].emit("join-project", project)
            await turn()
        for client in clients:
            client.take()
        return clients

    async def crowd(self, size: int, project: str) -> list[MemoryClient]:
        """Connect users who join a project in one turn, and clear their earlier events."""
        crowd = [self.come(f"User {number}") for number in range(size)]
        await turn()
        for client in crowd:
            client.take()
            client.emit("join-project", project)
        await turn()
        return crowd


def parts(message: Message) -> Sequence[Message]:
    return message.updates if isinstance(message, Bundle) else (message,)


async def turn() -> None:
    """Let the loop run until everything of this turn has been delivered."""
    for _ in range(_STEPS):
        await asyncio.sleep(0)


@asynccontextmanager
async def running_site(**options: Any) -> AsyncIterator[Site]:
    """Synkora on a port of the loopback address."""
    site = Site()
    async with serving(site.server, **options) as address:
        site.address = address
        yield site
