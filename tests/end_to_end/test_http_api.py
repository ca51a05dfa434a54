"""The app's backend publishes over HTTP, and pages with the official client get it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.docs.documents import ROOT, blocks
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import Connect, join
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.servers import until
from tests.support.users import ALICE, BOB, PROJECT

TOKEN = "the-token-of-the-backend"
PLACE = f"/api/v1/projects/{PROJECT}"
MOVE = {"event": "task:move", "data": {"taskId": "t1", "status": "DONE"}}
MOVED = ["task:move", {"taskId": "t1", "status": "DONE"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"), API_TOKEN=TOKEN)
    yield server
    assert server.stop() == 0, server.output


@pytest.fixture
def fleet(start_server: StartServer, redis: RedisServer) -> list[ServerProcess]:
    return [start_server(REDIS_URL=redis.url, API_TOKEN=TOKEN) for _ in range(2)]


async def send(port: int, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {TOKEN}", **headers}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
        return await http.request(method, path, **({} if body is None else {"json": body}))


async def ask(server: ServerProcess, method: str, path: str, body: Any = None, **headers: str) -> Any:
    answer = await send(server.port, method, path, body, **headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_published_event_reaches_every_client(server: ServerProcess, connect: Connect) -> None:
    """Over each transport. The client that made the change is left out."""
    alice, bob = await connect(ALICE), await connect(BOB)
    await join(alice)
    await join(bob, alice)
    await ask(server, "POST", f"{PLACE}/events", [{**MOVE, "except": alice.id}, MOVE])
    assert [await bob.next(), await bob.next()] == [MOVED, MOVED]
    assert await alice.next() == MOVED
    await alice.hears_nothing()
    assert (await ask(server, "GET", f"{PLACE}/presence"))["count"] == 2


async def test_the_documents_sample_publishes(server: ServerProcess, connect_by: Connect, tmp_path: Path) -> None:
    alice = await connect_by(ALICE)
    await join(alice)
    (sample,) = blocks(ROOT / "docs" / "http-api.md", "javascript")
    script = tmp_path / "route.mjs"
    call = f"publish({PROJECT!r}, {json.dumps(MOVE)}, 'a')"
    script.write_text(f"{sample.text}\nconsole.log(JSON.stringify(await {call}));")
    variables = {"WEBSOCKET_API_URL": server.url, "API_TOKEN": TOKEN, "PATH": os.environ["PATH"]}
    done = subprocess.run(["node", str(script)], env=variables, capture_output=True, text=True, timeout=PATIENCE)  # noqa: ASYNC221  # the client is in another process
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1
    assert await alice.next() == MOVED


async def test_a_request_covers_all_instances(fleet: list[ServerProcess], connect_by: Connect) -> None:
    """Whichever instance gets it: the clients are connected to the other one."""
    first, second = fleet
    alice, bob = await connect_by(ALICE, url=second.url), await connect_by(BOB, url=second.url)
    await join(alice)
    await join(bob, alice)
    answer = await ask(first, "POST", f"{PLACE}/events", MOVE, **{"Idempotency-Key": "save-1"})
    again = await ask(second, "POST", f"{PLACE}/events", MOVE, **{"Idempotency-Key": "save-1"})
    assert answer == again
    assert await alice.next() == await bob.next() == MOVED
    await alice.hears_nothing()
    for server in fleet:
        assert [user["userId"] for user in (await ask(server, "GET", f"{PLACE}/presence"))["users"]] == [
            ALICE.id,
            BOB.id,
        ]
        assert len((await ask(server, "GET", "/api/v1/cluster"))["instances"]) == 2
    assert (await ask(first, "POST", f"{PLACE}/notices", {"message": "Back soon"}))["connections"] == 2
    for client in (alice, bob):
        assert (await client.expect("server:notice"))["message"] == "Back soon"
    assert (await ask(first, "DELETE", f"{PLACE}/members/{ALICE.id}"))["connections"] == 1
    assert (await alice.expect("error"))["message"] == "You no longer have access to this project"
    assert (await ask(first, "DELETE", f"/api/v1/sockets/{bob.id}"))["connections"] == 1
    await until(lambda: bob.changes.untaken)
    assert (await ask(first, "DELETE", f"/api/v1/users/{ALICE.id}/connections"))["connections"] == 1
    await until(lambda: alice.changes.untaken)
    await ask(first, "PUT", f"/api/v1/blocks/users/{ALICE.id}", {"seconds": 60})
    await ask(first, "PUT", "/api/v1/blocks/addresses/192.0.2.1", {"seconds": 120})
    in_force = (await ask(second, "GET", "/api/v1/blocks"))["blocks"]
    assert [block["name"] for block in in_force] == [ALICE.id, "192.0.2.1"]
    await ask(second, "DELETE", f"/api/v1/blocks/users/{ALICE.id}")
    assert [block["name"] for block in (await ask(first, "GET", "/api/v1/blocks"))["blocks"]] == ["192.0.2.1"]


async def test_a_position_is_that_of_all_instances(fleet: list[ServerProcess]) -> None:
    """Also on an instance that has got none of the events, since nobody is connected to it."""
    first, second = fleet
    start = (await ask(second, "GET", f"{PLACE}/events"))["position"]
    published = (await ask(first, "POST", f"{PLACE}/events", [MOVE] * 3))["positions"]
    now = await ask(second, "GET", f"{PLACE}/events")
    assert now == {"events": [], "position": published[-1], "more": False}
    found = await ask(second, "GET", f"{PLACE}/events?since={start}")
    assert [event["position"] for event in found["events"]] == published[-1:]  # of one task, the newest is kept
    await ask(first, "POST", "/api/v1/projects/another/events", MOVE)
    further = (await ask(second, "GET", f"{PLACE}/events?since={now['position']}"))["position"]
    assert further == (await ask(first, "GET", f"{PLACE}/events"))["position"] != now["position"]


async def test_who_is_there_is_not_guessed(fleet: list[ServerProcess], connect_by: Connect) -> None:
    """An instance that does not answer may have members. One that has members knows the whole list."""
    first, second = fleet
    alice = await connect_by(ALICE, url=second.url)
    await join(alice)
    second.process.send_signal(signal.SIGSTOP)
    try:
        refused = await send(first.port, "GET", f"{PLACE}/presence")
    finally:
        second.process.send_signal(signal.SIGCONT)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["detail"].startswith("no answer from ")
    bob = await connect_by(BOB, url=first.url)
    await join(bob, alice)
    second.process.send_signal(signal.SIGSTOP)
    try:
        assert (await ask(first, "GET", f"{PLACE}/presence"))["count"] == 2
    finally:
        second.process.send_signal(signal.SIGCONT)


async def test_while_redis_is_away_a_request_can_be_sent_again(
    fleet: list[ServerProcess], redis: RedisServer, connect_by: Connect
) -> None:
    """What was refused is not published later. Who is here is known to the members' instance alone."""
    first, second = fleet
    alice = await connect_by(ALICE, url=first.url)
    await join(alice)
    key = {"Idempotency-Key": "save-1"}
    answered = await ask(first, "POST", f"{PLACE}/events", MOVE, **key)
    redis.kill()
    await expect_health(second, status="degraded")
    for method, path, body in [
        ("POST", "events", MOVE),
        ("GET", "events", None),
        ("GET", f"events?since={answered['positions'][0]}", None),
        ("GET", "presence", None),
        ("POST", "notices", {"message": "Hi"}),
        ("DELETE", f"members/{ALICE.id}", None),
    ]:
        refused = await send(second.port, method, f"{PLACE}/{path}", body, **key)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), path
    for method, path, sent in [
        ("DELETE", "users/nobody/connections", None),
        ("DELETE", "sockets/nobody", None),
        ("PUT", "blocks/users/nobody", {"seconds": 60}),
        ("DELETE", "blocks/users/nobody", None),
    ]:
        refused = await send(second.port, method, f"/api/v1/{path}", sent)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), path
    assert (await ask(first, "GET", f"{PLACE}/presence"))["count"] == 1
    redis.start()
    await expect_health(second, status="healthy")
    await ask(second, "POST", f"{PLACE}/events", MOVE, **{"Idempotency-Key": "save-2"})
    assert [await alice.next() for _ in range(2)] == [MOVED] * 2
    await alice.hears_nothing()


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_api_has_a_port_of_its_own(start_server: StartServer, workers: int) -> None:
    port = free_port()
    server = start_server(API_TOKEN=TOKEN, API_PORT=str(port), WS_WORKERS=str(workers))
    answer = await send(port, "GET", "/api/v1/cluster")
    assert answer.status_code == 200
    assert len(answer.json()["instances"]) == workers
    assert (await send(server.port, "GET", "/api/v1/cluster")).status_code == 404
