"""Several workers on one port, as one server for clients and operators."""

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from tests.end_to_end.member import Member
from tests.end_to_end.worker_members import NUMBERS, TWO, Workers, connect, enter, expect_edit, leave
from tests.support.certificates import make_certificate
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE, Program, Synkora
from tests.support.redis_server import RedisServer, valkey
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.servers import Address, until
from tests.support.users import SECRET, User
from tests.support.wire import raw

from synkora.serving.hand_over import MAX_DATA

START = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0"}
HANDSHAKE = {"EIO": "4", "transport": "polling"}
SYNKORA = (sys.executable, "-m", "synkora")


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two workers for all tests that leave two workers behind."""
    server = ServerProcess(tmp_path_factory.mktemp("workers"), **TWO)
    yield Workers(server)
    assert server.stop() == 0, server.output
    assert server.stderr == []


@pytest_asyncio.fixture(loop_scope="session")
async def members(workers: Workers, node: NodeProcess) -> AsyncIterator[list[Member]]:
    """Members of one project, at least two on each worker."""
    await expect_health(workers.server, connections=0, workers=2)
    members = await enter(workers, node, at_least=6)
    yield members
    await leave(members)


async def test_clients_of_all_workers_work_together(workers: Workers, members: list[Member]) -> None:
    """They see each other in the project, and get each other's edits."""
    for number in (0, 1):
        (sender, *_) = workers.of(number, members)
        await expect_edit(sender, members, f"from worker {number}")


async def test_health_and_metrics_cover_all_workers(workers: Workers, members: list[Member]) -> None:
    """A project on both workers counts once. Each sample has its worker."""
    await expect_health(workers.server, status="healthy", connections=len(members), rooms=1, workers=2)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        page = (await http.get(f"{workers.server.url}/metrics")).text
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    assert {sample.labels.get("worker") for sample in samples} == {"0", "1"}
    signed_in = {
        int(sample.labels["worker"]): sample.value
        for sample in samples
        if sample.name == "synkora_signed_in_connections"
    }
    assert signed_in == {number: len(workers.of(number, members)) for number in (0, 1)}
    up = {sample.labels["worker"]: sample.value for sample in samples if sample.name == "synkora_worker_up"}
    assert up == {"0": 1, "1": 1}
    pages = page.splitlines()
    assert len([line for line in pages if line.startswith("# TYPE synkora_connections ")]) == 1


async def test_a_worker_that_does_not_answer_is_visible(workers: Workers) -> None:
    """In the health and in the metrics."""
    frozen = psutil.Process(workers.pids[1])
    frozen.suspend()
    try:
        health = json.loads(await ask_another(workers, "/health"))
        assert (health["status"], health["reason"], health["workers"]) == ("degraded", "worker 1 of 2 missing", 1)
        page = await ask_another(workers, "/metrics")
        assert 'synkora_worker_up{worker="0"} 1.0' in page
        assert 'synkora_worker_up{worker="1"} 0.0' in page
    finally:
        frozen.resume()
    await expect_health(workers.server, status="healthy", workers=2)


