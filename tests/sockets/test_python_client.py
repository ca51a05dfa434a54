"""python-socketio's client, over each transport."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio  # type: ignore[import-untyped]  # python-socketio has no type information
from engineio.payload import Payload  # type: ignore[import-untyped]  # no type information either
from tests.support.processes import PATIENCE
from tests.support.servers import Address, until

from synkora import ConnectRefused, Socket, SocketServer

TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]


@pytest.fixture(params=TRANSPORTS, ids="-".join)
def transports(request: pytest.FixtureRequest) -> list[str]:
    chosen: list[str] = request.param
    return chosen


@asynccontextmanager
async def connected(
    address: Address, transports: list[str], handlers: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(reconnection=False, http_session=http)
        for event, handler in (handlers or {}).items():
            client.on(event, handler)
        await client.connect(address.http, transports=transports, wait_timeout=PATIENCE, **options)
        loops = (client.eio.read_loop_task, client.eio.write_loop_task)
        try:
            await until(lambda: client.transport() == transports[-1])
            yield client
        finally:
            if client.connected:
                await client.eio.queue.join()  # a disconnect during a post is never sent
                await client.disconnect()
            await asyncio.wait(loops)  # a client that the server disconnects may still send, over a new session then


async def test_events_and_acks_go_both_ways(server: SocketServer, address: Address, transports: list[str]) -> None:
    """Text and binary arguments, answers of both sides, and the auth payload."""
    auths: list[object] = []
    received: list[tuple[object, ...]] = []
    main = server.of("/")

    @main.on_connect
    async def welcome(socket: Socket, auth: dict[str, Any]) -> None:
        auths.append(auth)
        socket.emit("welcome", socket.id)

    @main.on("echo")
    async def echo(socket: Socket, *args: object) -> tuple[object, ...]:
        socket.emit("back", *args)
        return args

    async def answer(*args: object) -> tuple[object, ...]:
        return (b"answer", *args)

    handlers = {
        "welcome": lambda sid: received.append(("welcome", sid)),
        "back": lambda *args: received.append(args),
        "ask": answer,
    }
    async with connected(address, transports, handlers, auth={"token": "abc"}) as client:
        args = ("grüße", {"a": [1, None, b"\x00\xff"]}, b"binary")
        assert await client.call("echo", args) == ("grüße", {"a": [1, None, b"\x00\xff"]}, b"binary")
        await until(lambda: len(received) == 2)
        assert received == [("welcome", client.get_sid()), args]
        (socket,) = main.sockets.values()
        assert socket.transport == transports[-1]
        assert await socket.call("ask", 1, b"two", timeout=5) == b"answer"
    assert auths == [{"token": "abc"}]


async def test_a_burst_arrives_whole_and_in_order(
    server: SocketServer, address: Address, transports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of events in each direction, perhaps during an upgrade."""
    monkeypatch.setattr(Payload, "max_decode_packets", 1000)  # a poll that brings more ends the connection
    heard: list[int] = []
    said: list[int] = []
    server.of("/").on("say", lambda socket, number: said.append(number))

    @server.of("/").on_connect
    def burst(socket: Socket, auth: dict[str, Any]) -> None:
        async def emit() -> None:
            for number in range(300):
                socket.emit("hear", number)
                await asyncio.sleep(0)

        socket.data["task"] = asyncio.get_running_loop().create_task(emit())

    async def hear(number: int) -> None:
        heard.append(number)

    async with connected(address, transports, {"hear": hear}) as client:
        for number in range(300):
            await client.emit("say", number)
        await until(lambda: len(heard) == len(said) == 300)
    assert sorted(heard) == list(range(300))  # the client starts a task for each event
    assert said == list(range(300))


async def test_a_refusal_reaches_the_client(server: SocketServer, address: Address, transports: list[str]) -> None:
    @server.of("/").on_connect
    def refuse(socket: Socket, auth: dict[str, Any]) -> None:
        raise ConnectRefused("Authentication required", {"hint": "sign in"})

    errors: list[object] = []
    async with aiohttp.ClientSession() as http:  # the client leaves its own one open where it is refused
        client = socketio.AsyncClient(reconnection=False, http_session=http)
        client.on("connect_error", errors.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(address.http, transports=transports)
        assert errors == [{"message": "Authentication required", "data": {"hint": "sign in"}}]
        await client.shutdown()
        await client.eio.disconnect()


async def test_both_sides_learn_of_a_disconnect(server: SocketServer, address: Address, transports: list[str]) -> None:
    reasons: list[str] = []
    told: list[str] = []
    server.of("/").on_disconnect(lambda socket, reason: reasons.append(reason))
    async with connected(address, transports):
        pass
    await until(lambda: reasons)
    async with connected(address, transports, {"disconnect": told.append}) as client:
        (socket,) = server.of("/").sockets.values()
        socket.disconnect()
        await until(lambda: told and not client.connected)  # two disconnects at once can hang this client for a minute
    assert reasons[1:] == ["server namespace disconnect"]
    assert told == [socketio.AsyncClient.reason.SERVER_DISCONNECT]
    assert reasons[0] in ("client namespace disconnect", "transport close")


async def test_namespaces_and_rooms(server: SocketServer, address: Address, transports: list[str]) -> None:
    """Two clients in a room of a namespace: one sends, the other gets the event."""
    admin = server.of("/admin")
    admin.on("join", lambda socket, room: socket.join(room))
    admin.on("say", lambda socket, room, text: socket.to(room).emit("said", text))
    heard: list[str] = []
    options: dict[str, Any] = {"namespaces": ["/", "/admin"]}
    async with connected(address, transports, **options) as one, connected(address, transports, **options) as two:
        two.on("said", heard.append, namespace="/admin")
        for client in (one, two):
            await client.call("join", "room", namespace="/admin")
        await one.call("say", ("room", "hello"), namespace="/admin")
        await until(lambda: heard)
    assert heard == ["hello"]
