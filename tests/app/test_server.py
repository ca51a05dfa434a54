"""`synkora serve` as a process: its output at the start, and the reasons why it does not start."""

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.processes import Program, Synkora, free_port

RULE = "=" * 60
OPEN = "✓ PROJECT_ACCESS=open: everyone signed in may join every project"
SERVE = (sys.executable, "-m", "synkora", "serve")
SECRET = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of the loopback address that another program uses."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def failure(folder: Path, **variables: str) -> str:
    """The only line on stderr of a server that cannot start. The exit status is 1, and stdout is empty."""
    with Synkora(folder, "serve", NEXTAUTH_SECRET=SECRET, **variables) as program:
        assert program.wait() == 1
        assert program.stdout == []
        assert len(program.stderr) == 1, program.output
        return program.stderr[0]


def test_no_client_library_is_imported_without_need(tmp_path: Path) -> None:
    """Those of policies, and uvicorn's WebSockets, would slow down each start and use memory."""
    script = "import sys, synkora.app.server; print({'asyncpg', 'httpx', 'websockets'} & set(sys.modules))"
    with Program((sys.executable, "-c", script), tmp_path) as program:
        assert program.wait() == 0, program.output
    assert program.stdout == ["set()"]


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("", "localhost"), ("::1", "[::1]")]
)
def test_the_banner(tmp_path: Path, host: str, shown: str) -> None:
    """The contract's text to the letter, with the real port and an address that answers."""
    origins = "http://localhost:3000, https://app.example.com"
    given = {
        "NEXTAUTH_SECRET": SECRET,
        "SYNKORA_ENV": "production",  # where no playground adds its own line
        "WS_HOST": host,
        "WS_PORT": "0",
        "ALLOWED_ORIGINS": origins,
    }
    with Program(SERVE, tmp_path, **given) as program:
        program.line(lambda line: "Ready" in line)
        program.line(lambda line: line.startswith("✓ PROJECT_ACCESS"))
        found = re.search(r"port: (\d+)$", program.stdout[3])
        assert found is not None
        port = found[1]
        assert program.stdout[:8] == [
            RULE,
            "🚀 Synkora WebSocket Server",
            RULE,
            f"✓ Server running on port: {port}",
            f"✓ Health check: http://{shown}:{port}/health",
            "✓ Allowed origins: http://localhost:3000, https://app.example.com",
            "✓ Ready for connections!",
            RULE,
        ]
        assert httpx.get(f"http://{shown}:{port}/health", trust_env=False).json()["status"] == "healthy"
        program.terminate()
        assert program.stdout[8:] == [OPEN, "✓ Stopping, clients to tell: 0", "✓ Stopped"]
        assert program.stderr == []


def test_the_log_level(tmp_path: Path) -> None:
    """With LOG_LEVEL=warning and without incidents, only the banner is written."""
    given = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0", "LOG_LEVEL": "warning"}
    with Synkora(tmp_path, "serve", **given) as program:
        program.line(lambda line: "Ready" in line)
        program.terminate()
        assert program.stdout[-2:] == ["✓ Ready for connections!", RULE]


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_port_in_use(tmp_path: Path, taken: int, host: str) -> None:
    said = failure(tmp_path, WS_HOST=host, WS_PORT=str(taken))
    assert said == f"Port {taken} is in use: stop what listens there, or take another by WS_PORT or --port"


def test_the_port_of_the_api_in_use(tmp_path: Path, taken: int) -> None:
    said = failure(
        tmp_path, WS_HOST="127.0.0.1", WS_PORT="0", API_TOKEN="the-token-of-the-backend", API_PORT=str(taken)
    )
    assert said == f"Port {taken} is in use: stop what listens there, or take another by API_PORT"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host"])
def test_an_unknown_host(tmp_path: Path, host: str) -> None:
    said = failure(tmp_path, WS_HOST=host, WS_PORT="0")
    assert said == f"{host} cannot be resolved: set WS_HOST to an address of this machine, or leave it unset"


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    said = failure(tmp_path, WS_HOST="192.0.2.1", WS_PORT="0")
    assert said == "192.0.2.1 is not an address of this machine: set WS_HOST to one, or leave it unset"


def test_redis_of_a_kind_that_is_not_supported(tmp_path: Path) -> None:
    """A server that ignored REDIS_URL would separate its users from the others: it does not start. The password is not
    shown.
    """
    said = failure(tmp_path, WS_PORT="0", REDIS_URL="redis+ssh://:hunter2@localhost:6379")
    assert said.startswith("REDIS_URL must begin with redis://, rediss://")
    assert "hunter2" not in said


def test_it_starts_without_redis_and_reports_the_problem(tmp_path: Path) -> None:
    """Its own clients are served meanwhile. The password is not shown."""
    port = free_port()
    given = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0"}
    with Synkora(tmp_path, "serve", REDIS_URL=f"redis://:hunter2@127.0.0.1:{port}", **given) as program:
        url = program.line(lambda line: "Health check" in line).removeprefix("✓ Health check: ")
        program.line(lambda line: line.startswith("✓ PROJECT_ACCESS"))
        assert program.stdout[0].startswith("✓ One of several instances: ")
        assert program.stdout[1] == "! Redis is unavailable: nothing listens at the address of Redis"
        assert httpx.get(url, trust_env=False).json()["status"] == "degraded"
        program.terminate()
        assert "hunter2" not in program.output
