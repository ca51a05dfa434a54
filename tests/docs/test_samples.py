"""The samples of the documents: they compile, and samples that a reader will run do what the text says."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]  # python-socketio has no type information
from tests.docs.documents import DOCUMENTS, ROOT, blocks
from tests.support.processes import PATIENCE, Program, free_port
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.servers import serving, until
from tests.support.users import ALICE, BOB, User

from synkora import SocketServer
from synkora.testing import Client, connect

LIBRARY = ROOT / "docs" / "library.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path)
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("path", [str(document.relative_to(ROOT)) for document in DOCUMENTS])
def test_blocks_can_be_read(path: str) -> None:
    """Each Python block compiles, and each JSON block can be parsed."""
    for block in blocks(ROOT / path):
        if block.language == "python":
            compile(block.text, path, "exec")
        elif block.language == "json":
            json.loads(block.text)


def made_by(document: Path, replaced: Mapping[str, str]) -> dict[str, Any]:
    """The names that a document's Python blocks define, with some of their text replaced."""
    made: dict[str, Any] = {"__name__": "sample"}
    for block in blocks(document, "python"):
        text = block.text
        for old, new in replaced.items():
            text = text.replace(old, new)
        exec(compile(text, str(document), "exec"), made)  # noqa: S102  # the document's samples are what is tested
    return made


def server_of(document: Path) -> SocketServer:
    """The server that a document's Python blocks make."""
    server = made_by(document, {})["server"]
    assert isinstance(server, SocketServer)
    return server


async def test_library() -> None:
    """The samples of docs/library.md refuse, acknowledge, ask and broadcast as the text around them says."""
    async with serving(server_of(LIBRARY)) as address:
        ann, ben = socketio.AsyncSimpleClient(), socketio.AsyncSimpleClient()
        with pytest.raises(socketio.exceptions.ConnectionError):
            await ann.connect(address.http, auth={})
        await ann.connect(address.http, auth={"name": "Ann"})
        await ben.connect(address.http, auth={"name": "Ben"}, transports=["websocket"])
        assert await ann.receive(PATIENCE) == ["hello", ann.sid]
        assert await ben.receive(PATIENCE) == ["hello", ben.sid]

        assert await ann.call("say", "hi", timeout=PATIENCE) == "delivered"
        assert await ben.receive(PATIENCE) == ["said", "Ann", "hi"]
        # python-socketio gives several arguments as a tuple.
        assert await ann.call("upload", ("a.bin", b"1234"), timeout=PATIENCE) == ("a.bin", 4)

        await ann.emit("say", 5)
        assert await ann.receive(PATIENCE) == ["error", {"message": "text: Expected str, got int", "event": "say"}]
        assert await ann.call("move", {"piece": "a", "x": 1, "y": 2}, timeout=PATIENCE) == {"number": 1, "by": "Ann"}
        assert await ben.receive(PATIENCE) == ["moved", {"piece": "a", "x": 1, "y": 2}]
        await ann.emit("move", {"piece": "a", "x": "1", "y": 2})
        refusal = {"message": "move.x: Expected int, got str", "event": "move"}
        assert await ann.receive(PATIENCE) == ["error", refusal]
        await ann.emit("pointer", (1, 2.5))
        assert await ben.receive(PATIENCE) == ["pointer", ann.sid, 1, 2.5]

        assert await ann.call("vote", "tea", timeout=PATIENCE) == 0  # both acknowledge, and with nothing
        assert await ann.receive(PATIENCE) == await ben.receive(PATIENCE) == ["motion", "tea"]
        assert await ann.call("count", timeout=PATIENCE) == 2

        await ben.disconnect()
        assert (await ann.receive(PATIENCE))[:2] == ["gone", "Ben"]

        cay = socketio.AsyncSimpleClient()
        await cay.connect(address.http, auth={"name": "Cay"})
        assert await cay.receive(PATIENCE) == ["hello", cay.sid]
        assert await ann.call("close the lobby", timeout=PATIENCE) == ["Cay"]
        assert await ann.call("say", "anyone?", timeout=PATIENCE) == "delivered"
        await cay.emit("say", 5)  # the answer is the next that she gets
        assert await cay.receive(PATIENCE) == ["error", {"message": "text: Expected str, got int", "event": "say"}]
        await cay.disconnect()
        await ann.disconnect()


