"""Instances in this process that pass requests on to each other."""

import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from tests.support.processes import PATIENCE
from tests.support.servers import Address, running

from synkora import SocketServer
from synkora.engine.incidents import IncidentKind
from synkora.serving.forwarded_websocket import ForwardedWebSocket
from synkora.serving.owners import Owner, tag_of
from synkora.serving.server import Server
from synkora.serving.session_router import SharedSessions

UNKNOWN = {"code": 1, "message": "Session ID unknown"}


def handshake(address: Address, sid: str) -> bytes:
    return (
        f"GET {address.path}?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


class StaticOwners:
    def __init__(self) -> None:
        self.on_gone: list[Callable[[str], None]] = []
        self.known: dict[str, Owner] = {}

    def find(self, tag: str) -> Owner | None:
        return self.known.get(tag)

    def remove(self, tag: str) -> None:
        del self.known[tag]
        for told in self.on_gone:
            told(tag)


class Instance:
    """One of several servers in this process."""

    def __init__(self, tag: str, **options: Any) -> None:
        self.tag = tag
        self.key = tag[0].encode() * 32
        self.sockets = SocketServer(instance=tag, ping_interval=3600, **options)
        self.owners = StaticOwners()
        self.refusals: list[tuple[IncidentKind, str, str]] = []
        self.sockets.incidents.on_first = lambda *refusal: self.refusals.append(refusal)
        self.tls: ssl.SSLContext | None = None
        self.server: Server
        self.address: Address

    @property
    def owner(self) -> Owner:
        return Owner(self.tag, self.address.http, self.key)

    @property
    def total(self) -> dict[str, int]:
        assert self.server.forwarder is not None
        return dict(self.server.forwarder.counts.total)

    @property
    def connections(self) -> set[Any]:
        return self.server.server_state.connections

    @property
    def forwarded(self) -> list[ForwardedWebSocket]:
        return [each for each in self.connections if isinstance(each, ForwardedWebSocket)]

    @property
    def pending(self) -> int:
        assert self.server.forwarder is not None
        return self.server.forwarder.counts.now

    def url(self, transport: str = "polling", sid: str | None = None) -> str:
        url = self.address.url(transport, sid)
        return url if self.tls is None else url.replace("://", "s://")

    async def open(self) -> str:
        """Open a session by polling, and return its id."""
        async with httpx.AsyncClient(trust_env=False, verify=self.tls is None) as http:
            answer = await http.get(self.url())
        sid: str = re.findall(r'"sid":"([^"]+)"', answer.text)[0]
        assert tag_of(sid) == self.tag
        return sid


class Site:
    def __init__(self, around: AsyncExitStack) -> None:
        self._around = around

    async def start(
        self, instance: Instance, *, workers: Path | None = None, most: int = 0, tls: ssl.SSLContext | None = None
    ) -> Instance:
        shared = SharedSessions(instance.tag, instance.key, instance.owners, workers, most)
        instance.tls = tls
        instance.server = Server(instance.sockets, shutdown_timeout=0.05, shared=shared, tls=tls)
        instance.address = await self._around.enter_async_context(running(instance.server, "/socket.io/"))
        return instance

    async def two(self, **options: Any) -> tuple[Instance, Instance, str]:
        """An instance that knows the other, and the other, which does not know the first, with a session."""
        receiving, owning = [await self.start(Instance(tag), **options) for tag in ("aaa", "bbb")]
        receiving.owners.known["bbb"] = owning.owner
        return receiving, owning, await owning.open()

    async def workers(self, folder: Path, *tags: str, **options: Any) -> tuple[Instance, Instance, str]:
        """Two workers of one machine, and a session of the second."""
        one, two = [await self.start(Instance(tag), workers=folder, **options) for tag in tags or ("aaa", "bbb")]
        return one, two, await two.open()


async def ask(instance: Instance, sid: str, method: str = "POST", path: str = "", **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE, verify=instance.tls is None) as http:
        url = f"{instance.address.http}{path}" if path else instance.url(sid=sid)
        return await http.request(method, url, content="6" if method == "POST" else None, **options)


@asynccontextmanager
async def probed(instance: Instance, sid: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket that has probed a session."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(instance.url("websocket", sid), autoclose=False, ssl=instance.tls is None) as client,
    ):
        await client.send_str("2probe")
        assert await client.receive_str() == "3probe"
        yield client
