"""Pages that join their project once, and miss nothing when their connection or the server breaks.

The numbers of faults are those of `docs/recovery.md`.
"""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS, Client, Connect, Way, join
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay, relaying
from tests.support.server_process import StartServer
from tests.support.servers import until
from tests.support.users import ALICE, BOB, PROJECT

JS_WAYS = [way for way in WAYS.values() if way.language == "js"]
#: Two seconds until a half-open connection is noticed. The grace outlives any return or start on a busy machine.
SETTINGS = {"WS_PING_INTERVAL": "1", "WS_PING_TIMEOUT": "1", "RECOVERY": "true", "PRESENCE_GRACE": "600"}


async def both(connect_by: Connect, relay: Relay, way: Way, url: str) -> tuple[Client, Client]:
    """Alice behind the relay, and Bob; both have joined."""
    alice = await connect_by(ALICE, url=f"http://127.0.0.1:{relay.port}", way=way)
    bob = await connect_by(BOB, url=url)
    await join(alice)
    await join(bob, alice)
    return alice, bob


async def create(client: Client, task: int) -> None:
    """Create a task. It has been relayed when this returns."""
    await client.call("task:create", {"projectId": PROJECT, "task": {"id": task}})


def created(client: Client) -> list[int]:
    """The tasks in a client's received events."""
    return [event[1]["id"] for event in client.events.items if event[0] == "task:create"]


def told(client: Client, *names: str) -> list[list[Any]]:
    """A client's events of these names since the last call."""
    return [event for event in client.events.untaken if event[0] in names]


async def until_created(client: Client, *tasks: int) -> None:
    """Wait until a client has received these tasks, once each, in this order, and no others."""
    async with asyncio.timeout(PATIENCE):
        while len(created(client)) < len(tasks):
            await asyncio.sleep(0.02)
    assert created(client) == list(tasks)


async def pass_on(sender: Client, receiver: Client, *tasks: int) -> None:
    """Create the last of these tasks, and wait until the receiver has all of them."""
    await create(sender, tasks[-1])
    await until_created(receiver, *tasks)


async def reconnected(client: Client, sid: str) -> None:
    """Wait until a client has the same socket again."""
    while (change := await client.changes.next())[0] != "connect":
        pass
    assert change[1] == sid


@pytest.mark.parametrize("way", JS_WAYS, ids=[name for name in WAYS if name.startswith("js")])
@pytest.mark.parametrize("break_off", ["reset", "half-open", "three seconds offline"])
async def test_fault_01_a_page_that_joins_once_misses_nothing(
    start_server: StartServer, connect_by: Connect, way: Way, break_off: str
) -> None:
    """Whatever ends the connection. The other user gets neither a leave nor a join."""
    server = start_server(**SETTINGS)
    async with relaying(server.port) as relay:
        alice, bob = await both(connect_by, relay, way, server.url)
        sid = alice.id
        await pass_on(bob, alice, 0)
        if break_off == "half-open":
            relay.vanish()
        else:
            relay.is_stuck = break_off != "reset"
            relay.cut()
        await create(bob, 1)
        if relay.is_stuck:
            await asyncio.sleep(3)
            relay.is_stuck = False
        await reconnected(alice, sid)
        await pass_on(bob, alice, 0, 1, 2)
        await pass_on(alice, bob, 3)
        await asyncio.sleep(2.5)  # until the server has noticed what only seemed alive
        await pass_on(bob, alice, 0, 1, 2, 4)
        assert told(bob, "user:left", "user:joined") == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
async def test_fault_08_a_restart_loses_nothing(
    start_server: StartServer, connect_by: Connect, tmp_path: Path, ending: signal.Signals
) -> None:
    """Events before the restart, and events of clients that returned earlier, with both sockets restored."""
    state = {**SETTINGS, "STATE_DIR": str(tmp_path / "state")}
    server = start_server(**state)
    async with relaying(server.port) as relay:
        alice, bob = await both(connect_by, relay, WAYS["js-websocket"], server.url)
        sids = alice.id, bob.id
        await pass_on(bob, alice, 0)
        relay.is_stuck = True
        relay.cut()
        await create(bob, 1)
        if ending is signal.SIGKILL:
            server.kill()
        else:
            assert await asyncio.to_thread(server.stop) == 0
        again = start_server(WS_PORT=str(server.port), **state)
        await reconnected(bob, sids[1])
        await create(bob, 2)
        relay.is_stuck = False
        await reconnected(alice, sids[0])
        await pass_on(bob, alice, 0, 1, 2, 3)
        await pass_on(alice, bob, 4)
        for client in (alice, bob):
            names = [event[0] for event in client.events.items]
            assert "user:left" not in names
            assert names.count("user:joined") == (client is alice)  # Bob's first join
        for file in (tmp_path / "state").iterdir():
            assert file.stat().st_mode & 0o077 == 0
            assert ALICE.token.encode() not in file.read_bytes()
        await alice.close()
        await bob.close()
        assert await asyncio.to_thread(again.stop) == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