async def test_library_servers_joined_by_redis(redis: RedisServer) -> None:
    """Two servers made as docs/library.md says, with a Redis of the test: broadcasts reach the clients of both."""
    async with AsyncExitStack() as stack:
        servers = [made_by(LIBRARY, {"redis://127.0.0.1:6379": redis.url})["joined"] for _ in range(2)]
        addresses = [await stack.enter_async_context(serving(server)) for server in servers]
        ann, ben = socketio.AsyncSimpleClient(), socketio.AsyncSimpleClient()
        await ann.connect(addresses[0].http)
        await ben.connect(addresses[1].http)
        await ann.emit("say", "hi")
        assert await ann.receive(PATIENCE) == await ben.receive(PATIENCE) == ["said", "hi"]
        await ann.disconnect()
        await ben.disconnect()


async def test_library_namespaces() -> None:
    """Namespaces made before the server, by a class and by a pattern, answer."""
    server = server_of(LIBRARY)
    async with (
        connect(server, "/notes") as notes,
        connect(server, "/board", auth={"board": "b"}) as board,
        connect(server, "/room-7") as room,
    ):
        assert await notes.call("add", "text") == 4
        assert await notes.call("add", 5) == {"error": {"message": "text: Expected str, got int", "event": "add"}}
        board.emit("draw", [1, 2])
        board.emit("board:clear")
        assert [await board.receive() for _ in range(2)] == [["drawn", [1, 2]], ["cleared"]]
        assert await room.call("where") == "/room-7"


async def test_library_testing() -> None:
    made: dict[str, Any] = {"__name__": "sample"}
    for block in blocks(LIBRARY, "python"):
        exec(compile(block.text, str(LIBRARY), "exec"), made)  # noqa: S102  # as above
    await made["test_say"]()
    await made["test_greeting"]()
    async with AsyncExitStack() as clients:

        async def connect_client(server: SocketServer, **options: Any) -> Client:
            return await clients.enter_async_context(connect(server, **options))

        await made["test_say_by_the_fixture"](connect_client)


async def test_library_clock() -> None:
    """The background task of the sample emits until the server closes."""
    server = server_of(LIBRARY)
    async with connect(server, auth={"name": "Ann"}) as ann:
        ann.emit("start the clock")
        assert (await ann.receive("time"))[0] == "time"
    assert await server.close(1)


async def test_library_clock_that_starts_with_the_server() -> None:
    made = made_by(LIBRARY, {})
    async with (
        serving(made["server"], around=made["with_clock"]()),
        connect(made["server"], auth={"name": "Ann"}) as ann,
    ):
        assert (await ann.receive("time"))[0] == "time"


