"""The messages through Redis: the same bytes on the same channels as socket.io on Node.js."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from tests.redis_adapter.clusters import server_on
from tests.redis_adapter.interop import EVERYONE, Guest, NodeServer, PythonServer, Server, Target, redis_and_node
from tests.support.clients import websocket
from tests.support.links import QUICK
from tests.support.processes import PATIENCE
from tests.support.servers import serving, until

from synkora.redis.link import Link
from synkora.redis.url import RedisUrl

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = b"socket.io-request#/#"
RESPONSES = b"socket.io-response#/#"
CHANNELS = [
    b"socket.io#/#",
    b"socket.io#/#red#",
    "socket.io#/#é#".encode(),
    REQUESTS,
    RESPONSES,
    RESPONSES + b"spyspy#",
]
Message = tuple[bytes, bytes]


class Spy:
    """Receives all published messages, and publishes a test's own."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._heard: list[Message] = []
        for channel in CHANNELS:
            link.subscribe(channel, partial(self._hear, channel))

    def _hear(self, channel: bytes, message: bytes) -> None:
        self._heard.append((channel, message))

    async def heard(self, count: int) -> list[Message]:
        """The next messages, with constants in place of ids that differ in each run."""
        await until(lambda: len(self._heard) >= count)
        heard, self._heard = self._heard, []
        assert len(heard) == count
        return [(channel, self._made_alike(message)) for channel, message in heard]

    @staticmethod
    def _made_alike(message: bytes) -> bytes:
        message = re.sub(rb'(?<="requestId":")[\w-]{6}(?=")|(?<=\xa9requestId\xa6)[\w-]{6}', b"REQUES", message)
        return re.sub(rb'(?<="uid":")[\w-]{6}(?=")|(?<=\xa3uid\xa6)[\w-]{6}|(?<=^\x93\xa6)[\w-]{6}', b"SERVER", message)


class World:
    def __init__(self, ours: Server, theirs: Server, spy: Spy) -> None:
        self.ours = ours
        self.theirs = theirs
        self.spy = spy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        redis, node = await redis_and_node(stack)
        link, spies = Link(RedisUrl.parse(redis.url), QUICK), Link(RedisUrl.parse(redis.url), QUICK)
        ours = PythonServer("ours", server_on(link, timeout=0.2), link, patience=0.2)
        spy = Spy(spies)
        for each in (link, spies):
            assert await each.start(PATIENCE)
            stack.push_async_callback(each.close)
        ours.address = await stack.enter_async_context(serving(ours.server))
        port = await node.ask("serve", name="theirs", url=redis.url, adapter={"requestsTimeout": 200})
        theirs = NodeServer("theirs", node, port)
        yield World(ours, theirs, spy)


@pytest.mark.parametrize(
    "target",
    [
        EVERYONE,
        Target(("red",)),
        Target(("é",), ("red", "blue")),
        Target(("red", "é"), volatile=True),
        Target(("red", "red"), ("blue", "blue")),
        Target(("red",), compress=False),
        Target(("red",), volatile=True, compress=False),
    ],
    ids=["everyone", "room", "exceptions", "volatile", "twice the same", "uncompressed", "volatile, uncompressed"],
)
@pytest.mark.parametrize(
    "event", [["x"], ["x", {"a": [1, 1.5, None, True, "é"]}], ["x", {"b": {"$bytes": "AAH/"}}]], ids=str
)
async def test_broadcasts_are_the_same(world: World, target: Target, event: list[Any]) -> None:
    await world.theirs.emit(target, *event)
    theirs = await world.spy.heard(1)
    await world.ours.emit(target, *event)
    assert await world.spy.heard(1) == theirs


async def test_requests_are_the_same(world: World) -> None:
    """For joins, leaves, disconnects, and events between servers."""
    target = Target(("red", "é"), ("blue",))
    said: list[list[Message]] = []
    for server in (world.theirs, world.ours):
        await server.put(target, "green", "é")
        await server.take(target, "green")
        await server.disconnect(target, False)
        await server.disconnect(EVERYONE, True)
        await server.note({"a": ["é", None, 1.5]}, 2)
        said.append(await world.spy.heard(5))
    assert said[0] == said[1]


