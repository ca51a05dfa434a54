"""Stores of recovery over Redis, and what tests do to them."""

import asyncio

import pytest
from tests.support.clocks import Clock

from synkora.recovery.ports import Deliver, LoggedEvent
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis.url import Server
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog
from synkora.redis_adapter.recovery_store import RedisStore
from synkora.sockets.rooms import Rooms

ROOMS = ("p", "q", "r", "s", "me", "busy", "quiet", "p0", "p1", "p2")


class Followed(RedisStore):
    """A store whose logs get all rooms of the contract, as if this instance had clients in them."""

    def __init__(self, link: Link, settings: RecoverySettings, clock: Clock) -> None:
        super().__init__(link, settings, prefix="synkora:test:", channels="test", clock=lambda: clock.now)
        self.link = link

    def log(self, namespace: str, deliver: Deliver) -> RedisLog:
        log = super().log(namespace, deliver)
        channels = Channels.of("test", namespace)
        for channel in (channels.broadcasts, *map(channels.room, ROOMS)):
            self.link.subscribe(channel, log.receive)
        return log

    async def settled(self) -> None:
        """Wait for the log's work after the reply to an append."""
        for _ in range(2):
            await self.link.call("PING")


def followed(link: Link) -> tuple[RedisLog, list[LoggedEvent]]:
    """A log, and the events that it delivers."""
    delivered: list[LoggedEvent] = []
    return Followed(link, RecoverySettings(), Clock()).log("/", delivered.append), delivered


def lose(link: Link) -> None:
    assert link._up is not None
    link._up.end("the test ends the connection")


def lose_until(link: Link, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Lose the link, which comes back when the event is set."""
    may_return, find = asyncio.Event(), link._discovery.find

    async def find_later() -> Server:
        await may_return.wait()
        return await find()

    monkeypatch.setattr(link._discovery, "find", find_later)
    lose(link)
    return may_return


def used(*names: str) -> Rooms:
    """Rooms, as if this instance had clients in them."""

    class Used(Rooms):
        def names(self) -> set[str]:
            return set(names)

    return Used()
