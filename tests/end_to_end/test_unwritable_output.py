"""A standard output that is not read, cannot be written to, or is closed: the server works and stops cleanly."""

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.end_to_end.raw import RawClient, RawWebSocket
from tests.support.processes import PATIENCE, free_port
from tests.support.server_process import ServerProcess
from tests.support.users import SECRET, User

PAGE = 4096  # bytes: the smallest pipe
SERVE = f"exec {sys.executable} -m synkora serve"
TALKATIVE = User("user-talkative", "x" * 200)  # each line about them is as long as one can be


class Server(ServerProcess):
    """`synkora serve`, started by a shell that changes its standard output as the test says."""

    def __init__(self, folder: Path, shell: str, stdout: int | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self.shell = subprocess.Popen(
            ["sh", "-c", shell],
            cwd=folder,
            env={"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": str(self.port)},
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    async def expect_health(self) -> None:
        async with asyncio.timeout(3 * PATIENCE), httpx.AsyncClient(trust_env=False) as http:
            while True:
                try:
                    assert (await http.get(f"{self.url}/health")).json()["status"] == "healthy"
                    return
                except httpx.ConnectError:
                    assert self.shell.poll() is None, self.shell.communicate()
                    await asyncio.sleep(0.05)

    async def expect_end(self) -> tuple[int, str]:
        _, errors = await asyncio.to_thread(self.shell.communicate, timeout=3 * PATIENCE)
        return self.shell.returncode, errors


@contextmanager
def running(folder: Path, shell: str, stdout: int | None = None, port: int | None = None) -> Iterator[Server]:
    server = Server(folder, shell, stdout, port)
    try:
        yield server
    finally:
        server.shell.kill()
        server.shell.wait()
        assert server.shell.stderr is not None
        server.shell.stderr.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of the smallest size: its reader and its writer."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PAGE)
    yield reader, writer
    for end in (reader, writer):
        os.close(end)


async def be_talked_about(server: ServerProcess, times: int) -> None:
    """Connect and disconnect, for which the server writes two lines."""
    for _ in range(times):
        carrier = await RawWebSocket.open(server)
        await RawClient(carrier).sign_in(TALKATIVE)
        await carrier.close()


async def test_a_server_with_unread_output_continues(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Clients are served after the pipe is full, SIGTERM works, and the exit code is 0."""
    with running(tmp_path, SERVE, stdout=pipe[1]) as server:
        await server.expect_health()
        await be_talked_about(server, 3 * PAGE // 200)
        last = await RawWebSocket.open(server)
        client = RawClient(last)
        await client.sign_in(TALKATIVE)
        server.shell.send_signal(signal.SIGTERM)
        await client.expect("server:shutdown")
        assert await server.expect_end() == (0, "")
        await last.close()


async def test_a_reader_that_continues_gets_the_queued_lines(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Nothing within the bound is lost, the banner is the first, and the lines keep their order."""
    reader, writer = pipe
    with running(tmp_path, SERVE, stdout=writer) as server:
        await server.expect_health()
        times = 3 * PAGE // 200
        await be_talked_about(server, times)
        server.shell.send_signal(signal.SIGTERM)
        data = b""
        while b"Stopped" not in data:
            data += await asyncio.to_thread(os.read, reader, 65536)
        assert await server.expect_end() == (0, "")
        lines = data.decode().splitlines()
        assert lines[0] == "=" * 60
        signs = "".join(line[0] for line in lines if "Client " in line)
        assert (signs.count("✓"), signs.count("✗")) == (times, times)
        assert lines[-1] == "✓ Stopped"


@pytest.mark.parametrize(
    "shell",
    [f"{SERVE} > /dev/full", f"{SERVE} >&-", f"{SERVE} <&- >&-"],
    ids=["a full disk", "no output", "no input and no output"],
)
async def test_a_server_that_cannot_write_serves_and_stops_well(tmp_path: Path, shell: str) -> None:
    """It does not report the port as used, clients are served, and it exits with 0."""
    with running(tmp_path, shell) as server:
        await server.expect_health()
        await be_talked_about(server, 3)
        server.shell.send_signal(signal.SIGTERM)
        assert await server.expect_end() == (0, "")


async def test_a_closed_reader_costs_only_lines(tmp_path: Path) -> None:
    """Before the start or later. The server exits with 0."""
    for goes_early in (True, False):
        reader, writer = os.pipe()
        if goes_early:
            os.close(reader)
        with running(tmp_path, SERVE, stdout=writer) as server:
            os.close(writer)
            await server.expect_health()
            if not goes_early:
                os.close(reader)
            await be_talked_about(server, 3)
            server.shell.send_signal(signal.SIGTERM)
            assert await server.expect_end() == (0, "")


async def test_a_port_in_use_is_reported_without_an_output(tmp_path: Path) -> None:
    """The only line on stderr has the true cause."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for shell in (f"{SERVE} > /dev/full", f"{SERVE} >&-"):
            with running(tmp_path, shell, port=port) as server:
                code, errors = await server.expect_end()
                assert code == 1
                assert errors.splitlines() == [
                    f"Port {port} is in use: stop what listens there, or take another by WS_PORT or --port"
                ]


async def test_lost_messages_are_counted_for_prometheus(tmp_path: Path) -> None:
    """With a full disk, each line is counted."""
    with running(tmp_path, f"{SERVE} > /dev/full") as server:
        await server.expect_health()
        await be_talked_about(server, 3)
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False) as http:
            lost = 0.0
            while lost < 6:
                page = (await http.get(f"{server.url}/metrics")).text
                lost = float(page.split("\nsynkora_log_lines_lost_total ")[1].split("\n")[0])
        server.shell.send_signal(signal.SIGTERM)
        assert await server.expect_end() == (0, "")
