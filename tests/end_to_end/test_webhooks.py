"""The app's backend is told who enters and leaves projects, by webhooks that the official library verifies."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.docs.documents import ROOT, blocks
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import Connect, join
from tests.support.redis_server import RedisServer
from tests.support.redis_sets import running_cluster, running_sentinels
from tests.support.relay import relaying
from tests.support.server_process import ServerProcess, StartServer
from tests.support.servers import until
from tests.support.users import ALICE, BOB, CAROL, CLIENTS, DAVE, PROJECT
from tests.support.webhook_receiver import SECRET, Received, WebhookReceiver, receiving
from tests.support.wire import TEXT, WebSocket, client_frame

OCCUPIED = ("project.occupied", PROJECT, None)
ALICE_ENTERED = ("user.entered", PROJECT, ALICE.id)
ALICE_LEFT = ("user.left", PROJECT, ALICE.id)
BOB_ENTERED = ("user.entered", PROJECT, BOB.id)
BOB_LEFT = ("user.left", PROJECT, BOB.id)
CAROL_ENTERED, CAROL_LEFT = ("user.entered", PROJECT, CAROL.id), ("user.left", PROJECT, CAROL.id)
DAVE_ENTERED, DAVE_LEFT = ("user.entered", PROJECT, DAVE.id), ("user.left", PROJECT, DAVE.id)
VACANT = ("project.vacant", PROJECT, None)

#: Feeds the requests on its input to the document's route, and prints the status of each answer.
DRIVER = """
const requests = JSON.parse(await new Response(process.stdin).text());
for (const { headers, body } of requests) {
  const request = new Request("http://localhost/api/synkora", { method: "POST", headers, body });
  console.error((await POST(request)).status);
}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving(free_port()) as receiver:
        yield receiver


def start(start_server: StartServer, receiver: WebhookReceiver, **variables: str) -> ServerProcess:
    return start_server(WEBHOOK_URL=receiver.url, WEBHOOK_SECRET=SECRET, **variables)


