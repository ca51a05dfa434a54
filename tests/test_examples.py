"""The examples, run as a reader runs them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]  # python-socketio has no type information
from tests.support.processes import PATIENCE, Program

EXAMPLES = Path(__file__).parent.parent / "examples"
LISTENING = "Listening on port "


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[str]:
    """The address of the chat, which must stop cleanly."""
    with Program([sys.executable, EXAMPLES / "chat.py", "0"], tmp_path, PYTHONUNBUFFERED="1") as program:
        port = program.line(lambda line: line.startswith(LISTENING)).removeprefix(LISTENING)
        yield f"http://127.0.0.1:{port}"
        program.terminate()
        assert program.stderr == []


@asynccontextmanager
async def chatting(url: str, name: str, room: str) -> AsyncIterator[tuple[socketio.AsyncClient, asyncio.Queue[Any]]]:
    client = socketio.AsyncClient(reconnection=False)
    events: asyncio.Queue[Any] = asyncio.Queue()
    client.on("*", lambda *event: events.put_nowait(event))
    await client.connect(url, auth={"name": name, "room": room})
    try:
        yield client, events
    finally:
        await client.disconnect()


async def event_of(events: asyncio.Queue[Any]) -> Any:
    return await asyncio.wait_for(events.get(), PATIENCE)


async def test_users_chat(chat: str) -> None:
    async with (
        chatting(chat, "Ada", "lobby") as (ada, heard_by_ada),
        chatting(chat, "Eve", "attic") as (_, heard_by_eve),
    ):
        async with chatting(chat, "Bob", "lobby") as (bob, heard_by_bob):
            assert await event_of(heard_by_ada) == ("joined", "Bob")
            assert await bob.call("message", "Hello!") == "sent"
            assert await event_of(heard_by_ada) == ("message", "Bob", "Hello!")
            assert await ada.call("message", "Hello yourself!") == "sent"
            assert await event_of(heard_by_bob) == ("message", "Ada", "Hello yourself!")
        assert (await event_of(heard_by_ada))[:2] == ("left", "Bob")
        assert heard_by_eve.empty()


async def test_a_nameless_client_is_refused(chat: str) -> None:
    """It gets advice, and a client that sends other data than text gets an error."""
    client = socketio.AsyncClient(reconnection=False)
    refusals: asyncio.Queue[Any] = asyncio.Queue()
    client.on("connect_error", refusals.put_nowait)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(chat)
    assert (await event_of(refusals))["message"] == "auth: Object missing required field name"
    async with chatting(chat, "Ada", "lobby") as (ada, heard):
        await ada.emit("message", {"not": "text"})
        assert await event_of(heard) == ("error", {"message": "text: Expected str, got object", "event": "message"})
