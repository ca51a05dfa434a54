"""All clients that work during the faults."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from tests.chaos.official import OfficialPage
from tests.chaos.page import Page
from tests.chaos.place import PINGS
from tests.chaos.site import Site
from tests.support.node_process import NodeProcess
from tests.support.users import User

PROJECTS = [f"project-{number}" for number in range(4)]
PAGES, OFFICIAL = 40, 4
_SETTLING = 20  # seconds in which everyone is connected, far more than it takes
#: Seconds in which a server notices that a client has vanished.
_NOTICED = sum(map(float, PINGS.values())) + 2


class Client(Protocol):
    is_calm: bool
    since: float
    vanished: float

    @property
    def is_settled(self) -> bool: ...

    async def run(self) -> None: ...


class Crowd:
    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients

    def rest(self) -> None:
        """Let everyone stay connected and send nothing."""
        for client in self._clients:
            client.is_calm = True

    @property
    def resting_since(self) -> float:
        """The time at which the last client has arrived and all ends are known."""
        return max(max(client.since, client.vanished and client.vanished + _NOTICED) for client in self._clients)

    def work(self) -> None:
        for client in self._clients:
            client.is_calm = False

    async def settle(self) -> None:
        """Wait until everyone is connected and has asked to join a project."""
        await until(lambda: all(client.is_settled for client in self._clients), _SETTLING)


@asynccontextmanager
async def crowd(site: Site, chance: random.Random) -> AsyncIterator[Crowd]:
    """The working clients. Some have two pages open, some use the app's client."""
    node = await NodeProcess.start("remote-sockets.mjs")
    clients: list[Client] = []
    for number in range(PAGES):
        user = User(f"user-{number * 9 // 10}", f"User {number * 9 // 10}")
        clients.append(Page(site, user, PROJECTS, random.Random(chance.random())))
    for number in range(OFFICIAL):
        user = User(f"official-{number}", f"Official {number}")
        place, project = site.places[number % len(site.places)], PROJECTS[number % len(PROJECTS)]
        clients.append(OfficialPage(site, place, user, project, random.Random(chance.random()), node))
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        yield Crowd(clients)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await node.stop()
    broken = [result for result in results if not isinstance(result, asyncio.CancelledError)]
    assert not broken, broken


async def until(condition: Callable[[], object], within: float) -> None:
    until = time.monotonic() + within
    while not condition() and time.monotonic() < until:
        await asyncio.sleep(0.1)
