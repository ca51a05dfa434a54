"""Emitters of programs without an event loop: threads, forked processes, and a program that ends at once."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.docs.documents import ROOT, blocks
from tests.emitter.conftest import Visit
from tests.emitter.test_over_redis import senders, server_on
from tests.support.processes import Program, free_port
from tests.support.real_clients import Client
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import serving, until

from synkora import EmitFailed, SyncEmitter

#: As a prefork worker does: the module's emitter is used before the fork and, by two threads, in each child.
PREFORK = """
import os, sys, threading
from synkora import SyncEmitter

emitter = SyncEmitter(sys.argv[1], recovery=True)
if sys.argv[2] == "used":
    emitter.to("red").emit("n", "parent")

def work(number):
    threads = [threading.Thread(target=emitter.to("red").emit, args=("n", f"{number} {each}")) for each in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

children = []
for number in range(2):
    pid = os.fork()
    if pid == 0:
        work(number)
        sys.exit()
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
emitter.to("red").emit("n", "end")
"""


@pytest.fixture
async def ann(redis: RedisServer, visit: Visit) -> AsyncIterator[Client]:
    """A client in the room `red`."""
    async with serving(server_on(redis.url, recovery=True)) as address:
        yield await visit(address.port, "red")


async def run(folder: Path, program: str, *arguments: str) -> None:
    path = folder / "program.py"
    path.write_text(program)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(path), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("before", ["used", "unused"])
async def test_forked_processes_and_threads_emit(redis: RedisServer, ann: Client, tmp_path: Path, before: str) -> None:
    await run(tmp_path, PREFORK, redis.url, before)
    events = [(await ann.next())[1] for _ in range(6 if before == "used" else 5)]
    assert events[-1] == "end"
    assert (events[0] == "parent") is (before == "used")
    assert sorted(events)[:4] == ["0 0", "0 1", "1 0", "1 1"]
    await ann.hears_nothing()


async def test_a_script_needs_no_close(redis: RedisServer, ann: Client, tmp_path: Path) -> None:
    """The end of the interpreter disconnects."""
    code = "import sys, synkora\nsynkora.SyncEmitter(sys.argv[1], recovery=True).to('red').emit('n', 1)"
    await run(tmp_path, code, redis.url)
    assert await ann.next() == ["n", 1]
    await until(lambda: senders(redis) == 0)


async def test_many_threads_share_a_connection(redis: RedisServer, ann: Client) -> None:
    def emit_all() -> int:
        with SyncEmitter(redis.url) as emitter, ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(emitter.to("red").emit, "n", number) for number in range(40)]:
                done.result()
            return str(redis.do("CLIENT", "LIST")).count("name=synkora-")

    assert await asyncio.to_thread(emit_all) == 2  # the server's, and the emitter's
    assert sorted([(await ann.next())[1] for _ in range(40)]) == [*range(40)]


async def test_its_methods_are_those_of_an_emitter(redis: RedisServer, ann: Client) -> None:
    def act() -> None:
        with SyncEmitter(redis.url) as emitter:
            emitter.in_("red").sockets_join("blue", "green")
            emitter.to("red").sockets_leave("red")
            emitter.to("red").emit("n", "red")
            emitter.of("/chat").emit("n", "chat")
            emitter.to("blue").except_("green").emit("n", "not green")
            emitter.to("blue").volatile.emit("n", "blue")
            emitter.server_side_emit("note", 1)
            emitter.in_("blue").disconnect_sockets()

    await asyncio.to_thread(act)
    assert await ann.next() == ["n", "blue"]
    assert await ann.changes.next() == ["disconnect", "io server disconnect"]
    assert not ann.events.untaken


def samples(redis: RedisServer) -> list[str]:
    """The document's samples over Redis: the coroutine, and Celery's task."""
    texts = [block.text for block in blocks(ROOT / "docs" / "emitters.md", "python") if "redis://" in block.text]
    return [text.replace("redis://127.0.0.1:6379", redis.url) for text in texts]


async def test_the_documents_coroutine(redis: RedisServer, ann: Client) -> None:
    made: dict[str, Any] = {}
    exec(samples(redis)[0], made)  # noqa: S102  # what is tested
    assert await ann.call("join", "news") is None
    await made["announce"]()
    assert [await ann.next(), await ann.next()] == [["headline", {"text": "It works"}], ["tick", 1]]


async def test_the_documents_task_in_a_worker_of_celery(redis: RedisServer, ann: Client, tmp_path: Path) -> None:
    """A task that is sent again publishes nothing again. One that fails while Redis is away is retried."""
    (tmp_path / "tasks.py").write_text(samples(redis)[1])
    call = "import sys, app, tasks\nfor report in sys.argv[1:]:\n    tasks.export.delay(report).get(timeout=60)"
    for room in ("report:r1", "report:r2"):
        assert await ann.call("join", room) is None
    with running_redis() as broker:
        (tmp_path / "app.py").write_text(
            f"from celery import Celery\napp = Celery(broker={broker.url!r}, backend={broker.url!r}, include=['tasks'])"
        )
        options = ["worker", "--concurrency", "1", "--loglevel", "info"]
        with Program([sys.executable, "-m", "celery", "-A", "app", *options], tmp_path) as worker:
            await run(tmp_path, call, "r1", "r1")
            redis.pause()
            try:
                calling = asyncio.create_task(run(tmp_path, call, "r2"))
                await until(lambda: "Retry in" in worker.output)
            finally:
                redis.resume()
            await calling
            worker.signal()
            assert await asyncio.to_thread(worker.wait) == 0, worker.output
    assert await ann.next() == ["exported", {"report": "r1"}]
    assert await ann.next() == ["exported", {"report": "r2"}]
    await ann.hears_nothing()


async def test_a_closed_emitter_can_be_used_again(redis: RedisServer, ann: Client) -> None:
    def act() -> None:
        emitter = SyncEmitter(redis.url)
        for number in range(2):
            emitter.to("red").emit("n", number)
            emitter.close()
        emitter.close()

    await asyncio.to_thread(act)
    assert [await ann.next(), await ann.next()] == [["n", 0], ["n", 1]]


def test_a_close_ends_the_calls_of_other_threads(redis: RedisServer) -> None:
    """Within the time for the close, not only after the call's own timeout."""
    emitter = SyncEmitter(redis.url, recovery=True, timeout=3600)
    emitter.emit("n", 1)
    redis.pause()
    try:
        with ThreadPoolExecutor(1) as threads:
            running = emitter._background._running
            assert running is not None
            before = len(asyncio.all_tasks(running.loop))
            waiting = threads.submit(emitter.volatile.emit, "n", 2)
            while len(asyncio.all_tasks(running.loop)) == before:
                time.sleep(0.001)
            emitter.close()
            with pytest.raises(EmitFailed):
                waiting.result()
    finally:
        redis.resume()


def test_a_failure_is_raised_where_it_is_called() -> None:
    with SyncEmitter(f"redis://127.0.0.1:{free_port()}", timeout=0.1) as emitter:
        with pytest.raises(EmitFailed, match="nothing listens"):
            emitter.emit("n", 1)
        with pytest.raises(TypeError):
            emitter.emit("n", object())
    with pytest.raises(ValueError, match="must begin with redis://"):
        SyncEmitter("127.0.0.1")
