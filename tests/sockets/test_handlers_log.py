"""The log of a failed handler without structlog's configuration."""

import subprocess
import sys

import pytest

TOKEN = "token-that-nobody-may-see-4f1d"
SCRIPT = """
import asyncio
from synkora import SocketServer
from tests.support.sessions import MemoryTransport, request_of

server = SocketServer()
namespace = server.of("/")
way = ""

@namespace.on_connect
def welcome(socket, auth):
    if way == "connect":
        raise ValueError("of the test")

@namespace.on("sync")
def sync(socket, auth):
    raise ValueError("of the test")

@namespace.on("task")
async def task(socket, auth):
    await asyncio.sleep(0)
    raise ValueError("of the test")

@namespace.on_disconnect
def dismiss(socket, reason):
    auth = {"token": TOKEN}
    if way == "disconnect":
        raise ValueError("of the test")

async def main():
    global way
    for way in WAYS:
        print("WAY", way, flush=True)
        transport = MemoryTransport()
        session = server._registry.open(request_of(), transport)
        session.receive_text(transport, b'40{"token":"%b"}' % TOKEN)
        if way in ("sync", "task"):
            session.receive_text(transport, b'42["%b",{"token":"%b"}]' % (way.encode(), TOKEN))
        if way == "disconnect":
            session.receive_text(transport, b"41")
        for _ in range(10):
            await asyncio.sleep(0)

asyncio.run(main())
"""
WAYS = ("connect", "sync", "task", "disconnect")


@pytest.fixture(scope="module")
def outputs() -> dict[str, str]:
    """The output of a process without a configuration, for each handler."""
    script = f"TOKEN = {TOKEN.encode()!r}\nWAYS = {WAYS}\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stdout
    parts = (part.partition("\n") for part in done.stdout.split("WAY ")[1:])
    return {way: text for way, _, text in parts}


@pytest.mark.parametrize("way", WAYS)
def test_a_failing_handlers_variables_are_not_written(outputs: dict[str, str], way: str) -> None:
    output = outputs[way]
    assert "handler_failed" in output
    assert "ValueError: of the test" in output
    assert TOKEN not in output
