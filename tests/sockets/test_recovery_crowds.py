"""Clients that return in a crowd, and strangers who say that they return: who has which turn."""

import asyncio
import itertools
from typing import Any

import pytest
from tests.sockets.recovering import lost, recovering
from tests.support.clocks import Clock
from tests.support.page import Page, outcomes, recovery_of, without_offsets
from tests.support.servers import most_in_one_turn

from synkora import Socket, SocketServer
from synkora.sockets.socket_recovery import RecoveryOutcome

CROWD = 20


@pytest.fixture
def server() -> SocketServer:
    """A server for which only returns take time."""
    server = recovering()
    server._registry.arrivals._clock = Clock()
    return server


def strangers(server: SocketServer, pid: str | None) -> list[Page]:
    """Pages that say that they return."""
    pages = [Page(server) for _ in range(CROWD)]
    for page in pages:
        page.pid = pid
    return pages


@pytest.mark.parametrize("token", ["bad", "good"])
async def test_an_unknown_pid_takes_no_turn_from_others(server: SocketServer, token: str) -> None:
    others: list[Socket] = []
    server.on_connect(lambda socket, _: others.append(socket) if socket.identity else None)
    comings = [asyncio.create_task(page.come(token=token)) for page in strangers(server, "unknown")]
    comings.append(asyncio.create_task(Page(server).come(user="alice")))
    await asyncio.sleep(0)
    assert others
    await asyncio.gather(*comings)
    assert outcomes(server) == ({} if token == "bad" else {RecoveryOutcome.UNKNOWN: CROWD})


async def test_another_users_pid_takes_no_turn_from_others(server: SocketServer) -> None:
    page = await lost(server, user="alice")
    comings = [asyncio.create_task(each.come(user="mallory")) for each in strangers(server, page.pid)]
    await asyncio.sleep(0)
    assert not server._registry.arrivals._waiting
    await asyncio.gather(*comings)
    assert outcomes(server) == {RecoveryOutcome.OTHER_USER: CROWD}
    assert not server._registry.arrivals._waiting
    await page.restore(user="alice")


@pytest.mark.parametrize("handler", ["middleware", "on_connect"])
async def test_clients_with_an_unknown_pid_share_the_turns(server: SocketServer, handler: str) -> None:
    """As without a pid: in the middleware, which verifies tokens, and in the handler of CONNECT."""
    called: list[Socket] = []
    server._registry.arrivals._clock = clock = Clock()

    def note(socket: Socket, _: dict[str, Any]) -> None:
        called.append(socket)
        clock.now += 1

    (server.use if handler == "middleware" else server.on_connect)(note)
    comings = [asyncio.create_task(page.come()) for page in strangers(server, "unknown")]
    assert await most_in_one_turn(lambda: len(called), CROWD) == 1
    await asyncio.gather(*comings)


async def test_clients_that_return_at_once_share_the_turns(server: SocketServer) -> None:
    """What they have missed is read of one in a turn."""
    pages = [await lost(server, user=str(number)) for number in range(CROWD)]
    server.to("r").emit("n", 1)
    comings = [asyncio.create_task(page.come(user=str(number))) for number, page in enumerate(pages)]
    most = await most_in_one_turn(lambda: sum(outcomes(server).values()), CROWD)
    assert most == 1
    await asyncio.gather(*comings)
    for page in pages:
        await page.read()
        assert page.recovered
        assert without_offsets(page.events) == [["n", 1]]


def hold(server: SocketServer, returns: int) -> None:
    """Let this number of returns wait for their turns, until `release`."""
    decided = itertools.count(1)

    @server.use
    def stop(socket: Socket, _: dict[str, Any]) -> None:
        if next(decided) == returns:
            server._registry.arrivals.share = 0


def release(server: SocketServer) -> None:
    server._registry.arrivals.share = 1
    server._registry.arrivals._begin_turn()


async def test_a_client_that_is_lost_while_its_return_waits_may_return_again(server: SocketServer) -> None:
    page = await lost(server)
    server.to("r").emit("n", 1)
    hold(server, 1)
    await page.come()
    assert recovery_of(server)._returning
    await page.lose()
    release(server)
    await page.read()
    assert not recovery_of(server)._returning
    assert outcomes(server) == {RecoveryOutcome.REFUSED: 1}
    assert await page.restore() == [["n", 1]]
    assert len(server.of("/").sockets) == 1
    assert not server.of("/")._core.deciding


async def test_a_return_that_waits_is_taken_over(server: SocketServer) -> None:
    """By another attempt of the same client."""
    page = await lost(server)
    server.to("r").emit("n", 1)
    hold(server, 2)
    first = Page(server)
    first.pid, first.offset = page.pid, page.offset
    await asyncio.gather(first.come(), page.come())
    assert not first.session.is_live
    assert page.sid is None
    release(server)
    await page.read()
    assert page.recovered
    assert without_offsets(page.events) == [["n", 1]]
    assert outcomes(server) == {RecoveryOutcome.RECOVERED: 1}
    assert len(server.of("/").sockets) == 1
    assert not server.of("/")._core.deciding


async def test_a_return_that_waits_with_its_connect_has_no_secret_for_the_handlers(server: SocketServer) -> None:
    page = await lost(server)
    auths: list[dict[str, Any]] = []
    server.on_connect(lambda socket, auth: auths.extend((auth, socket.auth, socket.handshake.auth)))
    server._registry.arrivals.share = 0
    await page.come(note="a")
    assert not auths
    release(server)
    await page.read()
    assert page.recovered
    assert auths == [{"note": "a"}] * 3
