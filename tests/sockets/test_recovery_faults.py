"""Returns in the faults of `docs/recovery.md`, by their numbers, and under abuse."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest
from tests.sockets.recovering import SMALL, joined, lost, recovering
from tests.support.page import Page, held_reads, outcomes, recovery_of, without_offsets
from tests.support.sessions import MemoryTransport, request_of, turn

from synkora import ConnectRefused, Socket, SocketServer
from synkora.engine.close_reasons import Reason
from synkora.engine.session import Session
from synkora.sockets.socket_recovery import RecoveryOutcome

Calls = list[tuple[str, Socket]]  # of handlers


@pytest.fixture
def server() -> SocketServer:
    return recovering()


async def test_fault_01_a_half_open_connection_is_taken_over(server: SocketServer) -> None:
    """The client returns before the server has noticed. The old connection's end changes nothing afterwards."""
    ends: list[tuple[str, str]] = []
    server.on_disconnect(lambda socket, reason: ends.append((socket.id, reason)))
    page = await joined(server)
    sid, old, transport = page.sid, page.session, page.transport
    server.to("r").emit("n", 1)
    await page.read()
    await page.restore()
    assert page.sid == sid
    assert ends == [(sid, "transport close")]
    assert not old.is_live
    written = len(transport.writes)
    old.ping_timed_out()
    old.transport_closed(transport, Reason.PING_TIMEOUT)
    server.to("r").emit("n", 2)
    await page.read()
    assert without_offsets(page.events) == [["n", 1], ["n", 2]]
    assert len(transport.writes) == written
    assert list(server.of("/").sockets) == [sid]
    await page.lose()
    await page.restore()


async def test_fault_01_a_return_that_is_still_decided_is_taken_over(server: SocketServer) -> None:
    """The second attempt gets the session, although the first one waits for the application."""
    gate = asyncio.Event()

    @server.on_connect
    async def welcome(socket: Socket, _: dict[str, Any]) -> None:
        if socket.recovered and not gate.is_set():
            await gate.wait()

    page = await lost(server)
    server.to("r").emit("n", 1)
    await page.come()
    first = page.session
    gate.set()
    await page.restore()
    assert not first.is_live
    assert without_offsets(page.events) == [["n", 1]]
    assert len(server.of("/").sockets) == 1


def _watch(server: SocketServer) -> Calls:
    """The calls of the handlers of CONNECT and of the end, from now on."""
    calls: Calls = []
    server.on_connect(lambda socket, _: calls.append(("connected", socket)))
    server.on_disconnect(lambda socket, reason: calls.append((reason, socket)))
    return calls


@asynccontextmanager
async def _returning(
    server: SocketServer,
) -> AsyncIterator[tuple[Page, Calls, list[Callable[[], None]]]]:
    """A page that returns, and whose first read is answered; the calls of the handlers; and the reads from then on."""
    page = await lost(server)
    calls = _watch(server)
    with held_reads(server) as reads:
        await page.come()
        reads.pop()()
        yield page, calls, reads


@pytest.mark.parametrize("offset", [None, "bad"])
async def test_fault_01_a_return_ends_before_another_one_of_its_session_is_admitted(
    server: SocketServer, offset: str | None
) -> None:
    """Also if the log answers the first one late, and is not read for the second one."""
    async with _returning(server) as (page, calls, reads):
        await page.read()
        page.offset = offset
        await page.come()
        while reads:
            reads.pop(0)()
            await page.read()
    (_, first), (_, second) = calls[0], calls[-1]
    assert calls == [("connected", first), ("transport close", first), ("connected", second)]
    assert first is not second
    assert first.id == second.id == page.sid
    await page.lose()
    assert calls[3:] == [("transport close", second)]


@pytest.mark.parametrize("close", [False, True])
async def test_a_return_that_the_server_ends_during_its_last_read_has_ended_once(
    server: SocketServer, close: bool
) -> None:
    async with _returning(server) as (page, calls, reads):
        await page.read()
        ((_, socket),) = calls
        socket.disconnect(close)
        socket.disconnect(True)
        reads.pop()()
        await page.read()
    assert calls == [("connected", socket), ("server namespace disconnect", socket)]
    assert page.refusal == "Disconnected by the server"


