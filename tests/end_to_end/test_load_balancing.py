"""Three instances behind nginx with deploy/nginx/synkora.conf, while instances die, stop and are added."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio
from tests.end_to_end.member import Member
from tests.end_to_end.raw import RawClient, RawPolling
from tests.end_to_end.site import Site, calm
from tests.support.node_process import NodeProcess
from tests.support.real_clients import WAYS
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.users import BOB, PROJECT

#: socket.io-client as pages have it, three of each kind, in an order that mixes the kinds on each instance.
_POLLING, _UPGRADE, _WEBSOCKET = (WAYS[name] for name in ("js-polling", "js-upgrade", "js-websocket"))
CROWD = (_POLLING, _UPGRADE, _WEBSOCKET, _UPGRADE, _WEBSOCKET, _POLLING, _WEBSOCKET, _POLLING, _UPGRADE)


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path, redis: RedisServer, node: NodeProcess) -> AsyncIterator[Site]:
    site = Site(tmp_path, redis, node)
    try:
        for _ in range(3):
            site.add()
        yield site
    finally:
        await site.close()


@asynccontextmanager
async def working(sender: Member, *receivers: Member) -> AsyncIterator[None]:
    """A user works throughout the block. In the end, the others have everything, once and in order."""
    sent: list[int] = []

    async def work() -> None:
        while True:
            sent.append(len(sent))
            await sender.emit("task:update", {"projectId": PROJECT, "task": sent[-1]})
            await asyncio.sleep(0.02)

    before = [len(receiver.got("task:update")) for receiver in receivers]
    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()

    def got() -> list[list[Any]]:
        return [each.got("task:update")[start:] for each, start in zip(receivers, before, strict=True)]

    await calm(lambda: all(len(each) >= len(sent) for each in got()), lambda: [len(each) for each in got()])
    assert got() == [sent] * len(receivers)


async def test_clients_of_every_kind_see_each_other(site: Site) -> None:
    """On any instance: everyone is listed for everyone, and gets everyone's events."""
    site.balance(3)
    await site.enter(*CROWD, *WAYS.values())
    await site.enter_until(lambda: all(map(site.of, site.instances)), *CROWD)
    for member in site.members:
        await member.emit("task:create", {"projectId": PROJECT, "task": member.user.id})

    def missing() -> list[list[str]]:
        sent = [member.user.id for member in site.members]
        return [sorted({*sent} - {*member.got("task:create"), member.user.id}) for member in site.members]

    await calm(lambda: not any(missing()), missing)
    assert {len(member.got("task:create")) for member in site.members} == {len(site.members) - 1}
    assert {len(member.ids) for member in site.members} == {1}


async def crowded(site: Site) -> tuple[ServerProcess, list[Member], list[Member]]:
    """The first of three instances, its members, of every kind, and those of the others.

    The first of the others is connected directly. A client that is connected through an instance may lose what it sends
    while that instance ends.
    """
    site.balance(3)
    first = site.instances[0]
    await site.enter_until(lambda: {member.way for member in site.of(first)} == set(CROWD), *CROWD)
    sender = await site.connect_to(site.instances[1], _WEBSOCKET)
    others = [member for member in site.members_of_others(first) if member is not sender]
    return first, site.of(first), [sender, *others]


async def test_an_instance_is_killed(site: Site) -> None:
    """Its clients return to their sockets on other instances, and miss no edit. No leave is announced."""
    dead, moving, staying = await crowded(site)
    async with working(*staying, *moving):
        await asyncio.to_thread(dead.kill)
        await site.expect_recovered(moving, 2)
        await site.expect_whole()
    assert {len({*member.ids}) for member in staying} == {1}  # some may have been connected through the dead instance


async def test_an_instance_is_drained(site: Site) -> None:
    """Its clients return to their sockets on other instances, and miss no edit. No leave is announced.

    New clients do not notice, while the instance waits for a late one.
    """
    stopping, moving, staying = await crowded(site)
    polling = await RawPolling.open(stopping)
    late = RawClient(polling)
    await late.sign_in(BOB)
    async with working(*staying, *moving):
        stopping.signal()
        await calm(lambda: all(member.got("server:shutdown") for member in moving), lambda: stopping.output)
        await site.enter(*CROWD[:3])
        await late.expect("server:shutdown")
        await late.is_closed()
        assert await asyncio.to_thread(stopping.wait) == 0
        await site.expect_recovered(moving, 2)
    await polling.http.aclose()
    assert {len(member.got("server:shutdown")) for member in moving} == {1}
    # Some may have been connected through the stopping instance.
    assert {len({*member.ids}) for member in site.members if member not in moving} == {1}


async def test_an_instance_is_added(site: Site) -> None:
    """After a reload of nginx, new clients reach it too. Existing clients need not move."""
    nginx = site.balance(2)
    await site.enter(*CROWD)
    added = site.instances[2]
    assert site.of(added) == []
    async with working(*site.members):
        nginx.configure(site.ports)
        await asyncio.to_thread(nginx.reload)
        await site.enter_until(lambda: bool(site.of(added)), *CROWD[:3])
    assert {len(member.ids) for member in site.members} == {1}
