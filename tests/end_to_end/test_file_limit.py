"""A server whose process may open no more files."""

import asyncio
import resource
from collections.abc import AsyncIterator

import httpx
import psutil
import pytest
import pytest_asyncio
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.servers import until
from tests.support.wire import Connection

ROOM = 20  # files that the server may still open
LINE = "! File limit hit: "


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    server = start_server()
    process = psutil.Process(server.process.pid)
    most = process.num_fds() + ROOM
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, most))
    return server


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(server: ServerProcess) -> AsyncIterator[list[Connection]]:
    crowd = [await Connection.open(server.port) for _ in range(3 * ROOM)]
    yield crowd
    for connection in crowd:
        await connection.close()


async def test_running_out_of_files_is_one_line(server: ServerProcess, crowd: list[Connection]) -> None:
    """The log says once what to raise. The server continues, and serves again when files are closed."""
    server.line(lambda line: line.startswith(LINE))
    await asyncio.sleep(2.5)  # the server's periodic work needs files, too
    for connection in crowd:
        await connection.close()
    process = psutil.Process(server.process.pid)
    most, _ = process.rlimit(psutil.RLIMIT_NOFILE)
    await until(lambda: process.num_fds() <= most - ROOM // 2)  # until then, it cuts off new connections
    await expect_health(server, status="healthy")
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        assert (await http.get("/health")).status_code == 200
    assert len([line for line in server.stdout if line.startswith(LINE)]) == 1
    assert not server.stderr
    assert "Traceback" not in server.output
