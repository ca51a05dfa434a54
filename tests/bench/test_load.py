"""The load generator against the real server: its counts are correct."""

import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from bench.servers import SECRET, Server, node, prepare_peers, running, synkora
from bench.workloads import cores
from tests.support.clients import socketio
from tests.support.processes import PATIENCE, Program, free_port
from tests.support.servers import Address

from synkora.identity.tokens import sign

Load = Callable[..., dict[str, Any]]
USAGE = "usage: load --port N"


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[tuple[int, int]]:
    """The process id and the port of a server for all tests that need no other one."""
    with running(synkora(), folder, cores()[0]) as place:
        yield place


@pytest.fixture
def load(folder: Path, shared: tuple[int, int]) -> Load:
    """Runs a short load against a server, by default the shared one."""

    def run(*options: str, server: Server | None = None) -> dict[str, Any]:
        with nullcontext(shared) if server is None else running(server, folder, cores()[0]) as (pid, port):
            given = [f"--port={port}", f"--pids={pid}", f"--tokens={folder / 'tokens.txt'}", "--seconds=0.3"]
            done = subprocess.run([folder / "load", *given, *options], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        figures: dict[str, Any] = json.loads(done.stdout)
        assert figures["closed"] == figures["lost"] == 0
        return figures

    return run


@pytest.mark.parametrize(
    ("event", "transport"),
    [
        ("canvas:cursor", "websocket"),
        ("canvas:update", "websocket"),
        ("markdown:update", "websocket"),
        ("task:update", "websocket"),
        ("typing:start", "websocket"),
        ("canvas:cursor", "polling"),
        ("markdown:update", "polling"),
    ],
)
def test_each_message_is_counted_at_each_recipient(load: Load, event: str, transport: str) -> None:
    """Over either transport, with its latency."""
    figures = load(
        "--clients=12", "--rooms=3", "--window=2", f"--event={event}", "--pad=300", f"--transport={transport}"
    )
    assert figures["sent"] >= 6
    assert figures["delivered"] == figures["sent"] * 3
    assert figures["cpu_us_per_delivery"] > 0
    assert 0 <= figures["p50_ms"] <= figures["p99_ms"]
    assert figures["wire_bytes_per_delivery"] > (0 if event == "canvas:cursor" else 300)


def test_a_load_takes_until_a_delivery_has_a_cost(load: Load) -> None:
    """However short it is, or long the first message takes."""
    figures = load("--clients=12", "--rooms=3", "--window=2", "--seconds=0")
    assert figures["delivered"] == figures["sent"] * 3
    assert figures["cpu_us_per_delivery"] > 0


@pytest.mark.parametrize(("senders", "sending"), [(1, 4), (2, 8), (0, 20)])
def test_members_send_at_a_rate(load: Load, senders: int, sending: int) -> None:
    """The given number of members of each project, or all of them."""
    figures = load("--clients=20", "--rooms=4", "--rate=50", f"--senders={senders}", "--seconds=1")
    assert sending * 45 <= figures["sent"] <= sending * 51
    assert figures["delivered"] == figures["sent"] * 4


@pytest.mark.parametrize(
    ("server", "transport"),
    [
        pytest.param(synkora, "websocket", id="websocket without context takeover"),
        pytest.param(node, "websocket", id="websocket with context takeover"),
        pytest.param(node, "polling", id="polling"),
    ],
)
def test_compressed_messages_are_read(load: Load, server: Callable[..., Server], transport: str) -> None:
    """Large messages of a compressing server count like others, with fewer bytes."""
    said: list[str] = []
    assert server is synkora or prepare_peers(["Node.js"], said.append), said
    options = ("--clients=10", "--rooms=1", "--window=1", "--event=markdown:update", "--pad=20000")
    figures = load(*options, f"--transport={transport}", "--deflate", server=server(compression=True))
    assert figures["sent"] >= 1
    assert figures["delivered"] == figures["compressed"] == figures["sent"] * 9
    assert 1000 < figures["wire_bytes_per_delivery"] < 15_000


def test_text_is_compressed_like_a_document(load: Load) -> None:
    """Without compression, a document takes its size and the header of a frame."""
    figures = load("--clients=10", "--rooms=1", "--window=1", "--event=markdown:update", "--pad=20000")
    assert figures["compressed"] == 0
    assert 20_000 < figures["wire_bytes_per_delivery"] < 20_200


def test_stuck_clients_are_not_awaited(load: Load) -> None:
    patient, strict = (
        synkora(),
        Server("strict", synkora().command, synkora().environment | {"WS_MAX_OUTBOX": "1000000"}),
    )
    options = ("--clients=20", "--rooms=2", "--window=2", "--stuck=4", "--event=markdown:update", "--pad=20000")
    few = load("--clients=20", "--rooms=2", "--window=2", "--stuck=4", server=patient)
    assert (few["cut"], few["delivered"]) == (0, few["sent"] * 7)
    many = load(*options, "--seconds=2", server=strict)
    assert (many["cut"], many["delivered"]) == (4, many["sent"] * 7)
    assert many["rss_peak_mb"] > 0


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_storm_joins_and_leaves(load: Load, transport: str) -> None:
    figures = load("--clients=50", "--rooms=1", "--storm", f"--transport={transport}")
    assert min(figures["connect_cpu_ms"], figures["join_cpu_ms"], figures["leave_cpu_ms"]) > 0
    assert (figures["sent"], figures["idle_cpu_percent"], figures["cpu_us_per_delivery"]) == (0, None, None)


def test_idle_clients_send_nothing(load: Load) -> None:
    """Without a load, the cost of idle clients is reported."""
    figures = load("--clients=20", "--rooms=4", "--window=0", server=synkora())  # which has no memory to spare yet
    assert (figures["sent"], figures["delivered"]) == (0, 0)
    assert figures["idle_cpu_percent"] >= 0
    assert figures["rss_kb_per_client"] is not None
    assert figures["p99_ms"] is figures["join_cpu_ms"] is figures["cut"] is None


def test_members_are_dealt_out_to_the_ports(folder: Path) -> None:
    """Each port has its share of the clients."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [server.getsockname()[1] for server in (first, second)]
        given = [f"--port={ports[0]},{ports[1]}", "--pids=1", f"--tokens={folder / 'tokens.txt'}"]
        with Program([folder / "load", *given, "--clients=12", "--rooms=3"], folder), ExitStack() as accepted:
            for server, port in zip((first, second), ports, strict=True):
                server.settimeout(PATIENCE)
                for _ in range(6):
                    client = accepted.enter_context(server.accept()[0])
                    client.settimeout(PATIENCE)
                    assert f"Host: localhost:{port}\r\n".encode() in client.recv(4096)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_server_that_ends_is_noticed(folder: Path, transport: str) -> None:
    with running(synkora(), folder, cores()[0]) as (pid, port), ExitStack() as ended:
        load = ended.enter_context(measuring(folder, port, pid, f"--transport={transport}", "--rate=100"))
        await until_it_sends(port)
        ended.pop_all()
    with load:
        assert load.wait() == 0, load.output
    assert json.loads(load.output)["closed"] == 20


async def test_a_server_that_hangs_is_not_waited_for(folder: Path) -> None:
    """A server that neither reads nor sends: the missing messages are reported as lost."""
    with running(synkora(), folder, cores()[0]) as (pid, port):
        options = ("--event=markdown:update", "--pad=60000", "--rate=500", "--patience=1")
        with measuring(folder, port, pid, *options) as load:
            await until_it_sends(port)
            os.kill(pid, signal.SIGSTOP)
            try:
                assert load.wait() == 0, load.output
            finally:
                os.kill(pid, signal.SIGCONT)
    figures = json.loads(load.output)
    assert (figures["closed"], figures["lost"] > 0) == (0, True)


def measuring(folder: Path, port: int, pid: int, *options: str) -> Program:
    """A running load of at most two seconds."""
    given = [f"--port={port}", f"--pids={pid}", f"--tokens={folder / 'tokens.txt'}", "--seconds=2"]
    return Program([folder / "load", *given, "--clients=20", "--rooms=2", *options], folder)


async def until_it_sends(port: int) -> None:
    token = sign({"id": "someone"}, SECRET, expires_in=60)
    async with socketio(Address(port, "/socket.io/"), {"token": token}) as someone:
        await someone.emit("join-project", "room-0")
        while (await someone.event())[0] not in ("canvas:cursor", "markdown:update"):
            pass


def close(client: socket.socket) -> None:
    client.close()


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def say_nothing(client: socket.socket) -> None:
    pass


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (close, 2, "the server closed a connection"),
        (half_close, 2, "the server closed a connection"),
        (reset, 2, "the server closed a connection"),
        (say_nothing, 4, "timed out: 0 of 1 clients signed in, 0 joined"),
    ],
)
def test_a_server_that_does_not_serve_is_told(
    folder: Path, answer: Callable[[socket.socket], None], code: int, said: str, transport: str
) -> None:
    """A server that closes connections, or never answers, is not measured."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        options = (f"--port={server.getsockname()[1]}", "--pids=1", f"--tokens={folder / 'tokens.txt'}")
        patience = 0.2 if answer is say_nothing else PATIENCE
        few = ("--clients=1", "--rooms=1", f"--patience={patience}", f"--transport={transport}")
        with Program([folder / "load", *options, *few], folder) as load, server.accept()[0] as client:
            client.recv(4096)
            answer(client)
            assert (load.wait(), load.output) == (code, said)


def test_a_server_that_does_not_listen_is_told(folder: Path) -> None:
    options = (f"--port={free_port()}", "--pids=1", f"--tokens={folder / 'tokens.txt'}")
    done = subprocess.run([folder / "load", *options], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "connect: Connection refused\n")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--clients=10", "--rooms=3"], "--clients has to be a multiple of --rooms"),
        (["--clients=10", "--rooms=5", "--senders=3"], "there are fewer members than --senders"),
        (["--clients=10", "--rooms=5", "--stuck=10"], "the --stuck leave too few who send"),
        (["--clients=10", "--rooms=5", "--stuck=5", "--transport=polling"], "--stuck needs --transport websocket"),
        ([f"--port={','.join('1' * 17)}"], "too many ports"),
        (["--transport=pigeon"], "no such transport"),
        (["--event=nothing"], "no such event"),
    ],
)
def test_invalid_options_are_reported(folder: Path, options: list[str], why: str) -> None:
    given = ["--port=1", "--pids=1", f"--tokens={folder / 'tokens.txt'}", *options]
    done = subprocess.run([folder / "load", *given], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{why}\n{USAGE}")
