"""Slow consumers in a busy project: their losses, their cost, and no effect on others."""

import asyncio
import base64
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.end_to_end.raw import DEFLATE, Carrier, RawClient, RawPolling, RawWebSocket, catch_up, enter
from tests.support.certificates import make_certificate
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS, Client, Connect, join
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB, PROJECT, User

from synkora.engine.backlog import VOLATILE_LIMIT
from synkora.engine.transports.websocket import UNSENT

SLOTH = User("user-sloth", "Sloth")
BUSY = {
    "WS_COMPRESSION": "true",
    "LIMIT_VOLATILE_RATE": "0",
    "LIMIT_EDIT_RATE": "0",
    "LIMIT_BYTE_RATE": "0",
    "LIMIT_USER_BYTE_RATE": "0",
    "LIMIT_CONNECTIONS_PER_ADDRESS": "0",
    "LIMIT_HANDSHAKES_PER_ADDRESS": "0",
}
CURSOR = 10_000  # bytes: large ones fill a line with fewer of them
DOCUMENT = 20_000  # bytes
AT_A_TIME = 5  # events in flight: few enough for the others' buffers
TLS_READ_AHEAD = 800_000  # bytes that asyncio's TLS decrypts although the client does not read

Sent = tuple[str, dict[str, Any]]
Open = Callable[[ServerProcess], Awaitable[Carrier]]


def cursor(number: int, project: str = PROJECT, size: int = CURSOR) -> Sent:
    return "canvas:cursor", {"projectId": project, "position": {"n": number, "padding": padding(size)}}


def move(number: int, project: str = PROJECT) -> Sent:
    return "task:move", {"projectId": project, "taskId": "t1", "status": number}


def document(number: int) -> Sent:
    return "markdown:update", {"projectId": PROJECT, "fileId": f"f{number}", "content": padding(DOCUMENT)}