async def test_questions_are_the_same(world: World) -> None:
    """For fetching sockets, listing rooms, and collecting answers and acks."""
    said: list[list[Message]] = []
    for server, answers in (
        (world.theirs, 0),
        (world.ours, 4),
    ):  # Node.js publishes its answers to all, the spy included
        asking = [
            asyncio.create_task(server.fetch(Target(("red",), ("é",)))),
            asyncio.create_task(server.rooms()),
            asyncio.create_task(server.ask({"a": [1]})),
            asyncio.create_task(server.call(Target(("red",), ("é",)), "ask", {"$bytes": "AAH/"}, timeout=0.2)),
        ]
        heard = await world.spy.heard(len(asking) + answers)
        said.append(sorted(message for message in heard if message[0] == REQUESTS))
        await asyncio.wait(asking)  # until they give up: the spy is counted as a server, and answers nothing
        for task in asking:
            task.exception()
    assert len(said[0]) == 4
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "request_",
    [
        b'{"uid":"spyspy","requestId":"reqreq","type":0,"rooms":["nowhere"]}',
        b'{"uid":"spyspy","requestId":"reqreq","type":1}',
        b'{"uid":"spyspy","requestId":"reqreq","type":5,"opts":{"rooms":["nowhere"],"except":[]}}',
        b'{"uid":"spyspy","requestId":"reqreq","type":6,"data":["question",{"a":[1,"\xc3\xa9"]}]}',
    ],
    ids=["sockets", "all rooms", "fetch", "server-side emit"],
)
async def test_responses_are_the_same(world: World, request_: bytes) -> None:
    world.spy.link.publish(REQUESTS, request_)
    _, *heard = await world.spy.heard(3)
    responses = {channel: message.replace(b"theirs", b"ours") for channel, message in heard}
    assert responses[RESPONSES + b"spyspy#"] == responses[RESPONSES]


@pytest.mark.parametrize("ack", [[1, 2], [{"a": "é"}], [b"\x00\xff"]], ids=["number", "object", "bytes"])
async def test_counts_and_acks_are_the_same(world: World, ack: list[Any]) -> None:
    """The number of a broadcast's recipients, and their acks."""
    async with AsyncExitStack() as stack:
        guests = []
        for server in (world.ours, world.theirs):
            socket = await stack.enter_async_context(websocket(server.address))
            guests.append(Guest(server, socket, await socket.connect()))
            await guests[-1].say("enter", "red")
        request = b"\x85\xa3uid\xa6spyspy\xa9requestId\xa6reqreq\xa4type\x07"
        request += b"\xa6packet\x83\xa4type\x02\xa4data\x91\xa3ask\xa3nsp\xa1/"
        request += b"\xa4opts\x83\xa5rooms\x91\xa3red\xa6except\x90\xa5flags\x81\xa7timeout\xcd\x13\x88"
        world.spy.link.publish(REQUESTS, request)
        for guest in guests:
            await guest.acknowledge(*ack)
        _, *heard = await world.spy.heard(5)
        ours = [message for channel, message in heard if channel == RESPONSES + b"spyspy#"]
        assert ours == [message for channel, message in heard if channel == RESPONSES]
        assert len(ours) == 2


async def test_one_socket_is_asked_for_by_its_id(world: World) -> None:
    """As in older adapters: only its server lets it join, leave or disconnect, and confirms this."""
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(websocket(world.ours.address))
        guest = Guest(world.ours, socket, await socket.connect())
        head = b'{"uid":"spyspy","requestId":"reqreq","sid":"%s",' % guest.id.encode()
        for rest, rooms in ((b'"type":2,"room":"new"}', {guest.id, "new"}), (b'"type":3,"room":"new"}', {guest.id})):
            world.spy.link.publish(REQUESTS, head + rest)
            _, confirmed = await world.spy.heard(2)
            assert confirmed == (RESPONSES + b"spyspy#", b'{"requestId":"REQUES"}')
            (found,) = await world.ours.fetch(Target(local=True))
            assert set(found["rooms"]) == rooms
        world.spy.link.publish(REQUESTS, head + b'"type":4,"close":false}')
        await guest.disconnected()
        assert len(await world.spy.heard(2)) == 2
        world.spy.link.publish(REQUESTS, head + b'"type":2,"room":"new"}')
        assert len(await world.spy.heard(1)) == 1
