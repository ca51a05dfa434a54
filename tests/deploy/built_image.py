"""The image, built from its Dockerfile and run: `make image-test`, which needs root. It takes minutes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.deploy.dockerfile import stages
from tests.deploy.images import Container, Images
from tests.docs.documents import ROOT
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import WAYS, Client, Way
from tests.support.redis_server import RedisServer
from tests.support.servers import until
from tests.support.users import ALICE, BOB, SECRET, User

PRESENCE = ("users:active", "users:count", "user:joined")
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    node, python, _ = (stage[0].text.split()[0] for stage in stages(DOCKERFILE))
    images = Images(tmp_path_factory.mktemp("image"))
    images.make_bases(f"docker.io/library/{python}", f"docker.io/library/{node}")
    images.build(DOCKERFILE, ROOT, "localhost/synkora-ws")
    yield images.open("localhost/synkora-ws")
    images.remove()


def is_healthy(container: Container, **variables: str) -> bool:
    kind, *command = container.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    with container.start(command, **variables) as check:
        return check.wait() == 0


async def heard(client: Client, name: str) -> Any:
    """The argument of the next event of this name; presence may come before."""
    while (event := await client.next())[0] != name:
        assert event[0] in PRESENCE
    return event[1]


async def enter(url: str, node: NodeProcess, user: User, way: Way) -> Client:
    client = Client(user.name, way, node)
    await client.connect(url, {"token": user.token})
    await client.expect("connected")
    await client.emit("join-project", "p")
    await heard(client, "users:active")
    return client


async def expect_work(url: str, node: NodeProcess) -> None:
    """Two users are in a project, and one gets what the other creates."""
    alice = await enter(url, node, ALICE, WAYS["js-upgrade"])
    bob = await enter(url, node, BOB, WAYS["js-polling"])
    await heard(alice, "user:joined")
    await alice.emit("task:create", {"projectId": "p", "task": {"id": "t1"}})
    assert await heard(bob, "task:create") == {"id": "t1"}
    for client in (alice, bob):
        await client.close()


def test_the_pages_are_in_it(container: Container) -> None:
    pages = {path.parent.name for path in container.root.glob("opt/synkora/lib/*/*/synkora/app/web/*/index.html")}
    assert pages == {"playground", "console"}


@pytest.mark.asyncio(loop_scope="module")
async def test_users_work_together_through_it(container: Container, node: NodeProcess) -> None:
    """As process 1, without root and capabilities, on a read-only file system. SIGTERM ends it with exit code 0."""
    variables = {"NEXTAUTH_SECRET": SECRET, "WS_PORT": str(free_port())}
    url = f"http://127.0.0.1:{variables['WS_PORT']}"
    with container.start(container.config["Cmd"], **variables) as program:
        program.line(lambda line: line.startswith("✓ Ready"))
        await until(lambda: is_healthy(container, **variables), PATIENCE)
        (server,) = psutil.Process(program.process.pid).children()
        assert set(server.uids()) == {10001}
        process = Path(f"/proc/{server.pid}")
        status = dict(line.split(":\t") for line in (process / "status").read_text(encoding="utf-8").splitlines())
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        mounts = [line.split() for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines()]
        assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"]

        await expect_work(url, node)
        os.kill(server.pid, signal.SIGTERM)
        assert program.wait() == 0, program.output
        assert not program.stderr
    assert not is_healthy(container, **variables)


@pytest.mark.parametrize("has_redis_url", [False, True], ids=["the image's Redis", "REDIS_URL"])
@pytest.mark.asyncio(loop_scope="module")
async def test_two_workers_are_one_server_in_it(
    container: Container, node: NodeProcess, redis: RedisServer, has_redis_url: bool
) -> None:
    """Without root, on a read-only file system. Members on both of them get the same edit."""
    variables = {"NEXTAUTH_SECRET": SECRET, "WS_PORT": str(free_port()), "WS_WORKERS": "2"}
    if has_redis_url:
        variables["REDIS_URL"] = redis.url
    url = f"http://127.0.0.1:{variables['WS_PORT']}"
    with container.start(container.config["Cmd"], **variables) as program:
        program.line(lambda line: line.startswith("✓ Ready"))
        await until(lambda: is_healthy(container, **variables), PATIENCE)
        (server,) = psutil.Process(program.process.pid).children()
        family = server.children()
        names = [process.name() for process in family]
        assert names.count("redis-server") == (0 if has_redis_url else 1)
        assert {uid for process in family for uid in process.uids()} == {10001}

        members = [await enter(url, node, user, WAYS["js-upgrade"]) for user in (ALICE, BOB)]
        while not await are_on_both(url):
            assert len(members) < 60, "one worker gets all clients"
            number = len(members)
            members.append(await enter(url, node, User(f"user-{number}", "Carol"), WAYS["js-websocket"]))
        await members[0].emit("task:create", {"projectId": "p", "task": {"id": "t1"}})
        for member in members[1:]:
            assert await heard(member, "task:create") == {"id": "t1"}
        for member in members:
            await member.close()
        os.kill(server.pid, signal.SIGTERM)
        assert program.wait() == 0, program.output
        assert not program.stderr
    assert psutil.wait_procs(family, PATIENCE)[1] == []


async def are_on_both(url: str) -> bool:
    """Whether each worker has signed-in clients."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        page = (await http.get(f"{url}/metrics")).text
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    counts = [sample.value for sample in samples if sample.name == "synkora_signed_in_connections"]
    return len(counts) == 2 and min(counts) > 0
