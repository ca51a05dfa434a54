"""Clients that return to servers over Redis."""

import asyncio
from typing import Any

from tests.sockets.recovering import recovering
from tests.support.page import Page as LocalPage
from tests.support.page import without_offsets

from synkora import RedisAdapter, SocketServer
from synkora.recovery.ports import SavedSession
from synkora.redis.link import Link
from synkora.redis_adapter.adapter import RedisAdapters


class Page(LocalPage):
    """A page whose server asks Redis before it answers."""

    async def come(self, **auth: object) -> "Page":
        await super().come(**auth)
        async with asyncio.timeout(10):
            while self.sid is None:
                await self.read()
        return self


def is_alone(server: SocketServer) -> bool:
    adapters = server._connection
    assert isinstance(adapters, RedisAdapters)
    return adapters.problem is not None


def link_of(server: SocketServer) -> Link:
    adapters = server._connection
    assert isinstance(adapters, RedisAdapters)
    return adapters._link


def session_of(server: SocketServer, page: LocalPage) -> SavedSession:
    recovery = server.of("/").sockets[page.sid or ""]._recovery
    assert recovery is not None
    assert recovery.session is not None
    return recovery.session


def server_on(url: str) -> SocketServer:
    return recovering(adapter=RedisAdapter.from_url(url))


async def joined(server: SocketServer, room: str = "r") -> Page:
    page = await Page(server).come()
    page.emit("join", room)
    await page.read()
    await server.everyone.fetch_sockets()  # a round trip through Redis
    return page


async def until_count(page: Page, count: int) -> None:
    async with asyncio.timeout(10):
        while len(page.events) < count:
            await page.read()


async def restore_from_the_start(page: Page) -> None:
    """Let a page lose its connection, and return without an offset: it gets all that its memberships had."""
    await page.lose()
    page.events, page.offset = [], None
    await page.restore()


async def got(page: Page, count: int) -> list[Any]:
    """The events of a page, when there are this many."""
    await until_count(page, count)
    return without_offsets(page.events)