def padding(size: int) -> str:
    """Text that does not compress well."""
    return base64.b64encode(random.randbytes(size * 3 // 4)).decode()


def busy_hour(events: int, project: str = PROJECT) -> list[Sent]:
    """Many cursors, and occasional moves of a task."""
    return [(move if number % 25 == 7 else cursor)(number, project) for number in range(events)]


def number_of(event: tuple[str, Any]) -> int:
    """The number of an event of `busy_hour`."""
    name, argument = event
    number: int = argument["position"]["n"] if name == "canvas:cursor" else argument["status"]
    return number


async def work(events: list[Sent], sender: Client | RawClient, *readers: Client | RawClient) -> None:
    """Let one member send these events. Fails unless all others get each once, in order, and nothing else."""

    async def read(reader: Client | RawClient, wanted: list[Sent]) -> None:
        for event in wanted:
            assert number_of((event[0], await reader.expect(event[0]))) == number_of(event)

    for start in range(0, len(events), AT_A_TIME):
        some = events[start : start + AT_A_TIME]
        for event in some:
            await sender.emit(*event)
        await asyncio.gather(*(read(reader, some) for reader in readers))


async def expect_the_newest(slow: RawClient, events: list[Sent], *, on_the_way: int = 2 * UNSENT) -> None:
    """Let it read: the newest cursors, and everything else, in the order of sending.

    Before these it gets the bytes that were `on_the_way` when it stopped reading.
    """
    got = await catch_up(slow)
    numbers = [number_of(event) for event in got]
    assert numbers == sorted(set(numbers))
    assert [number_of(event) for event in got if event[0] == "task:move"] == [
        number_of(event) for event in events if event[0] == "task:move"
    ]
    cursors = [number_of(event) for event in got if event[0] == "canvas:cursor"]
    newest = VOLATILE_LIMIT // (CURSOR + 200)
    assert cursors[-newest:] == [number_of(event) for event in events if event[0] == "canvas:cursor"][-newest:]
    assert len(cursors) <= newest + on_the_way // CURSOR


async def by_websocket(server: ServerProcess) -> Carrier:
    return await RawWebSocket.open(server, slow=True)


async def by_compressed_websocket(server: ServerProcess) -> Carrier:
    return await RawWebSocket.open(server, slow=True, extension=DEFLATE)


async def by_polling(server: ServerProcess) -> Carrier:
    return await RawPolling.open(server)


ways = pytest.mark.parametrize("open_slow", [by_websocket, by_compressed_websocket, by_polling])


@pytest_asyncio.fixture(loop_scope="session")
async def carriers() -> AsyncIterator[list[Carrier]]:
    carriers: list[Carrier] = []
    yield carriers
    for carrier in carriers:
        await carrier.close()


async def meet(server: ServerProcess, carrier: Carrier, connect_by: Connect) -> tuple[RawClient, Client, Client]:
    """The slow client, Alice and Bob, all in the project."""
    slow = await enter(RawClient(carrier), SLOTH, PROJECT)
    alice = await connect_by(ALICE, url=server.url)
    bob = await connect_by(BOB, url=server.url, way=WAYS["python-websocket"])
    await join(alice)
    await join(bob, alice)
    return slow, alice, bob


@ways
async def test_it_loses_old_cursors_and_nothing_else(
    start_server: StartServer, connect_by: Connect, carriers: list[Carrier], open_slow: Open
) -> None:
    """It stays connected. When it reads again, it gets the current positions and every moved task."""
    server = start_server(**BUSY, LOG_LEVEL="warning")
    carriers.append(await open_slow(server))
    slow, alice, bob = await meet(server, carriers[0], connect_by)
    got = await catch_up(slow)
    assert [name for name, _ in got].count("user:joined") == 2
    assert got[-1] == ("users:count", {"count": 3})  # one that waits for a poll is replaced by the next

    events = busy_hour(500)
    await work(events, alice, bob)
    await expect_the_newest(slow, events)
    await work([move(1000)], alice, bob, slow)
    for client in (alice, bob):
        await client.hears_nothing()


async def test_over_tls_it_is_the_same(start_server: StartServer, carriers: list[Carrier], tmp_path: Path) -> None:
    """TLS has one more buffer, without more waiting messages."""
    certfile, keyfile = make_certificate(tmp_path, "server")
    trust = ssl.create_default_context(cafile=certfile)
    server = start_server(**BUSY, SSL_CERTFILE=str(certfile), SSL_KEYFILE=str(keyfile), LOG_LEVEL="warning")
    for user in (SLOTH, ALICE, BOB):
        carriers.append(await RawWebSocket.open(server, slow=True, trust=trust))
        await enter(RawClient(carriers[-1]), user, PROJECT)
    slow, alice, bob = map(RawClient, carriers)
    for client in (slow, alice):
        await catch_up(client)
    events = busy_hour(500)
    await work(events, alice, bob)
    await expect_the_newest(slow, events, on_the_way=2 * UNSENT + TLS_READ_AHEAD)


@ways
async def test_a_long_backlog_arrives_complete(
    start_server: StartServer, carriers: list[Carrier], open_slow: Open
) -> None:
    """In the order of sending, in several pieces."""
    server = start_server(**BUSY, LOG_LEVEL="warning")
    carriers += [await open_slow(server), await RawWebSocket.open(server)]
    slow, alice = [await enter(RawClient(carrier), ALICE, PROJECT) for carrier in carriers]
    for number in range(150):
        await alice.emit(*document(number))
    await catch_up(alice)
    got = [argument["fileId"] for name, argument in await catch_up(slow) if name == "markdown:update"]
    assert got == [f"f{number}" for number in range(150)]


@ways
async def test_above_its_limit_it_is_disconnected_and_others_lose_nothing(
    start_server: StartServer, connect_by: Connect, carriers: list[Carrier], open_slow: Open
) -> None:
    """Documents wait up to WS_MAX_OUTBOX. Then the others get its leave, and the log has the reason."""
    server = start_server(**BUSY, WS_MAX_PAYLOAD="100000", WS_MAX_OUTBOX="200000")
    carriers.append(await open_slow(server))
    slow, alice, bob = await meet(server, carriers[0], connect_by)
    await catch_up(slow)

    others: list[list[Any]] = []
    sent = 0
    while len(others) < 3:
        assert sent < 100, "it was never disconnected"
        await alice.emit(*document(sent))
        while (event := await bob.next())[0] != "markdown:update":
            others.append(event)
        assert event[1]["fileId"] == f"f{sent}"
        sent += 1
    assert sent * DOCUMENT > 200_000
    assert [event[0] for event in others] == ["user:left", "users:active", "users:count"]
    assert others[0][1]["userName"] == SLOTH.name
    await expect_health(server, connections=2)
    server.line(lambda line: line == "! Slow client cut off, from 127.0.0.1")
    end = re.compile(rf"✗ Client disconnected: \S+ \({SLOTH.name}\) - transport error")
    server.line(lambda line: end.fullmatch(line) is not None)

    got = [argument["fileId"] for name, argument in await catch_up(slow) if name == "markdown:update"]
    assert got == [f"f{number}" for number in range(len(got))]
    assert len(got) < sent
    await slow.is_closed()


@ways
async def test_joins_and_leaves_disconnect_no_slow_consumer(
    start_server: StartServer, carriers: list[Carrier], open_slow: Open
) -> None:
    """After any number of them it is still connected, and ends with the correct list."""
    limits = {"LIMIT_OTHER_RATE": "0", "WS_MAX_PAYLOAD": "100000", "WS_MAX_OUTBOX": "100000"}
    server = start_server(**BUSY, **limits, LOG_LEVEL="warning")
    carriers.append(await open_slow(server))
    slow = await enter(RawClient(carriers[0]), SLOTH, PROJECT)
    for _ in range(500):
        if len(carriers) > 1:
            await carriers.pop().close()
        carriers.append(await RawWebSocket.open(server))
        mover = RawClient(carriers[-1])
        await mover.sign_in(ALICE)
        await mover.emit("join-project", PROJECT)
        await catch_up(mover)
    await expect_health(server, connections=2)
    newest: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while sorted(newest) != [ALICE.name, SLOTH.name]:
            for name, argument in await catch_up(slow):
                if name == "users:active":
                    newest = [user["userName"] for user in argument["users"]]
                elif name == "user:left":
                    newest = []


async def test_with_one_in_ten_slow_the_other_nine_lose_nothing(
    start_server: StartServer, carriers: list[Carrier]
) -> None:
    """Two hundred busy users in ten projects, two of each project slow."""
    server = start_server(**BUSY, LOG_LEVEL="warning")

    async def member(project: str, open_one: Open) -> RawClient:
        carriers.append(await open_one(server))
        return await enter(RawClient(carriers[-1]), SLOTH if open_one is by_websocket else BOB, project)

    async def project(name: str) -> None:
        slow = [await member(name, by_websocket) for _ in range(2)]
        fast = [await member(name, RawWebSocket.open) for _ in range(18)]
        for client in (*slow, *fast):
            await catch_up(client)
        events = busy_hour(75, name)
        await work(events, *fast)
        for client in slow:
            await expect_the_newest(client, events)

    await asyncio.gather(*(project(f"project {number}") for number in range(10)))
    await expect_health(server, connections=200)


async def test_memory_is_bounded(start_server: StartServer, carriers: list[Carrier]) -> None:
    """Of 50 MB of cursors that twenty slow clients do not read, the server keeps only their allowed backlogs."""
    size, clients = 50_000, 20
    server = start_server(**BUSY, WS_MAX_OUTBOX="1000000000", LOG_LEVEL="warning")
    for _ in range(clients):
        carriers.append(await RawWebSocket.open(server, slow=True))
        await enter(RawClient(carriers[-1]), SLOTH, PROJECT)
    carriers += [await RawWebSocket.open(server), await RawWebSocket.open(server)]
    alice, bob = [await enter(RawClient(carrier), ALICE, PROJECT) for carrier in carriers[-2:]]
    await catch_up(alice)
    before = server.rss
    await work([cursor(number, size=size) for number in range(1000)], alice, bob)
    growth = server.rss - before
    # Besides what waits there is one write under way for each of them, and what the allocator does not give back.
    assert growth < clients * (VOLATILE_LIMIT + 2 * size) + 5_000_000, f"{growth / 1e6:.1f} MB more"
    await expect_health(server, connections=clients + 2)
