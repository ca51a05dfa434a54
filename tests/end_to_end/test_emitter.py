"""Emitters over the HTTP API, and pages with the official client."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.docs.documents import ROOT, blocks
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import Connect, join_both
from tests.support.server_process import ServerProcess
from tests.support.users import PROJECT

from synkora import EmitFailed, Emitter, SyncEmitter

TOKEN = "the-token-of-the-backend"
MOVE = {"taskId": "t1", "status": "DONE"}
#: A request to the sample's view, within a transaction.
DJANGO = """
import sys
from django.conf import settings

database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": database}, ALLOWED_HOSTS=["*"], DEFAULT_CHARSET="utf-8")
import django

django.setup()
from django.db import transaction
from django.test import RequestFactory
from sample import move_task

request = RequestFactory().post("/", {"status": "DONE", "socket": sys.argv[2]})
with transaction.atomic():
    assert move_task(request, sys.argv[1], "t1").status_code == 204
    print("in the transaction", flush=True)
    assert sys.stdin.readline() == "commit\\n"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"), API_TOKEN=TOKEN)
    yield server
    assert server.stop() == 0, server.output


@pytest_asyncio.fixture(loop_scope="session")
async def emitter(server: ServerProcess) -> AsyncIterator[Emitter]:
    async with Emitter(server.url, token=TOKEN) as emitter:
        yield emitter


async def test_events_reach_the_members_of_projects(emitter: Emitter, connect_by: Connect) -> None:
    """Except the socket that is named. A key publishes once."""
    alice, bob = await join_both(connect_by)
    await emitter.to(PROJECT).except_(alice.id).emit("task:move", MOVE)
    for _ in range(2):
        await emitter.to(PROJECT, "an/other").once("save-1").emit("task:delete", {"taskId": "t1"})
    assert [await bob.next(), await bob.next()] == [["task:move", MOVE], ["task:delete", {"taskId": "t1"}]]
    assert await alice.next() == ["task:delete", {"taskId": "t1"}]
    for client in (alice, bob):
        await client.hears_nothing()


async def test_a_synchronous_one_does_the_same(server: ServerProcess, connect_by: Connect) -> None:
    alice, bob = await join_both(connect_by)

    def act() -> None:
        with SyncEmitter(f"{server.url}/", token=TOKEN) as emitter:
            emitter.to(PROJECT).emit("task:move", MOVE)
            emitter.in_(alice.id).disconnect_sockets(close=True)

    await asyncio.to_thread(act)
    assert await alice.next() == await bob.next() == ["task:move", MOVE]
    assert (await bob.expect("user:left"))["userName"] == "Alice"


async def test_what_the_api_refuses_is_a_value_error_with_its_words(emitter: Emitter) -> None:
    with pytest.raises(ValueError, match="data: taskId is missing"):
        await emitter.to(PROJECT).emit("task:move", {})
    with pytest.raises(ValueError, match="not-in-it is not one of"):
        await emitter.to(PROJECT).emit("not-in-it", {})


async def test_what_the_api_does_not_have_is_refused(emitter: Emitter) -> None:
    """Before any request."""
    to = emitter.to(PROJECT)
    with pytest.raises(ValueError, match="needs the id of a project"):
        await emitter.emit("task:move", MOVE)
    with pytest.raises(ValueError, match="neither volatile nor compress"):
        await to.volatile.emit("task:move", MOVE)
    with pytest.raises(ValueError, match="one object after"):
        await to.emit("task:move", MOVE, MOVE)
    with pytest.raises(ValueError, match="leaves out one socket"):
        await to.except_("a", "b").emit("task:move", MOVE)
    with pytest.raises(ValueError, match="the main namespace"):
        await to.of("/chat").emit("task:move", MOVE)
    with pytest.raises(ValueError, match="needs the id of a socket"):
        await emitter.disconnect_sockets(close=True)
    with pytest.raises(ValueError, match="ends connections"):
        await to.disconnect_sockets()
    for method in (to.sockets_join, to.sockets_leave, to.server_side_emit):
        with pytest.raises(ValueError, match=f"has no {method.__name__}"):
            await method("red")


async def test_a_server_that_does_not_take_it_fails_the_emit(server: ServerProcess) -> None:
    """The messages do not have the token."""
    async with Emitter(server.url, token="another-token-of-a-backend") as emitter:
        with pytest.raises(EmitFailed) as refused:
            await emitter.to(PROJECT).emit("task:move", MOVE)
        assert "another-token" not in str(refused.value)
    async with Emitter(f"http://127.0.0.1:{free_port()}", token=TOKEN) as emitter:
        with pytest.raises(EmitFailed, match="did not answer: ConnectError"):
            await emitter.to(PROJECT).emit("task:move", MOVE)


async def test_the_documents_django_view_publishes_after_the_commit(
    server: ServerProcess, connect_by: Connect, tmp_path: Path
) -> None:
    (sample,) = [block.text for block in blocks(ROOT / "docs" / "emitters.md", "python") if "django" in block.text]
    (tmp_path / "sample.py").write_text(sample)
    (tmp_path / "request.py").write_text(DJANGO)
    alice, bob = await join_both(connect_by)
    environment = {**os.environ, "WEBSOCKET_API_URL": server.url, "API_TOKEN": TOKEN}
    pipe = asyncio.subprocess.PIPE
    django = await asyncio.create_subprocess_exec(
        *(sys.executable, "request.py", PROJECT, alice.id), cwd=tmp_path, env=environment, stdin=pipe, stdout=pipe
    )
    assert django.stdout is not None
    assert await asyncio.wait_for(django.stdout.readline(), PATIENCE) == b"in the transaction\n"
    await bob.hears_nothing()
    await asyncio.wait_for(django.communicate(b"commit\n"), PATIENCE)
    assert django.returncode == 0
    assert await bob.next() == ["task:move", MOVE]
    await alice.hears_nothing()