async def test_fault_08_a_page_misses_nothing_when_its_instance_ends(
    start_server: StartServer, connect_by: Connect, redis: RedisServer, ending: signal.Signals
) -> None:
    """It returns to its socket on another instance. The other user gets neither a leave nor a join."""
    first, second = (start_server(**SETTINGS, REDIS_URL=redis.url) for _ in range(2))
    async with relaying(first.port) as relay:
        alice, bob = await both(connect_by, relay, WAYS["js-websocket"], second.url)
        sid = alice.id
        await pass_on(bob, alice, 0)
        await pass_on(alice, bob, 1)
        relay.is_stuck = True
        relay.target = second.port
        if ending is signal.SIGKILL:
            first.kill()
        else:
            first.signal()
        await create(bob, 2)
        relay.is_stuck = False
        relay.cut()
        await reconnected(alice, sid)
        await pass_on(bob, alice, 0, 2, 3)
        await pass_on(alice, bob, 1, 4)
        await until(lambda: redis.do("ZCARD", "synkora:socket.io:instances") == 1, 20)  # the first one has ended
        await pass_on(bob, alice, 0, 2, 3, 5)
        assert told(bob, "user:left", "user:joined") == []


@pytest.mark.parametrize("instances", [1, 2])
async def test_an_hour_away_costs_as_many_events_as_things_changed(
    start_server: StartServer, connect_by: Connect, redis: RedisServer, tmp_path: Path, instances: int
) -> None:
    """Of 1,000 edits of 25 tasks the client gets the last of each, though the log keeps 100, and through kill -9."""
    shared = {"STATE_DIR": str(tmp_path / "state")} if instances == 1 else {"REDIS_URL": redis.url}
    settings = {**SETTINGS, **shared, "RECOVERY_LOG_EVENTS": "100", "LIMIT_EDIT_RATE": "10000"}
    servers = [start_server(**settings) for _ in range(instances)]

    async def edit(bob: Client, since: int, to: int) -> None:
        for number in range(since, to):
            event = ["task:update", {"projectId": PROJECT, "task": {"id": number % 25, "n": number}}]
            await (bob.call if number == to - 1 else bob.emit)(*event)

    async with relaying(servers[0].port) as relay:
        alice, bob = await both(connect_by, relay, WAYS["js-websocket"], servers[-1].url)
        sids = alice.id, bob.id
        relay.is_stuck = True
        relay.reset()
        await edit(bob, 0, 500)
        servers[0].kill()
        relay.target = servers[-1].port
        if instances == 1:
            start_server(WS_PORT=str(servers[0].port), **settings)
            await reconnected(bob, sids[1])
        await edit(bob, 500, 1000)
        relay.is_stuck = False
        await reconnected(alice, sids[0])
        await pass_on(bob, alice, 0)
        updates = [event[1]["n"] for event in alice.events.items if event[0] == "task:update"]
        assert updates == list(range(975, 1000))


async def test_fault_12_a_client_that_does_not_return_leaves_once(
    start_server: StartServer, connect_by: Connect
) -> None:
    server = start_server(**{**SETTINGS, "PRESENCE_GRACE": "2"})
    async with relaying(server.port) as relay:
        alice, bob = await both(connect_by, relay, WAYS["js-websocket"], server.url)
        relay.is_stuck = True
        relay.cut()
        await asyncio.sleep(0.5)
        assert told(bob, "user:left") == []
        assert (await bob.expect("user:left"))["socketId"] == alice.id
        assert (await bob.expect("users:active"))["count"] == 1
        await bob.expect("users:count")
        await asyncio.sleep(1.5)
        assert told(bob, "user:left", "users:count") == []
