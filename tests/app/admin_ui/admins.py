"""Synkora with its admin UI, and clients that send what the admin UI sends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.collaboration.site import Site
from tests.support.clients import WebSocket, websocket
from tests.support.processes import PATIENCE
from tests.support.servers import Address, serving

from synkora.app.admin_ui.serve import NAMESPACE, serve_admin_ui
from synkora.app.instance import Instance

TOKEN = "the-token-of-this-console-2f7d"
INTERVAL = 0.02  # seconds between two looks


class Admin:
    def __init__(self, client: WebSocket) -> None:
        self.client = client
        self._early: list[str] = []

    async def sign_in(self, **auth: object) -> Any:
        """Connect to the namespace. Return the reply to CONNECT, or the CONNECT_ERROR."""
        await self.client.send(f"40{NAMESPACE},{json.dumps(auth)}")
        while (answer := str(await self.client.receive())).startswith("42"):
            self._early.append(answer)  # what Node.js sends before it answers
        assert answer[:2] in {"40", "44"}
        return json.loads(answer[2 + len(NAMESPACE) + 1 :])

    async def event(self) -> list[Any]:
        message = self._early.pop(0) if self._early else str(await self.client.receive())
        assert message.startswith(f"42{NAMESPACE},["), message
        event: list[Any] = json.loads(message[2 + len(NAMESPACE) + 1 :])
        return event

    async def told(self, name: str) -> list[Any]:
        async with asyncio.timeout(PATIENCE):
            while (event := await self.event())[0] != name:
                pass
        return event[1:]

    async def emit(self, *event: object) -> None:
        await self.client.send(f"42{NAMESPACE}," + json.dumps(event))


class AdminSite(Site):
    def __init__(self) -> None:
        super().__init__()
        serve_admin_ui(Instance(self.server, self.collaboration), TOKEN, interval=INTERVAL)


@asynccontextmanager
async def admin_site() -> AsyncIterator[AdminSite]:
    site = AdminSite()
    async with serving(site.server) as address:
        site.address = address
        yield site


@asynccontextmanager
async def visitor(address: Address) -> AsyncIterator[Admin]:
    async with websocket(address) as client:
        yield Admin(client)


@asynccontextmanager
async def admin(address: Address) -> AsyncIterator[Admin]:
    """A client that has signed in with the password, and has not read its first events."""
    async with visitor(address) as someone:
        assert "sid" in await someone.sign_in(username="ann", password=TOKEN)
        yield someone
