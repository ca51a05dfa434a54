"""`serve`: how a server runs beside an application, and how it stops."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from tests.support.clients import Polling, WebSocket, socketio
from tests.support.processes import PATIENCE, Program
from tests.support.servers import Address, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from synkora import SocketServer, serve, serve_async, serve_in_thread
from synkora.recovery.memory import MemoryStore
from synkora.serving.listen import listen
from synkora.serving.server import Server

SCRIPT = """
import asyncio
from synkora import SocketServer, serve

server = SocketServer()
server.of("/").on("echo", lambda socket, value: socket.emit("echo", value))

async def before_close():
    server.emit("server:shutdown")
    print("stopping", flush=True)
    if {lingers}:
        await asyncio.sleep(3600)

def started(sockets):
    print("port", sockets[0].getsockname()[1], flush=True)

serve(server, host="127.0.0.1", port=0, before_close=before_close, started=started, shutdown_timeout=3600)
print("stopped", flush=True)
"""
DRAINS = """
import asyncio
from synkora import SocketServer, serve

async def drain():
    print("draining", flush=True)
    {drain}

async def before_close():
    print("stopping", flush=True)
    {before_close}

def started(sockets):
    print("port", sockets[0].getsockname()[1], flush=True)

server = SocketServer()
serve(server, host="127.0.0.1", port=0, drain=drain, before_close=before_close, started=started, shutdown_timeout=3600)
print("stopped", flush=True)
"""
HOURS = "await asyncio.sleep(3600)"
Start = Callable[[bool], tuple[Program, Address]]
both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program that calls `serve`, optionally with a `before_close` of an hour."""
    programs: list[Program] = []

    def start_program(lingers: bool) -> tuple[Program, Address]:
        program = Program([sys.executable, "-c", SCRIPT.format(lingers=lingers)], tmp_path)
        programs.append(program)
        port = program.line(lambda line: line.startswith("port ")).removeprefix("port ")
        return program, Address(int(port), "/socket.io/")

    yield start_program
    for program in programs:
        with program:
            pass


@asynccontextmanager
async def talking(address: Address) -> AsyncIterator[WebSocket]:
    async with socketio(address) as client:
        await client.emit("echo", 1)
        assert await client.event() == ["echo", 1]
        yield client


@asynccontextmanager
async def told_of_the_end(program: Program, number: signal.Signals, address: Address) -> AsyncIterator[WebSocket]:
    async with talking(address) as client:
        program.signal(number)
        assert await client.event() == ["server:shutdown"]
        yield client


@both_signals
async def test_a_signal_stops_it(start: Start, number: signal.Signals) -> None:
    """Clients get the last messages and are disconnected, `serve` returns, and the program exits with 0."""
    program, address = start(False)
    async with told_of_the_end(program, number, address) as client:
        assert await client.closed() == 1012
    assert (program.wait(), program.stdout[1:], program.stderr) == (0, ["stopping", "stopped"], [])


@both_signals
async def test_a_second_signal_ends_it_at_once(start: Start, number: signal.Signals) -> None:
    program, address = start(True)
    async with told_of_the_end(program, number, address) as client:
        program.signal(signal.SIGINT)
        assert await client.closed() == 1006
    assert (program.wait(), program.stdout[1:], program.stderr) == (128 + signal.SIGINT, ["stopping"], [])


async def test_sigterm_several_times_at_once_is_one_sigterm(start: Start) -> None:
    """A supervisor and its wrapper may each send one: clients still get the announcement."""
    program, address = start(False)
    async with talking(address) as client:
        for _ in range(5):
            program.signal(signal.SIGTERM)
        assert await client.event() == ["server:shutdown"]
        assert await client.closed() == 1012
    assert (program.wait(), program.stdout[1:], program.stderr) == (0, ["stopping", "stopped"], [])


async def test_sigterm_again_later_ends_it(start: Start) -> None:
    program, address = start(True)
    async with talking(address) as client:
        while program.process.poll() is None:
            program.signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
        assert await client.event() == ["server:shutdown"]
    assert program.wait() == 128 + signal.SIGTERM
    assert program.stderr == []