async def run_the_documents_route(requests: list[Received], tmp_path: Path) -> tuple[list[str], list[str]]:
    """Its lines, and the status of each answer."""
    (route,) = blocks(ROOT / "docs" / "webhooks.md", "javascript")
    script = tmp_path / "route.mjs"
    library = (CLIENTS / "node_modules" / "standardwebhooks" / "dist" / "index.js").as_uri()
    script.write_text(route.text.replace('"standardwebhooks"', json.dumps(library)) + DRIVER)
    text = json.dumps([{"headers": each.headers, "body": each.body.decode()} for each in requests])
    done = await asyncio.to_thread(
        subprocess.run,
        ["node", str(script)],
        env={"WEBHOOK_SECRET": SECRET, "PATH": "/usr/local/bin:/usr/bin:/bin"},
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.split()


async def test_the_backend_is_told_who_enters_and_leaves(
    start_server: StartServer, receiver: WebhookReceiver, connect_by: Connect, tmp_path: Path
) -> None:
    """A user with two pages once. The documents' route verifies each request, and refuses a changed one."""
    server = start(start_server, receiver)
    alice, tab, bob = [await connect_by(user, url=server.url) for user in (ALICE, ALICE, BOB)]
    await join(alice)
    await join(tab, alice)
    await join(bob, alice, tab)
    await tab.close()
    await alice.close()
    await bob.expect("user:left")
    await bob.close()
    expected = [OCCUPIED, ALICE_ENTERED, BOB_ENTERED, ALICE_LEFT, BOB_LEFT, VACANT]
    await until(lambda: receiver.events == expected)
    taken = receiver.taken
    lines, statuses = await run_the_documents_route([*taken, taken[0]._replace(body=taken[0].body + b" ")], tmp_path)
    assert [line.split()[1] for line in lines] == [kind for kind, _, _ in expected]
    assert statuses == ["204"] * len(taken) + ["401"]


async def test_one_user_cannot_fill_the_queue(start_server: StartServer, receiver: WebhookReceiver) -> None:
    """Joins are limited to what a backend can be told of: the events of others would be dropped."""
    server = start(start_server, receiver, LIMIT_USER_BYTE_RATE="1000000")
    client = await WebSocket.open(server.port)
    await client.shake()
    await client.frame()  # OPEN
    await client.connect(ALICE.token)
    joins = (b'42["join-project","%d"]' % number for number in range(3))
    await client.send(b"".join(client_frame(TEXT, join) for join in joins))
    assert (await client.until_event("error"))["message"] == "Too much for one user: slow down"
    client.abort()


async def test_a_return_within_the_grace_period_sends_nothing(
    start_server: StartServer, receiver: WebhookReceiver, connect_by: Connect
) -> None:
    """The connection breaks, and the client returns. When the user leaves for good, one event says so."""
    server = start(start_server, receiver, PRESENCE_GRACE="600")
    async with relaying(server.port) as relay:
        alice = await connect_by(ALICE, url=f"http://127.0.0.1:{relay.port}")
        bob = await connect_by(BOB, url=server.url)
        await join(alice)
        await join(bob, alice)
        relay.cut()
        assert (await alice.changes.next())[0] == "disconnect"
        assert (await alice.changes.next())[:2] == ["connect", alice.id]
        await alice.emit("leave-project", PROJECT)
        await bob.expect("user:left")
        await bob.close()
        await until(lambda: VACANT in receiver.events)
        assert receiver.events == [OCCUPIED, ALICE_ENTERED, BOB_ENTERED, ALICE_LEFT, BOB_LEFT, VACANT]


async def read_metrics(server: ServerProcess) -> dict[str, float]:
    """The metrics of webhooks."""
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        text = (await http.get("/metrics")).text
    lines = (line.split(" ") for line in text.splitlines() if line.startswith("synkora_webhook"))
    return {name: float(value) for name, value in lines}


async def test_events_wait_while_the_backend_is_down(start_server: StartServer, connect_by: Connect) -> None:
    port = free_port()
    server = start_server(WEBHOOK_URL=f"http://127.0.0.1:{port}/hook", WEBHOOK_SECRET=SECRET)
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    await asyncio.to_thread(server.line, lambda line: "Webhook was not received" in line)
    async with receiving(port) as receiver:
        receiver.statuses = [500]
        metrics = await read_metrics(server)
        assert metrics["synkora_webhook_failures_total"] >= 1
        assert metrics["synkora_webhook_events_waiting"] == 2
        assert metrics["synkora_webhook_oldest_age_seconds"] > 0
        await until(lambda: receiver.events == [OCCUPIED, ALICE_ENTERED])
        assert await asyncio.to_thread(server.stop) == 0, server.output
        assert receiver.events == [OCCUPIED, ALICE_ENTERED, ALICE_LEFT, VACANT]
    assert SECRET not in server.output


async def test_workers_tell_each_transition_once(
    start_server: StartServer, receiver: WebhookReceiver, connect_by: Connect
) -> None:
    """With the Redis of their own. Users with a page on each worker enter once."""
    server = start(start_server, receiver, WS_WORKERS="2")
    pages = [await connect_by(ALICE, url=server.url) for _ in range(6)]
    for page in pages:
        await page.emit("join-project", PROJECT)
        # A join on the other worker may be on its way through Redis, and is then announced before or after the list.
        while (await page.next())[0] != "users:active":
            pass
    for page in pages:
        await page.close()
    await until(lambda: VACANT in receiver.events)
    assert told_once(receiver) == [OCCUPIED, ALICE_ENTERED, ALICE_LEFT, VACANT]


async def test_a_fleet_tells_each_transition_once(
    start_server: StartServer, redis: RedisServer, receiver: WebhookReceiver, connect_by: Connect
) -> None:
    """A user with a page on each instance enters once. An instance is killed while events wait: its users leave once,
    and nothing that waited is lost.
    """
    receiver.may_answer.clear()
    first, second = [start(start_server, receiver, REDIS_URL=redis.url) for _ in range(2)]
    places = ((ALICE, first), (ALICE, second), (BOB, first), (CAROL, second))
    alice, tab, bob, carol = [await connect_by(user, url=server.url) for user, server in places]
    await join(alice)
    await join(tab, alice)
    await join(bob, alice, tab)
    await join(carol, alice, tab, bob)
    await until(lambda: receiver.requests)
    await asyncio.to_thread(first.kill)
    receiver.may_answer.set()
    expected = [OCCUPIED, ALICE_ENTERED, BOB_ENTERED, ("user.entered", PROJECT, CAROL.id), BOB_LEFT]
    await until(lambda: told_once(receiver) == expected)
    await tab.close()
    await carol.expect("user:left")
    await until(lambda: told_once(receiver)[5:] == [ALICE_LEFT])


def told_once(receiver: WebhookReceiver) -> list[tuple[str, str, str | None]]:
    """The events, as a receiver takes them that ignores an id which is not greater than the last one."""
    taken: list[tuple[str, str, str | None]] = []
    last = ""
    for event in (event for received in receiver.taken for event in received.events):
        if event["id"] > last:
            last = event["id"]
            taken.append((event["type"], event["data"]["projectId"], event["data"].get("userId")))
    return taken


async def test_a_redis_cluster_tells_each_transition_once(
    start_server: StartServer, receiver: WebhookReceiver, connect_by: Connect
) -> None:
    with running_cluster() as cluster:
        first, second = [start(start_server, receiver, REDIS_URL=cluster.url) for _ in range(2)]
        alice, tab = [await connect_by(ALICE, url=server.url) for server in (first, second)]
        await join(alice)
        await join(tab, alice)
        await alice.close()
        await tab.expect("user:left")
        await tab.close()
        await until(lambda: VACANT in receiver.events)
        assert receiver.events == [OCCUPIED, ALICE_ENTERED, ALICE_LEFT, VACANT]
        for server in (first, second):
            assert await asyncio.to_thread(server.stop) == 0, server.output


@pytest.mark.parametrize("is_told", [True, False], ids=["told before", "not told"])
async def test_a_failover_by_sentinels_loses_and_repeats_no_more_than_documented(
    start_server: StartServer, receiver: WebhookReceiver, connect_by: Connect, is_told: bool
) -> None:
    """What the next master has is told once, also what waited. What it lacks is told again, or for the first time."""
    with running_sentinels() as sentinels:
        first, second = [start(start_server, receiver, REDIS_URL=sentinels.url) for _ in range(2)]
        places = ((ALICE, first), (BOB, second), (CAROL, first), (DAVE, second))
        alice, bob, carol, dave = [await connect_by(user, url=server.url) for user, server in places]
        await join(alice)
        await join(bob, alice)
        known = [OCCUPIED, ALICE_ENTERED, BOB_ENTERED]
        await until(lambda: receiver.events == known)
        receiver.may_answer.clear()
        await join(carol, alice, bob)
        requests = len(receiver.requests)
        await until(lambda: len(receiver.requests) > requests)
        await asyncio.to_thread(sentinels.replicate)

        async def change() -> None:
            """What only the dying master has."""
            await join(dave, alice, bob, carol)
            await bob.emit("leave-project", PROJECT)
            await dave.expect("user:left")
            if is_told:
                receiver.may_answer.set()
                await until(lambda: BOB_LEFT in receiver.events)

        changing = partial(asyncio.run_coroutine_threadsafe, loop=asyncio.get_running_loop())
        await asyncio.to_thread(sentinels.fail_over, lambda: changing(change()).result(PATIENCE))
        receiver.may_answer.set()
        known += [CAROL_ENTERED]
        changes = {DAVE_ENTERED, BOB_LEFT}
        if is_told:
            known += [DAVE_ENTERED, BOB_LEFT]
        await until(lambda: len(told_once(receiver)) >= len(known) + 2)
        for user in (carol, dave):
            await user.close()
        await alice.emit("leave-project", PROJECT)
        await until(lambda: VACANT in receiver.events)
        told = told_once(receiver)
        assert told[: len(known)] == known
        assert set(told[len(known) :][:2]) == changes
        assert set(told[len(known) + 2 : -1]) == {CAROL_LEFT, DAVE_LEFT, ALICE_LEFT}
        assert len(told) == len(known) + 2 + 4
        for server in (first, second):
            assert await asyncio.to_thread(server.stop) == 0, server.output


async def test_another_instance_sends_while_the_sender_stands_still(
    start_server: StartServer, redis: RedisServer, receiver: WebhookReceiver, connect_by: Connect
) -> None:
    receiver.may_answer.clear()
    first = start(start_server, receiver, REDIS_URL=redis.url)
    alice = await connect_by(ALICE, url=first.url)
    await join(alice)
    await until(lambda: receiver.requests)
    second = start(start_server, receiver, REDIS_URL=redis.url)
    bob = await connect_by(BOB, url=second.url)
    first.process.send_signal(signal.SIGSTOP)
    try:
        await join(bob)
        receiver.may_answer.set()
        await until(lambda: BOB_ENTERED in receiver.events)
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert told_once(receiver)[:3] == [OCCUPIED, ALICE_ENTERED, BOB_ENTERED]


async def test_events_outlive_all_instances(start_server: StartServer, redis: RedisServer, connect_by: Connect) -> None:
    """They wait in Redis until another instance starts."""
    port = free_port()
    variables = {"REDIS_URL": redis.url, "WEBHOOK_URL": f"http://127.0.0.1:{port}/hook", "WEBHOOK_SECRET": SECRET}
    server = start_server(**variables)
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    await asyncio.to_thread(server.line, lambda line: "Webhook was not received" in line)
    await asyncio.to_thread(server.kill)
    async with receiving(port) as receiver:
        start_server(**variables)
        await until(lambda: receiver.events == [OCCUPIED, ALICE_ENTERED, ALICE_LEFT, VACANT])