async def ask_another(workers: Workers, path: str) -> str:
    """Ask over new connections, until one is not that of a frozen worker. Returns the answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
                try:
                    return (await http.get(workers.server.url + path)).text
                except httpx.ReadTimeout:
                    continue


async def test_a_killed_worker_is_replaced(workers: Workers, members: list[Member]) -> None:
    """Its clients come back to any worker, keep their socket ids, and nobody sees a leave. Until another worker has its
    number, new connections reach the others.
    """
    before = workers.pids
    lost = workers.of(1, members)
    os.kill(before[1], signal.SIGKILL)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        answers = await asyncio.gather(*(http.get(f"{workers.server.url}/health") for _ in range(8)))
    assert [answer.json()["workers"] for answer in answers] == [1] * 8  # the start of another worker takes longer
    await until(lambda: all(len(member.ids) == 2 for member in lost), PATIENCE)
    await expect_health(workers.server, status="healthy", workers=2, connections=len(members))
    assert [len({*member.ids}) for member in members] == [1] * len(members)
    for sender in members:
        await expect_edit(sender, members, f"after the loss, from {sender.user.id}")
    assert [member.got("user:left") for member in members] == [[]] * len(members)
    after = workers.pids
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert [(entry["worker"], entry["reason"]) for entry in workers.logged("worker_ended")] == [
        (1, "killed by SIGKILL; another one starts now")
    ]


async def test_redis_that_dies_is_started_again(workers: Workers, members: list[Member]) -> None:
    """Clients stay connected, and all are one server again."""
    redis = workers.redis
    assert redis is not None
    before = len(workers.logged("redis_up"))
    redis.kill()
    await until(lambda: len(workers.logged("private_redis_ended")) == 1, PATIENCE)
    await until(lambda: len(workers.logged("redis_up")) == before + 2, PATIENCE)
    await expect_health(workers.server, status="healthy", workers=2)
    for number in (0, 1):
        await expect_edit(workers.of(number, members)[0], members, f"with the new Redis, from {number}")
    assert [len(member.ids) for member in members] == [1] * len(members)


async def test_a_reload_refuses_no_connection(workers: Workers, members: list[Member]) -> None:
    """SIGHUP replaces the workers. Clients that connect all the time are served, and those that were connected are sent
    to the new workers and recovered.
    """
    before = workers.pids
    refused: list[object] = []
    opened = 0
    is_over = asyncio.Event()

    async def connect_all_the_time() -> None:
        nonlocal opened
        while not is_over.is_set():
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
                try:
                    answer = await http.get(f"{workers.server.url}/socket.io/", params=HANDSHAKE)
                    if answer.status_code != 200:
                        refused.append((answer.status_code, answer.text))
                except httpx.HTTPError as error:
                    refused.append(error)
                opened += 1
            await asyncio.sleep(0.005)

    connecting = [asyncio.create_task(connect_all_the_time()) for _ in range(4)]
    workers.server.process.send_signal(signal.SIGHUP)
    await until(lambda: workers.logged("reloaded") != [], PATIENCE)
    is_over.set()
    await asyncio.gather(*connecting)
    assert refused == []
    assert opened > 100
    assert set(before.values()).isdisjoint(workers.pids.values())
    assert sorted(workers.pids) == [0, 1]
    await until(lambda: all(len(member.ids) == 2 for member in members), PATIENCE)
    assert [len({*member.ids}) for member in members] == [1] * len(members)
    assert {len(member.ids) for member in members} == {2}
    assert [entry["worker"] for entry in workers.logged("draining")] == [0, 1]
    await expect_edit(members[0], members, "after the reload")
    assert [member.got("user:left") for member in members] == [[]] * len(members)


async def test_first_lines_that_are_slow_to_search_hold_up_nobody(start_server: StartServer) -> None:
    """A search of each line for a session's id took seconds, before anyone had signed in."""
    server = start_server(**TWO)
    line = b"GET /socket.io/?x" + b"&sid=a.a" * (MAX_DATA // 8 - 10)
    async with AsyncExitStack() as around:
        for end in (b" HTTP/1.0", b"!") * 30:
            client = await around.enter_async_context(raw(Address(server.port, "/socket.io/")))
            await client.send(line + end)
        await expect_health(server, status="healthy", workers=2)


async def test_the_limit_of_clients_is_that_of_all_workers(start_server: StartServer) -> None:
    """However the clients are spread."""
    server = start_server(WS_WORKERS="2", LIMIT_CLIENTS="5")
    async with httpx.AsyncClient(
        trust_env=False, timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0)
    ) as http:
        statuses = [(await http.get(f"{server.url}/socket.io/", params=HANDSHAKE)).status_code for _ in range(12)]
    assert statuses == [200] * 5 + [503] * 7


