"""What a library user's log has of a handler that fails, where nobody has configured structlog."""

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
way = "{way}"

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
    auth = {{"token": "{token}"}}
    raise ValueError("of the test")

async def main():
    transport = MemoryTransport()
    session = server.registry.open(request_of(), transport)
    session.receive_text(transport, b'40{{"token":"{token}"}}')
    if way in ("sync", "task"):
        session.receive_text(transport, b'42["%b",{{"token":"{token}"}}]' % way.encode())
    if way == "disconnect":
        session.receive_text(transport, b"41")
    for _ in range(10):
        await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["connect", "sync", "task", "disconnect"])
def test_a_failing_handlers_variables_are_not_written(way: str) -> None:
    """Neither the token that it was called with nor one of its own; its traceback is."""
    script = SCRIPT.format(way=way, token=TOKEN)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=60)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "handler_failed" in output
    assert "ValueError: of the test" in output
    assert TOKEN not in output