async def test_a_return_whose_last_read_fails_has_ended(server: SocketServer) -> None:
    async with _returning(server) as (page, calls, _):
        with patch.object(recovery_of(server).log, "replay", side_effect=RuntimeError("broken")):
            await page.read()
    ((_, socket),) = calls[:1]
    assert calls == [("connected", socket), ("server namespace disconnect", socket)]
    assert page.refusal == "Internal server error"


@pytest.mark.parametrize("way", ["another user", "a refused token", "a kicked client"])
async def test_fault_02_a_pid_is_no_way_in(server: SocketServer, way: str) -> None:
    """Middleware decides on each return, the user must be the same, and a disconnected client is a new one."""
    page = await joined(server, user="ann")
    pid = page.pid
    if way == "a kicked client":
        server.of("/").sockets[page.sid or ""].disconnect()
    await page.lose()
    server.to("r").emit("secret", 1)
    auth = {"another user": {"user": "bob"}, "a refused token": {"token": "bad"}}.get(way, {"user": "ann"})
    other = Page(server)
    other.pid = pid
    await other.come(**auth)
    assert other.events == []
    assert other.recovered is False
    assert other.sid != page.sid
    server.to("r").emit("secret", 2)
    assert await other.read() == []
    await page.come(user="ann")  # the session was not taken by another user
    assert page.recovered is (way != "a kicked client")


async def test_fault_02_a_client_that_the_application_refuses_may_try_again(server: SocketServer) -> None:
    """The session is kept for its user until it is too old."""
    full = [False]

    @server.on_connect
    def welcome(socket: Socket, _: dict[str, Any]) -> None:
        if full[0]:
            raise ConnectRefused("full")

    page = await lost(server)
    server.to("r").emit("n", 1)
    full[0] = True
    await page.come()
    assert (page.refusal, page.events) == ("full", [])
    full[0] = False
    assert await page.restore() == [["n", 1]]
    assert outcomes(server) == {RecoveryOutcome.REFUSED: 1, RecoveryOutcome.RECOVERED: 1}


async def test_fault_02_a_pid_works_once(server: SocketServer) -> None:
    """Of two clients with the same pid, the later one has the socket."""
    page = await lost(server)
    twin = Page(server)
    twin.pid, twin.offset = page.pid, page.offset
    await page.come()
    await twin.come()
    assert list(server.of("/").sockets) == [twin.sid]
    assert not page.session.is_live


async def test_fault_04_volatile_events_are_never_kept(server: SocketServer) -> None:
    page = await joined(server)
    recovery = recovery_of(server)
    await page.lose()
    before = recovery.log.position
    for _ in range(500):
        server.to("r").volatile.emit("cursor", {"x": 1})
    assert recovery.log.position == before
    await page.restore()
    assert page.events == []


async def test_fault_05_a_client_that_got_no_event_is_recovered(server: SocketServer) -> None:
    page = await joined(server)
    assert page.offset is None
    await page.lose()
    server.to("r").emit("missed", 1)
    assert await page.restore() == [["missed", 1]]


async def test_fault_06_a_client_that_was_idle_for_long_is_recovered() -> None:
    """Its last event is no longer kept, and nothing after it is missing."""
    server = recovering(SMALL)
    page = await joined(server, "quiet")
    server.to("quiet").emit("n", 0)
    await page.read()
    for number in range(100):
        server.to("busy").emit("n", number)
    await page.lose()
    server.to("quiet").emit("n", 1)
    assert await page.restore() == [["n", 0], ["n", 1]]


@pytest.mark.parametrize("kind", ["volatile", "local", "volatile to one socket"])
@pytest.mark.parametrize("args", [("text",), ()])
async def test_fault_07_a_string_does_not_become_the_offset(
    server: SocketServer, kind: str, args: tuple[str, ...]
) -> None:
    """The client takes any last string for its offset, also the name of an event without arguments."""
    page = await joined(server)
    socket = server.of("/").sockets[page.sid or ""]
    server.to("r").emit("n", 0)
    match kind:
        case "volatile":
            server.to("r").volatile.emit("note", *args)
        case "local":
            server.local.emit("note", *args)
        case _:
            socket.volatile.emit("note", *args)
    await page.lose()
    assert without_offsets(page.events) == [["n", 0], ["note", *args]]
    server.to("r").emit("n", 1)
    await page.restore()
    assert without_offsets(page.events)[2:] == [["n", 1]]