@pytest.mark.parametrize("of_all", [False, True], ids=["parent", "group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_tells_every_client(
    start_server: StartServer, node: NodeProcess, number: signal.Signals, of_all: bool
) -> None:
    """At once, since no other server shares the Redis. The exit status is 0, also if a supervisor signals all processes
    of the group. Redis and the folder are gone, and the log has one end.
    """
    workers = Workers(start_server(**TWO))
    members = await enter(workers, node)
    redis, folder = workers.redis, workers.folder
    assert redis is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    family = workers.parent.children() if of_all else []
    workers.server.signal(number)
    for process in family:
        process.send_signal(number)
    assert await asyncio.to_thread(workers.server.wait) == 0, workers.server.output
    assert workers.logged("draining") == []
    await until(lambda: all(len(member.got("server:shutdown")) == 1 for member in members), PATIENCE)
    await leave(members)
    assert not redis.is_running()
    assert not folder.exists()
    assert workers.server.stderr == []
    assert len(workers.logged("started")) == 1
    assert workers.entries[-1]["event"] == "stopped"
    assert len(workers.logged("stopped")) == 1


async def test_a_further_signal_cuts_the_drain_short(
    start_server: StartServer, node: NodeProcess, redis: RedisServer
) -> None:
    """Of the worker that drains, and of those whose turn has not come."""
    workers = Workers(start_server(**TWO | {"SHUTDOWN_DRAIN": "3600", "REDIS_URL": redis.url}))
    assert workers.redis is None
    members: list[Member] = []
    while min(len(workers.of(0, members)), len(workers.of(1, members))) < 2:  # the first one leaves at once
        user = User(f"user-{next(NUMBERS)}", "Carol")
        members.append(await connect(workers, user, node, project=user.id))  # those of a project leave together
    workers.server.signal(signal.SIGINT)
    await until(lambda: [entry["worker"] for entry in workers.logged("draining")] == [0], PATIENCE)
    workers.server.signal(signal.SIGINT)
    assert await asyncio.to_thread(workers.server.wait) == 0
    await until(lambda: all(len(member.got("server:shutdown")) == 1 for member in members), PATIENCE)
    await leave(members)


async def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    """Workers and Redis end with it."""
    workers = Workers(ServerProcess(tmp_path, **TWO))
    try:
        family, folder = workers.parent.children(), workers.folder
        assert len(family) == 3
        workers.parent.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, PATIENCE)
        assert alive == []
        assert not folder.exists()
    finally:
        workers.server.kill()


async def test_valkey_in_place_of_redis(tmp_path: Path, node: NodeProcess) -> None:
    """On a machine that has only Valkey, it connects the workers. It ends with them."""
    (tmp_path / "valkey-server").symlink_to(valkey())
    workers = Workers(ServerProcess(tmp_path, **TWO, PATH=str(tmp_path)))
    try:
        (private,) = [each for each in workers.parent.children() if each.name() == "valkey-server"]
        assert workers.redis is None
        await expect_health(workers.server, status="healthy", workers=2)
        members = await enter(workers, node)
        await expect_edit(workers.of(0, members)[0], members, "through Valkey")
        await leave(members)
        assert await asyncio.to_thread(workers.server.stop) == 0
        assert not private.is_running()
    finally:
        workers.server.kill()


def test_a_machine_without_redis(tmp_path: Path) -> None:
    """The one line says what to install."""
    with Synkora(tmp_path, "serve", "--workers", "2", **{**START, "PATH": str(tmp_path)}) as program:
        assert program.wait() == 1
    assert program.stdout == []
    assert program.stderr == [
        "several workers share a Redis, and neither redis-server nor valkey-server is installed: "
        "apt install redis-server (Debian, Ubuntu), set REDIS_URL, or set WS_WORKERS=1"
    ]


