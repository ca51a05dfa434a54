"""The check of the port: free, in use by this server, or by another program."""

import asyncio
import socket
from pathlib import Path

import pytest
from tests.access.listeners import listening
from tests.app.check.authority import Authority
from tests.app.check.conftest import GOOD, MakeSettings
from tests.support.processes import Program, Synkora

from synkora.app.check.finding import FindingStatus
from synkora.app.check.port import check_port


def port_of(program: Program) -> str:
    return program.line(lambda line: "Server running on port" in line).rpartition(" ")[2]


async def test_a_free_port(settings: MakeSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (finding,) = await check_port(settings(WS_HOST="127.0.0.1", WS_PORT=str(port)))
    assert (finding.status, finding.message) == (FindingStatus.WELL, f"127.0.0.1, port {port} is free")
    socket.create_server(("127.0.0.1", port)).close()


async def test_any_port(settings: MakeSettings) -> None:
    """Port 0 cannot be in use."""
    (finding,) = await check_port(settings(WS_PORT="0"))
    assert (finding.status, finding.message) == (FindingStatus.WELL, "any free one (every interface, port 0)")


@pytest.mark.parametrize("tls", [False, True])
async def test_this_server(settings: MakeSettings, tmp_path: Path, tls: bool) -> None:
    """A running server reports its state, also with a certificate of an unknown issuer."""
    authority = Authority(tmp_path)
    files = authority.issue("app.example.com")
    variables = {"WS_HOST": "127.0.0.1", "NEXTAUTH_SECRET": GOOD}
    if tls:
        variables |= {"SSL_CERTFILE": str(files[0]), "SSL_KEYFILE": str(files[1])}
    with Synkora(tmp_path, "serve", WS_PORT="0", **variables) as program:
        made = settings(**variables, WS_PORT=port_of(program))
        (finding,) = await check_port(made)
        assert finding.status is FindingStatus.WELL
        assert finding.message.startswith("this server runs there, healthy, for ")
        assert finding.message.endswith("seconds, clients: 0")
        if tls:
            authority.issue("app.example.com")  # renewed since the server was started
            (finding,) = await check_port(made)
            assert finding.status is FindingStatus.WRONG
            assert "not by this server with this certificate" in finding.message


async def test_a_server_without_its_redis(settings: MakeSettings, tmp_path: Path) -> None:
    variables = {"WS_HOST": "127.0.0.1", "NEXTAUTH_SECRET": GOOD, "REDIS_URL": "redis://127.0.0.1:1"}
    with Synkora(tmp_path, "serve", WS_PORT="0", **variables) as program:
        (finding,) = await check_port(settings(**variables, WS_PORT=port_of(program)))
    assert finding.status is FindingStatus.RISKY
    assert "degraded" in finding.message
    assert "nothing listens at the address of Redis" in finding.message


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        b'{"service": "another", "status": "healthy", "uptime": 1, "connections": 0}',
    ],
)
async def test_others(settings: MakeSettings, answer: bytes) -> None:

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with listening(serve) as listener:
        (finding,) = await check_port(settings(WS_HOST="127.0.0.1", WS_PORT=str(listener.port)))
    assert finding.status is FindingStatus.WRONG
    assert finding.message == f"port {listener.port} is in use, and not by this server"
    assert "WS_PORT" in finding.advice


@pytest.mark.parametrize(
    ("host", "words"), [("192.0.2.1", "is not an address of this machine"), ("nowhere.invalid", "cannot be resolved")]
)
async def test_places_that_cannot_be_opened(settings: MakeSettings, host: str, words: str) -> None:
    (finding,) = await check_port(settings(WS_HOST=host, WS_PORT="3001"))
    assert finding.status is FindingStatus.WRONG
    assert words in finding.message
    assert "WS_HOST" in finding.advice
