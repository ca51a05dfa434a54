"""Recipients of rooms and broadcasts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.support.clients import WebSocket, socketio
from tests.support.servers import Address

from synkora import AckTimeout, Socket, SocketServer
from synkora.engine.message import Message

NAMES = ["alice", "bob", "carol", "dave"]


class Crowd:
    """Four clients with their sockets. alice and bob are in `red`, bob and carol in `blue`."""

    def __init__(self, server: SocketServer) -> None:
        self.server = server
        self.clients: dict[str, WebSocket] = {}
        self.sockets: dict[str, Socket] = {}

    async def who_get(self, sender: Any) -> list[str]:
        """The clients that get an event of `sender`. Afterwards nothing is in transit."""
        got: list[str] = []
        sender.emit("x")
        self.server.emit("end")
        for name, client in self.clients.items():
            while (received := await client.event()) != ["end"]:
                assert received == ["x"]
                got.append(name)
        return got


@pytest.fixture
async def crowd(server: SocketServer, address: Address) -> AsyncIterator[Crowd]:
    crowd = Crowd(server)
    async with AsyncExitStack() as stack:
        for name in NAMES:
            before = set(server.of("/").sockets)
            crowd.clients[name] = await stack.enter_async_context(socketio(address))
            (sid,) = set(server.of("/").sockets) - before
            crowd.sockets[name] = server.of("/").sockets[sid]
        for name in ("alice", "bob"):
            crowd.sockets[name].join("red")
        for name in ("bob", "carol"):
            crowd.sockets[name].join("blue")
        yield crowd


async def test_rooms_of_a_chain_are_reached_together(crowd: Crowd) -> None:
    assert await crowd.who_get(crowd.server.to("red").to("blue")) == ["alice", "bob", "carol"]
    assert await crowd.who_get(crowd.sockets["alice"].to("red", "blue")) == ["bob", "carol"]


async def test_exceptions_are_left_out(crowd: Crowd) -> None:
    """Members of excepted rooms, from server, namespace and socket."""
    assert await crowd.who_get(crowd.server.except_("red")) == ["carol", "dave"]
    assert await crowd.who_get(crowd.server.of("/").to("red").except_("blue")) == ["alice"]
    assert await crowd.who_get(crowd.sockets["dave"].except_("red", "blue")) == []
    assert await crowd.who_get(crowd.sockets["dave"].except_("red")) == ["carol"]
    assert await crowd.who_get(crowd.sockets["alice"].to("red").except_("blue")) == []


async def test_emit_reaches_everyone(crowd: Crowd) -> None:
    """From the server and from the namespace. A socket's emit reaches only itself."""
    assert await crowd.who_get(crowd.server) == NAMES
    assert await crowd.who_get(crowd.server.of("/")) == NAMES
    assert await crowd.who_get(crowd.sockets["carol"]) == ["carol"]


async def test_volatile_emits_reach_clients_that_read(crowd: Crowd) -> None:
    """From everywhere, with rooms and exceptions."""
    assert await crowd.who_get(crowd.server.volatile) == NAMES
    assert await crowd.who_get(crowd.server.of("/").volatile.to("red")) == ["alice", "bob"]
    assert await crowd.who_get(crowd.sockets["alice"].volatile.to("red")) == ["bob"]
    assert await crowd.who_get(crowd.sockets["alice"].to("red", "blue").volatile.except_("red")) == ["carol"]
    assert await crowd.who_get(crowd.sockets["alice"].volatile.except_("red")) == ["carol", "dave"]
    assert await crowd.who_get(crowd.sockets["alice"].volatile.broadcast) == ["bob", "carol", "dave"]
    assert await crowd.who_get(crowd.sockets["alice"].volatile) == ["alice"]


async def test_volatile_messages_are_marked_as_such(crowd: Crowd) -> None:
    """Only volatile events may be dropped."""
    queue = crowd.sockets["alice"]._session.outbox.queue
    alice = crowd.sockets["alice"]
    alice.emit("a")
    alice.volatile.emit("b")
    crowd.server.to("red").emit("c")
    crowd.server.volatile.to("red").emit("d")
    crowd.server.to("red").volatile.emit("e")
    assert [message.volatile for message in queue] == [False, True, False, True, True]


async def test_messages_are_marked_as_not_to_be_compressed(crowd: Crowd) -> None:
    """Emits and calls, to one socket and to many, with other flags before or after."""
    alice, server = crowd.sockets["alice"], crowd.server
    queue = alice._session.outbox.queue
    alice.compress(False).emit("a")
    alice.volatile.compress(False).emit("b")
    alice.compress(False).volatile.compress(True).emit("c")
    crowd.sockets["bob"].compress(False).to("red").emit("d")
    server.compress(False).except_("blue").emit("e")
    server.to("red").compress(False).volatile.local.in_("red").emit("f")
    calls = [
        asyncio.create_task(call)
        for call in (alice.compress(False).call("g", timeout=0.01), server.compress(False).call("h", timeout=0.01))
    ]
    marked = [(message.volatile, message.compress) for message in queue]
    assert marked == [(False, False), (True, False), (True, True), *[(False, False)] * 2, (True, False)]
    await asyncio.sleep(0)
    assert [message.compress for message in alice._session.outbox.queue] == [False, False]
    await asyncio.wait(calls)


async def test_a_timeout_names_the_event(crowd: Crowd) -> None:
    with pytest.raises(AckTimeout, match=r"'question': 0 of \d answers within 0\.01 s"):
        await crowd.server.to("red").call("question", timeout=0.01)


@pytest.mark.parametrize("value", [None, 1, "no"])
async def test_only_true_and_false_say_whether_to_compress(crowd: Crowd, value: Any) -> None:
    for sender in (crowd.server, crowd.server.of("/"), crowd.server.to("red"), crowd.sockets["alice"]):
        with pytest.raises(TypeError, match="compress is True or False"):
            sender.compress(value)
    with pytest.raises(TypeError, match="compress is True or False"):
        crowd.sockets["alice"].volatile.compress(value)


async def test_a_broadcast_is_encoded_once(crowd: Crowd) -> None:
    """All recipients get the same message object."""
    crowd.server.emit("x", {"large": "x" * 1000}, b"binary")
    messages: list[Message] = [socket._session.outbox.queue[-1] for socket in crowd.sockets.values()]
    assert all(message is messages[0] for message in messages)


async def test_rooms_are_joined_and_left(crowd: Crowd) -> None:
    """`rooms` has all of them, including its own. A leave takes effect immediately."""
    bob = crowd.sockets["bob"]
    assert bob.rooms == {bob.id, "red", "blue"}
    bob.leave("red")
    bob.leave("never joined")
    bob.join("green", "blue")
    assert bob.rooms == {bob.id, "blue", "green"}
    assert await crowd.who_get(crowd.server.to("red", "green")) == ["alice", "bob"]


async def test_a_left_socket_gets_nothing_and_empty_rooms_are_removed(crowd: Crowd) -> None:
    rooms = crowd.server.of("/")._core.adapter.rooms
    crowd.sockets["alice"].disconnect()
    crowd.sockets["bob"].disconnect()
    assert "red" not in rooms
    assert set(rooms["blue"]) == {crowd.sockets["carol"].id}
    for name in ("alice", "bob"):
        assert await crowd.clients[name].receive() == "41"
        del crowd.clients[name]
    assert await crowd.who_get(crowd.server.to("red", "blue")) == ["carol"]