async def test_new_clients_are_refused_while_it_stops(start: Start) -> None:
    """A connected client can still poll its last messages, over a new connection. Then the program ends."""
    program, address = start(False)
    async with Polling(address) as client:
        await client.post("40")
        assert (await client.poll())[0].startswith("40{")
        program.signal(signal.SIGTERM)
        await asyncio.to_thread(program.line, lambda line: line == "stopping")
        async with Polling(address, opens=False) as late:
            answer = await late.http.get(address.url())
            assert (answer.status_code, answer.json()["message"]) == (503, "Server is shutting down")
        with pytest.raises(InvalidStatus, match="503"):
            await connect(address.url("websocket"), proxy=None)
        packets = await client.poll()
        while packets[-1] != "1":
            packets += await client.poll()
        assert packets == ['42["server:shutdown"]', "1"]
    assert program.wait() == 0


async def test_signals_mean_what_they_did_before() -> None:
    """After `serve`, the program has its own handlers of signals again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    started = asyncio.Event()
    server = Server(SocketServer(), started=lambda _: started.set())
    running = asyncio.create_task(server.serve(listen("127.0.0.1", 0)))
    await asyncio.wait_for(started.wait(), PATIENCE)
    during = {number: signal.getsignal(number) for number in before}
    server.should_exit = True
    await asyncio.wait_for(running, PATIENCE)
    assert all(during[number] == server.handle_exit for number in before)
    assert {number: signal.getsignal(number) for number in before} == before


def test_it_runs_in_a_thread() -> None:
    """Outside the main thread, where signals are not handled, it runs until stopped."""
    server = Server(SocketServer())
    sockets = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        answer = httpx.get(f"http://127.0.0.1:{sockets[0].getsockname()[1]}/", trust_env=False)
        assert answer.status_code == 404
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
    assert not thread.is_alive()


async def test_an_application_handles_other_requests_than_socketio() -> None:
    """Requests outside the path of Socket.IO go to `app`."""
    server = SocketServer(path="/live/")
    server.of("/")
    async with serving(server, app=PlainTextResponse("mine")) as address, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(address.http + "/socket.io/")).text == "mine"
        assert (await http.get(address.http + "/liver/")).text == "mine"
        assert (await http.get(address.url())).text.startswith("0{")
        async with socketio(address) as client:
            assert client.handshake["sid"]


async def test_without_an_application_the_rest_is_not_found() -> None:
    """Any other path is an empty 404, and the connection stays open."""
    async with serving(SocketServer()) as address, httpx.AsyncClient(trust_env=False) as http:
        for method in ("GET", "POST"):
            answer = await http.request(method, address.http + "/")
            assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda server: server.of("/"), "a Namespace"),
        (lambda server: server.asgi, "a AsgiEndpoint"),
        (type, "the class SocketServer"),
    ],
    ids=["namespace", "asgi", "class"],
)
async def test_only_a_server_is_served(make: Callable[[SocketServer], Any], found: str) -> None:
    wrong = make(SocketServer())
    with pytest.raises(TypeError, match=f"serve takes a SocketServer, not {found}: "):
        await serve_async(wrong)
    with pytest.raises(TypeError, match=f"serve takes a SocketServer, not {found}: "), serve_in_thread(wrong):
        pass
    with pytest.raises(TypeError, match=f"serve takes a SocketServer, not {found}: "):
        await asyncio.to_thread(serve, wrong)


@asynccontextmanager
async def around_it() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("around", "words"),
    [
        (around_it, r"around is an asynchronous context manager: around=around_it\(\), with parentheses"),
        (nullcontext, r"around is an asynchronous context manager: around=nullcontext\(\), with parentheses"),
        (5, "around is an asynchronous context manager, not 5"),
    ],
)
def test_around_is_a_context_manager(around: Any, words: str) -> None:
    """The factory function is a frequent mistake."""
    with pytest.raises(TypeError, match=words):
        serve(SocketServer(), host="127.0.0.1", port=0, around=around)


def test_a_port_in_use_is_an_error() -> None:
    """`serve` raises an `OSError` before anything else happens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            serve(SocketServer(), host="127.0.0.1", port=taken.getsockname()[1])


