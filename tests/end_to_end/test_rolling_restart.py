"""Three instances behind nginx, restarted one after the other while users work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest_asyncio
from tests.end_to_end.mover import Mover, accept_what_came
from tests.end_to_end.site import Site, calm
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.users import User

DRAINING = {"SHUTDOWN_DRAIN": "2", "LOG_LEVEL": "warning"}
USERS = 60
PROJECTS = 6
SENDERS = 2  # of each project
#: In an order that gives no instance, and no project, its own kind.
_KINDS = [WAYS[name] for name in ("js-polling", "js-upgrade", "js-websocket", "js-upgrade", "js-websocket")]


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path, redis: RedisServer, node: NodeProcess) -> AsyncIterator[Site]:
    site = Site(tmp_path, redis, node)
    try:
        for _ in range(3):
            site.add(**DRAINING)
        site.balance(3)
        yield site
    finally:
        await site.close()


@pytest_asyncio.fixture(loop_scope="session")
async def movers(site: Site, node: NodeProcess) -> list[Mover]:
    """Users of several projects, each project with members on every instance."""
    movers = []
    for number in range(USERS):
        user = User(f"user-{number}", f"User {number}")
        mover = Mover(user, _KINDS[number % len(_KINDS)], node, project=f"project {number // (USERS // PROJECTS)}")
        movers.append(mover)
        site.members.append(mover)
        await mover.connect(site.nginx.url, {"token": user.token})
    await calm(lambda: all(mover.is_in for mover in movers), lambda: [mover.visits for mover in movers])
    return movers


@asynccontextmanager
async def working(movers: list[Mover]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(mover.work()) for mover in movers if movers.index(mover) % 10 < SENDERS]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def restart(site: Site, instance: ServerProcess) -> None:
    """Stop an instance, and start one in its place. Returns when the new one is ready."""
    instance.signal()
    assert await asyncio.to_thread(instance.wait) == 0
    assert instance.stderr == []
    site.instances.remove(instance)
    again = await asyncio.to_thread(site.add, WS_PORT=str(instance.port), **DRAINING)
    async with httpx.AsyncClient(base_url=again.url, timeout=PATIENCE, trust_env=False) as http:
        while (await http.get("/ready")).status_code != 200:
            await asyncio.sleep(0.05)


def companions(mover: Mover, movers: list[Mover]) -> list[Mover]:
    return [other for other in movers if other.project == mover.project and other is not mover]


async def test_clients_are_away_for_one_reconnect_and_no_relay_is_lost(site: Site, movers: list[Mover]) -> None:
    """Each reconnects at its first attempt, and gets all events sent while it was connected, once and in order."""
    async with working(movers):
        for instance in list(site.instances):
            await restart(site, instance)
        await calm(lambda: all(mover.is_in for mover in movers), lambda: [mover.visits[-1] for mover in movers])
    assert [mover.failures for mover in movers if mover.failures] == []
    assert [mover.changes.items for mover in movers if not mover.got("server:shutdown")] == []

    def missing() -> dict[str, list[int]]:
        accept_what_came(movers)
        lacks = {
            f"{mover.user.id} from {other.user.id}": mover.lacks(other, at_the_end=True)
            for mover in movers
            for other in companions(mover, movers)
        }
        return {who: numbers for who, numbers in lacks.items() if numbers}

    await calm(lambda: not missing(), missing)
    for mover in movers:
        await mover.rest()
    assert sum(len(mover.accepted) for mover in movers) > PROJECTS * SENDERS * 10

    def whole() -> list[bool]:
        return [
            mover.sees == {mover.user.id, *(other.user.id for other in companions(mover, movers))} for mover in movers
        ]

    await calm(lambda: all(whole()), whole)