async def test_fault_09_nothing_is_lost_or_doubled_between_reading_and_joining(server: SocketServer) -> None:
    """Events in each turn of the loop, while a page repeatedly loses its connection."""
    page = await joined(server)
    sent = 0
    ended = asyncio.Event()

    async def write() -> None:
        nonlocal sent
        while not ended.is_set():
            server.to("r").emit("n", sent)
            sent += 1
            await asyncio.sleep(0)

    writing = asyncio.ensure_future(write())
    for attempt in range(100):
        await page.lose()
        for _ in range(attempt % 7):
            await asyncio.sleep(0)
        await page.restore()
    ended.set()
    await writing
    await page.read()
    assert without_offsets(page.events) == [["n", number] for number in range(sent)]


@pytest.mark.parametrize("bound", ["events", "bytes", "outbox"])
async def test_fault_10_a_replay_is_bounded_and_never_partial(bound: str) -> None:
    """Above the bounds there is no replay at all. The client is in its rooms."""
    server = recovering(True, max_outbox=65_536) if bound == "outbox" else recovering(SMALL)
    page = await lost(server)
    count, size = {"events": (4, 10), "bytes": (2, 1200), "outbox": (2, 30_000)}[bound]
    for number in range(count):
        server.to("r").emit("n", "x" * size, number)
    await page.come()
    assert page.recovered is False
    assert page.events == []
    assert outcomes(server) == {RecoveryOutcome.TOO_MANY: 1}
    server.to("r").emit("next", 1)
    assert without_offsets(await page.read()) == [["next", 1]]


async def test_clients_that_do_not_read_share_their_replays(server: SocketServer) -> None:
    """Waiting events are in memory once, and not at all when the clients have left."""
    pages = [await joined(server) for _ in range(20)]
    for page in pages:
        await page.lose()
    for number in range(30):
        server.to("r").emit("n", "x" * 50_000, number)
    deaf: list[tuple[Session, MemoryTransport]] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for page in pages:
            transport = MemoryTransport()
            session = server._registry.open(request_of(), transport)
            await turn()
            transport.writable = False
            session.receive_text(transport, b"40" + json.dumps({"pid": page.pid}).encode())
            deaf.append((session, transport))
        await _until_recovered(server, 20)
        during, _ = tracemalloc.get_traced_memory()
        waiting = [session.outbox.waiting_bytes for session, _ in deaf]
        for session, transport in deaf:
            session.transport_closed(transport, Reason.TRANSPORT_CLOSE)
        await turn()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(size > 1_500_000 for size in waiting)
    assert during - before < 5_000_000
    assert after - before < 500_000


async def test_other_tasks_run_while_a_long_replay_is_encoded(server: SocketServer) -> None:
    """New events for the client come after the replay."""
    page = await lost(server)
    sent = 4000
    for number in range(sent):
        server.to("r").emit("n", number)
    coming = asyncio.create_task(page.come())
    while outcomes(server) != {RecoveryOutcome.RECOVERED: 1}:
        server.to("r").emit("n", sent)
        sent += 1
        await asyncio.sleep(0)
    await coming
    await page.read()
    await page.read()
    assert sent > 4008
    assert page.recovered
    assert without_offsets(page.events) == [["n", number] for number in range(sent)]


async def _until_recovered(server: SocketServer, count: int) -> None:
    async with asyncio.timeout(10):
        while outcomes(server) != {RecoveryOutcome.RECOVERED: count}:
            await asyncio.sleep(0)


async def test_a_pid_is_shown_nowhere(server: SocketServer) -> None:
    """It gives access to the connection: neither handshakes nor descriptions of sockets have it."""
    page = await lost(server)
    await page.come()
    (remote,) = await server.everyone.fetch_sockets()
    socket = server.of("/").sockets[page.sid or ""]
    shown = json.dumps([remote.handshake.auth, socket.auth, socket.handshake.auth]) + repr(socket)
    assert page.pid is not None
    assert page.pid not in shown