async def test_around_is_entered_before_it_and_left_after_its_clients() -> None:
    """Before any client can connect, and after the last connection has ended."""
    steps: list[str] = []

    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        steps.append("entered")
        yield
        steps.append(f"left, with {len(server._registry)} clients")

    async def before_close() -> None:
        steps.append(f"before_close, with {len(server._registry)} clients")

    server = SocketServer()
    server.of("/")
    async with (
        AsyncExitStack() as clients,
        serving(
            server,
            around=around(),
            before_close=before_close,
            started=lambda _: steps.append("started"),
            shutdown_timeout=5,
        ) as address,
    ):
        await clients.enter_async_context(socketio(address))
    assert steps == ["entered", "started", "before_close, with 1 clients", "left, with 0 clients"]


async def test_around_is_entered_when_what_is_kept_has_been_loaded() -> None:
    """What it emits has its place behind the events of the previous process."""
    steps: list[str] = []

    class Store(MemoryStore):
        async def start(self) -> None:
            steps.append("loaded")

        async def close(self) -> None:
            steps.append("closed")

    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        steps.append("entered")
        yield

    async with serving(SocketServer(recovery=Store()), around=around()):
        pass
    assert steps == ["loaded", "entered", "closed"]


async def test_what_is_kept_is_closed_when_around_fails() -> None:
    """Another server can use the files, and the port."""
    steps: list[str] = []

    class Store(MemoryStore):
        async def close(self) -> None:
            steps.append("closed")

    class Broken:
        async def __aenter__(self) -> None:
            raise RuntimeError("of the test")

        async def __aexit__(self, *_: object) -> None: ...

    sockets = listen("127.0.0.1", 0)
    with pytest.raises(RuntimeError, match="of the test"):
        await Server(SocketServer(recovery=Store()), around=Broken()).serve(sockets)
    assert steps == ["closed"]
    assert [each.fileno() for each in sockets] == [-1]


def test_another_signal_cuts_the_drain_short_and_one_more_ends_it(tmp_path: Path) -> None:
    """The second signal ends the drain, the third the process."""
    with Program([sys.executable, "-c", DRAINS.format(drain=HOURS, before_close=HOURS)], tmp_path) as program:
        program.line(lambda line: line.startswith("port "))
        program.signal(signal.SIGTERM)
        program.line(lambda line: line == "draining")
        program.signal(signal.SIGTERM)  # the same, once more: it does not count
        program.signal(signal.SIGINT)
        program.line(lambda line: line == "stopping")
        program.signal(signal.SIGTERM)
        program.signal(signal.SIGINT)
        assert (program.wait(), program.stdout[1:], program.stderr) == (
            128 + signal.SIGINT,
            ["draining", "stopping"],
            [],
        )


@pytest.mark.parametrize(("drain", "complains"), [("pass", False), ("1 / 0", True)], ids=["well", "badly"])
def test_when_the_drain_has_ended_it_stops(drain: str, complains: bool, tmp_path: Path) -> None:
    with Program([sys.executable, "-c", DRAINS.format(drain=drain, before_close="pass")], tmp_path) as program:
        program.line(lambda line: line.startswith("port "))
        program.terminate()
        lines = [line for line in program.stdout[1:] if line in ("draining", "stopping", "stopped")]
        assert lines == ["draining", "stopping", "stopped"]
        assert ("drain_failed" in program.output) is complains


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("", "localhost"), ("::1", "[::1]")])
def test_serve_says_where_it_listens(host: str, shown: str) -> None:
    script = (
        "import os, signal, threading\nfrom synkora import SocketServer, serve\n"
        "threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        f"serve(SocketServer(), host={host!r}, port=0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    assert done.stdout == ""
    assert re.fullmatch(rf"Socket\.IO at http://{re.escape(shown)}:\d+ \(Ctrl-C stops the server\)\n", done.stderr)