def test_what_keeps_workers_from_starting_is_said_once(tmp_path: Path) -> None:
    """A worker says it, and the server does not start."""
    certfile, keyfile = make_certificate(tmp_path, "first")
    certfile.write_text("no certificate")
    tls = {"SSL_CERTFILE": str(certfile), "SSL_KEYFILE": str(keyfile)}
    with Synkora(tmp_path, "serve", **{**START, **tls, "WS_WORKERS": "2"}) as program:
        assert program.wait() == 1
    assert len(program.stderr) == 1
    assert program.stderr[0].startswith("SSL_CERTFILE, SSL_KEYFILE: ")


async def test_a_reload_takes_a_renewed_certificate(tmp_path: Path, start_server: StartServer) -> None:
    """An unusable one keeps the workers."""
    first, second = make_certificate(tmp_path, "first"), make_certificate(tmp_path, "second")
    server = start_server(WS_WORKERS="2", LOG_FORMAT="json", SSL_CERTFILE=str(first[0]), SSL_KEYFILE=str(first[1]))
    workers = Workers(server)
    shown = first[0].read_text()
    good = [file.read_text() for file in second]
    assert await asyncio.to_thread(certificate_of, server.port) == shown
    before = workers.pids
    first[0].write_text("no certificate")
    server.process.send_signal(signal.SIGHUP)
    await until(lambda: workers.logged("not_reloaded") != [], PATIENCE)
    assert workers.pids == before
    assert await asyncio.to_thread(certificate_of, server.port) == shown
    for file, text in zip(first, good, strict=True):
        file.write_text(text)
    server.process.send_signal(signal.SIGHUP)
    await until(lambda: workers.logged("reloaded") != [], PATIENCE)
    assert await asyncio.to_thread(certificate_of, server.port) == good[0]


def certificate_of(port: int) -> str:
    return "\n".join(ssl.get_server_certificate(("127.0.0.1", port)).splitlines()) + "\n"


async def test_a_reload_that_is_asked_for_during_a_failed_one_is_done_afterwards(start_server: StartServer) -> None:
    """When the workers that the failed one has started have ended. Each number has one worker again."""
    workers = Workers(start_server(**TWO))
    before = workers.processes
    workers.server.process.send_signal(signal.SIGHUP)
    await until(lambda: len(workers.processes) == 4, PATIENCE)
    workers.server.process.send_signal(signal.SIGHUP)
    ((_, new),) = [each for each in workers.processes if each[0] == 1 and each not in before]
    os.kill(new, signal.SIGKILL)
    await until(lambda: workers.logged("reloaded") != [], PATIENCE)
    assert len(workers.logged("not_reloaded")) == 1
    await until(lambda: sorted(number for number, _ in workers.processes) == [0, 1], PATIENCE)
    assert not set(before) & set(workers.processes)
    await expect_health(workers.server, status="healthy", workers=2)


async def test_the_parent_talks_to_the_service_manager(tmp_path: Path) -> None:
    """It passes the manager's socket to the workers, and says once that all are ready, and once that they stop."""
    notices = tmp_path / "notices"
    given = {
        "NEXTAUTH_SECRET": "the-secret-of-workers-71b0e3-and-more",
        "WS_WORKERS": "2",
        "NOTIFY_SOCKET": str(notices),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        manager.bind(str(notices))
        manager.settimeout(PATIENCE)
        listen = f"--listen=127.0.0.1:{port}"
        command = ["systemd-socket-activate", listen, *(f"--setenv={name}={value}" for name, value in given.items())]
        with Program([*command, *SYNKORA, "serve"], tmp_path) as program:
            async with httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(retries=10), timeout=PATIENCE, trust_env=False
            ) as http:
                health = (await http.get(f"http://127.0.0.1:{port}/health")).json()
            assert health["workers"] >= 1
            assert await asyncio.to_thread(manager.recv, 100) == b"READY=1"
            program.signal(signal.SIGTERM)
            assert await asyncio.to_thread(manager.recv, 100) == b"STOPPING=1"
            assert await asyncio.to_thread(program.wait) == 0
            manager.setblocking(False)
            with pytest.raises(BlockingIOError):
                manager.recv(100)
