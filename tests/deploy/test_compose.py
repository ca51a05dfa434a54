"""The Compose file: its schema, its agreement with nginx's files, and a run of both without containers."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.documents import ROOT
from tests.support.nginx import running_nginx
from tests.support.node_process import NodeProcess
from tests.support.real_clients import WAYS, Client
from tests.support.redis_server import running_redis
from tests.support.server_process import ServerProcess, expect_health
from tests.support.users import ALICE, BOB, CAROL

FOLDER = ROOT / "deploy" / "docker"
SERVICES: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]
SERVERS = {name: service for name, service in SERVICES.items() if name.startswith("server-")}


def address(service: dict[str, Any]) -> str:
    found: str = service["networks"]["inside"]["ipv4_address"]
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_it_keeps_to_the_specification() -> None:
    """The schema of the Compose specification accepts it."""
    check = Path(sys.executable).with_name("check-jsonschema")
    command: list[str | Path] = [check, "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_containers_are_read_only_and_gain_no_privileges() -> None:
    """Each service has a read-only file system, no capabilities, and cannot gain privileges."""
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_there_is_time_to_drain() -> None:
    """The grace period is longer than the server's own shutdown."""
    for service in SERVERS.values():
        assert int(service["stop_grace_period"].removesuffix("s")) > int(service["environment"]["SHUTDOWN_DRAIN"]) + 5


@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_one_server(stack: ExitStack, node: NodeProcess, tmp_path: Path) -> None:
    """Clients of each kind connect through nginx at the first attempt, and see each other."""
    redis = stack.enter_context(running_redis())
    servers = []
    text = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
    for service in SERVERS.values():
        given = {name: str(value) for name, value in service["environment"].items()}
        assert given["REDIS_URL"] == "redis://redis:6379"
        assert given["TRUSTED_PROXIES"] == address(SERVICES["nginx"])
        here = {"REDIS_URL": redis.url, "TRUSTED_PROXIES": "127.0.0.1", "SHUTDOWN_DRAIN": "0"}
        server = ServerProcess(tmp_path, **given | here)
        servers.append(server)
        stack.callback(server.stop)
        assert text.count(f"{address(service)}:3001") == 1
        text = text.replace(f"{address(service)}:3001", f"127.0.0.1:{server.port}")
    assert "172." not in text

    def listening(other: str) -> str:
        own = re.search(r"listen (127\.0\.0\.1:\d+);", other)
        assert own is not None
        return text.replace("listen 8080;", own[0]).replace("app:3000", "127.0.0.1:9")

    nginx = stack.enter_context(running_nginx([server.port for server in servers], change=listening))
    clients = []
    for user, way in ((ALICE, "js-polling"), (BOB, "js-upgrade"), (CAROL, "js-websocket")):
        client = Client(user.name, WAYS[way], node)
        await client.connect(nginx.url, {"token": user.token})
        clients.append(client)
        await client.emit("join-project", "p")
        event, *_ = await client.next()
        while event != "users:count":
            event, *_ = await client.next()
    await clients[0].emit("task:create", {"projectId": "p", "task": "tea"})
    for client in clients[1:]:
        event = await client.next()
        while event[0] != "task:create":
            event = await client.next()
        assert event == ["task:create", "tea"]
    for client in clients:
        assert [change[0] for change in client.changes.items] == ["connect"]
        await client.close()
    for server in servers:
        await expect_health(server, connections=0)