async def test_from_python_socketio() -> None:
    """The page's server passes the page's own tests."""
    made: dict[str, Any] = {"__name__": "sample"}
    for block in blocks(ROOT / "docs" / "from-python-socketio.md", "python"):
        exec(compile(block.text, "from-python-socketio.md", "exec"), made)  # noqa: S102  # as above
    tests = [function for name, function in made.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        await test()


async def test_readme_library() -> None:
    """The README's server relays a message to the members of its room, and acknowledges it."""
    async with serving(server_of(ROOT / "README.md")) as address:
        ann, ben = socketio.AsyncSimpleClient(), socketio.AsyncSimpleClient()
        await ann.connect(address.http)
        await ben.connect(address.http)
        assert await ben.call("join", "tea", timeout=PATIENCE) is None
        assert await ann.call("message", ("tea", "hi"), timeout=PATIENCE) == "delivered"
        assert await ben.receive(PATIENCE) == ["message", "hi"]
        await ann.disconnect()
        await ben.disconnect()


async def test_library_question() -> None:
    """The sample that asks a client gets the ack, and informs the others in the room."""
    async with serving(server_of(LIBRARY)) as address:
        ann, ben = socketio.AsyncClient(), socketio.AsyncSimpleClient()
        ann.on("question", lambda question: "42" if question == "6 × 7?" else "?")
        await ben.connect(address.http, auth={"name": "Ben"})
        await ann.connect(address.http, auth={"name": "Ann"})
        assert (await ben.receive(PATIENCE))[0] == "hello"
        await ann.emit("quiz")
        assert await ben.receive(PATIENCE) == ["answered", "Ann", "42"]
        await ann.disconnect()
        await ben.disconnect()


def _user(folder: Path, user: User) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["node", "user.mjs", user.token], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _read_until(process: subprocess.Popen[str], beginning: str) -> str:
    assert process.stdout is not None
    seen: list[str] = []
    giving_up = threading.Timer(PATIENCE, process.kill)  # which ends its output
    giving_up.start()
    try:
        for line in process.stdout:
            seen.append(line)
            if line.startswith(beginning):
                return line
    finally:
        giving_up.cancel()
    raise AssertionError(f"no {beginning} in:\n{''.join(seen)}")


def test_two_users(server: ServerProcess, tmp_path: Path) -> None:
    """The client of docs/getting-started.md, run for two users, shows the first one the second one and their task."""
    (sample,) = blocks(ROOT / "docs" / "getting-started.md", "js")
    (tmp_path / "user.mjs").write_text(sample.text.replace("http://localhost:3001", server.url), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    processes: list[subprocess.Popen[str]] = []
    try:
        processes.append(_user(tmp_path, ALICE))
        _read_until(processes[0], "users:count")
        processes.append(_user(tmp_path, BOB))
        assert json.loads(_read_until(processes[0], "user:joined").partition(" ")[2])["userName"] == "Bob"
        assert _read_until(processes[0], "task:create") == 'task:create {"title":"Say hello"}\n'
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_banner(server: ServerProcess) -> None:
    """docs/getting-started.md shows the server's output at its start."""
    banner = blocks(ROOT / "docs" / "getting-started.md", "console")[0].text.removeprefix("$ make run\n")
    server.line(lambda line: line.startswith("✓ PROJECT_ACCESS"))
    # In one pass: the free port may have 3001 in it.
    shown = re.sub(
        "(localhost:)?3001", lambda found: f"{'127.0.0.1:' if found[1] else ''}{server.port}", banner.strip()
    ).splitlines()
    assert server.stdout[: len(shown)] == shown


def test_session_refresh(server: ServerProcess, tmp_path: Path) -> None:
    """The client of docs/security-details.md, whose app hands out its session, learns the new expiry."""
    (sample,) = blocks(ROOT / "docs" / "security-details.md", "js")
    route = f"data:text/plain,{ALICE.token}"
    text = sample.text.replace("https://app.example.com/api/session-token", route)
    (tmp_path / "user.mjs").write_text(text.replace("https://app.example.com", server.url), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    alice = _user(tmp_path, ALICE)
    try:
        assert re.fullmatch(r"session until \d{4}-\d\d-\d\dT[\d:.]+Z\n", _read_until(alice, "session"))
    finally:
        alice.kill()
        alice.communicate()


@pytest.mark.parametrize("name", ["deploying.md", "scaling.md"])
def test_refusals(name: str, tmp_path: Path) -> None:
    """The error messages in the documents are the command's."""
    synkora = Path(sys.executable).with_name("synkora")
    shown = [
        block.text.split("\n") for block in blocks(ROOT / "docs" / name, "console") if "=" in block.text.split()[1]
    ]
    assert shown
    for command, answer, *_ in shown:
        variable, _, value = command.split()[1].partition("=")
        done = subprocess.run(
            [str(synkora)],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "NEXTAUTH_SECRET": "s3cret", variable: value},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (1, f"{answer.strip()}\n")


async def test_member_lists(redis: RedisServer, tmp_path: Path) -> None:
    """Clients of two servers see the same names: joins, leaves, and a crashed server."""
    page = ROOT / "docs" / "member-lists.md"
    replaced = {"redis://127.0.0.1:6379": redis.url, "self._change.wait(), 30": "self._change.wait(), 0.5"}
    port = free_port()
    (block,) = blocks(page, "python")
    text = block.text
    for old, new in {**replaced, "port=3000": f"port={port}"}.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "chat.py").write_text(text)

    async def expect(client: socketio.AsyncSimpleClient, *names: str) -> None:
        """Wait for the list. Older ones may come before."""
        async with asyncio.timeout(PATIENCE):
            while await client.receive(PATIENCE) != ["members", list(names)]:
                pass

    ann, ben, cay = (socketio.AsyncSimpleClient() for _ in range(3))
    async with serving(made_by(page, replaced)["server"]) as address:
        with Program([sys.executable, "chat.py"], tmp_path) as other:
            await until(lambda: any(line.startswith("Socket.IO at") for line in other.stderr))
            await ann.connect(address.http, auth={"name": "Ann"})
            await expect(ann, "Ann")
            await ben.connect(f"http://127.0.0.1:{port}", auth={"name": "Ben"})
            await cay.connect(f"http://127.0.0.1:{port}", auth={"name": "Cay"})
            for client in (ann, ben, cay):
                await expect(client, "Ann", "Ben", "Cay")
            await cay.disconnect()
            for client in (ann, ben):
                await expect(client, "Ann", "Ben")
            other.signal(signal.SIGKILL)
        await expect(ann, "Ann")
        await ann.disconnect()
        await ben.disconnect()
