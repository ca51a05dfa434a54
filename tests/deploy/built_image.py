"""The image, built from its Dockerfile and run: `make image-test`, which needs root. It takes minutes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.deploy.dockerfile import stages
from tests.deploy.images import Container, Images
from tests.docs.documents import ROOT
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import WAYS, Client
from tests.support.servers import until
from tests.support.users import ALICE, BOB, SECRET

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
    """The argument of the next event of this name; counts of users may come before."""
    while (event := await client.next())[0] != name:
        assert event[0] == "users:count"
    return event[1]


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

        alice = Client("Alice", WAYS["js-upgrade"], node)
        bob = Client("Bob", WAYS["js-polling"], node)
        for client, user in ((alice, ALICE), (bob, BOB)):
            await client.connect(url, {"token": user.token})
            await client.expect("connected")
            await client.emit("join-project", "p")
            await client.expect("users:active")
        await heard(alice, "user:joined")
        await alice.emit("task:create", {"projectId": "p", "task": {"id": "t1"}})
        assert await heard(bob, "task:create") == {"id": "t1"}
        for client in (alice, bob):
            await client.close()
        os.kill(server.pid, signal.SIGTERM)
        assert program.wait() == 0, program.output
        assert not program.stderr
    assert not is_healthy(container, **variables)
