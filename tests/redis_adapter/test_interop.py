"""Our servers beside socket.io on Node.js with its Redis adapter, and the emitter, in every combination."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from tests.redis_adapter.clusters import server_on
from tests.redis_adapter.interop import (
    EVERYONE,
    Guest,
    NodeServer,
    NodeSpeaker,
    PythonServer,
    Server,
    Speaker,
    Target,
    redis_and_node,
)
from tests.support.clients import websocket
from tests.support.links import QUICK
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import serving

from synkora import Emitter
from synkora.redis.link import Link
from synkora.redis.url import RedisUrl

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVERS = ["py1", "py2", "js1", "js2"]
SPEAKERS = [*SERVERS, "emitter"]
RED = ["py1", "py2", "js1"]
BLUE = ["py2", "js2"]


def rooms_of(name: str) -> list[str]:
    return [room for room, members in (("red", RED), ("blue", BLUE)) if name in members]


class World:
    """The four servers and the emitter, with a client on each server. `RED` and `BLUE` list the rooms' members."""

    def __init__(self, speakers: dict[str, Speaker], redis: RedisServer) -> None:
        self.speakers = speakers
        self.redis = redis
        self.servers = [speaker for speaker in speakers.values() if isinstance(speaker, Server)]
        self.guests: dict[str, Guest] = {}

    def server(self, name: str) -> Server:
        server = self.speakers[name]
        assert isinstance(server, Server)
        return server

    async def settle(self) -> None:
        """Wait until our servers' subscriptions are in effect."""
        for server in self.servers:
            if isinstance(server, PythonServer):
                await server.link.call("PING")

    async def who_gets(self, speaker: str, event: list[Any], namespace: str = "/") -> list[str]:
        """The clients that got `event`, once each, and nothing else."""
        await self.speakers[speaker].emit(Target(namespace=namespace), "end")
        got: list[str] = []
        for guest in self.guests.values():
            while (received := await guest.event()) != ["end"]:
                assert received == event
                got.append(guest.name)
        return got

    async def rooms_become(self, guest: Guest, rooms: Iterable[str]) -> None:
        """Wait until a guest is in exactly these rooms, besides its own."""
        async with asyncio.timeout(PATIENCE):
            while True:
                (found,) = await guest.server.fetch(Target((guest.id,), local=True))
                if set(found["rooms"]) == {guest.id, *rooms}:
                    return
                await asyncio.sleep(0.005)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        redis, node = await redis_and_node(stack)
        speakers: dict[str, Speaker] = {}
        for name in ("py1", "py2"):
            link = Link(RedisUrl.parse(redis.url), QUICK)
            server = PythonServer(name, server_on(link), link)
            assert await link.start(PATIENCE)
            stack.push_async_callback(link.close)
            server.address = await stack.enter_async_context(serving(server.server))
            speakers[name] = server
        for name, options in (("js1", {}), ("js2", {"publishOnSpecificResponseChannel": True})):
            port = await node.ask("serve", name=name, url=redis.url, namespaces=["/", "/other"], adapter=options)
            speakers[name] = NodeServer(name, node, port)
        await node.ask("emitter", name="emitter", url=redis.url)
        speakers["emitter"] = NodeSpeaker("emitter", node)
        yield World(speakers, redis)


async def _gather(world: World, stack: AsyncExitStack, namespace: str) -> World:
    for server in world.servers:
        socket = await stack.enter_async_context(websocket(server.address))
        sid = await socket.connect(namespace, {"name": server.name})
        world.guests[server.name] = Guest(server, socket, sid, namespace)
    for name, guest in world.guests.items():
        await guest.say("enter", *rooms_of(name))
    await world.settle()
    return world


@pytest_asyncio.fixture(loop_scope="module")
async def world(running: World) -> AsyncIterator[World]:
    """The servers, with guests in the main namespace."""
    async with AsyncExitStack() as stack:
        yield await _gather(World(running.speakers, running.redis), stack, "/")


@pytest.mark.parametrize("speaker", SPEAKERS)
@pytest.mark.parametrize("namespace", ["/", "/other"])
async def test_broadcasts_reach_their_recipients(running: World, speaker: str, namespace: str) -> None:
    """Rooms, several rooms, everyone, exceptions, a single socket: from each program, to each recipient, once."""
    async with AsyncExitStack() as stack:
        world = await _gather(World(running.speakers, running.redis), stack, namespace)
        ids = {name: guest.id for name, guest in world.guests.items()}
        for rooms, except_rooms, expected in (
            (("red",), (), RED),
            (("red", "blue"), (), SERVERS),
            ((), (), SERVERS),
            (("red",), ("blue",), ["py1", "js1"]),
            ((), ("red",), ["js2"]),
            (("red", "blue"), (ids["js1"], ids["py2"]), ["py1", "js2"]),
            (("nowhere",), (), []),
            *(((ids[name],), (), [name]) for name in SERVERS),
        ):
            for volatile in (False, True):
                target = Target(rooms, except_rooms, namespace, volatile)
                await world.speakers[speaker].emit(target, "x", {"a": [1, "é"]})
                assert await world.who_gets(speaker, ["x", {"a": [1, "é"]}], namespace) == expected, target


@pytest.mark.parametrize("speaker", SPEAKERS)
async def test_binary_data_arrives_everywhere(world: World, speaker: str) -> None:
    """Small and large, nested, empty, and in order."""
    parts = [b"\x00\xff", b"", b"a" * 300, b"b" * 70_000]
    event = ["file", {"name": "é", "parts": parts}, b"\xc4"]
    await world.speakers[speaker].emit(Target(("red",)), *event)
    assert await world.who_gets(speaker, event) == RED


async def test_a_traced_event_of_the_log_reaches_clients_of_node(world: World) -> None:
    """Servers that know nothing of traces, or of the log, ignore the context of the trace."""
    async with Emitter(world.redis.url, recovery=True) as emitter:
        await emitter.to("red").emit("traced", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    for name in RED:
        assert [type(part) for part in await world.guests[name].event()] == [str, str]  # the event and its position


@pytest.mark.parametrize("speaker", SPEAKERS)
@pytest.mark.parametrize("times", [50, 10_000])
@pytest.mark.parametrize("namespace", ["/", "/other"])
async def test_large_events_arrive_everywhere(running: World, speaker: str, namespace: str, times: int) -> None:
    """Ours are sent as text. Clients of Node.js get them complete and in order, volatile ones as well."""
    async with AsyncExitStack() as stack:
        world = await _gather(World(running.speakers, running.redis), stack, namespace)
        event: list[Any] = ["canvas:update", {"shapes": [[], {"é": '"\\\u2028'}, 1.5, None] * times}, "more"]
        for volatile in (False, True):
            for rooms, except_rooms, expected in (((), (), SERVERS), (("red",), ("blue",), ["py1", "js1"])):
                await world.speakers[speaker].emit(Target(rooms, except_rooms, namespace, volatile), *event)
                assert await world.who_gets(speaker, event, namespace) == expected


@pytest.mark.parametrize("speaker", SERVERS)
async def test_a_sockets_events_reach_the_others(world: World, speaker: str) -> None:
    await world.guests[speaker].say("tell", ["red"], "x", 1)
    assert await world.who_gets(speaker, ["x", 1]) == [name for name in RED if name != speaker]


@pytest.mark.parametrize("speaker", SERVERS)
async def test_local_broadcasts_stay(world: World, speaker: str) -> None:
    await world.speakers[speaker].emit(Target(local=True), "x")
    assert await world.who_gets(speaker, ["x"]) == [speaker]


async def test_values_of_javascript_are_what_its_clients_get(world: World) -> None:
    """Dates, NaN, undefined, typed arrays, big numbers: the same for clients of both kinds of servers."""
    values: list[Any] = [
        *({"$date": time} for time in (0, 1_700_000_000_123, -1, 253_402_300_799_999, 1e11)),
        *({"$number": number} for number in ("NaN", "Infinity", "-Infinity", "-0")),
        {"$undefined": 1},
        {"a": {"$undefined": 1}, "b": [{"$undefined": 1}], "c": {"$date": 1500}},
        {"$arraybuffer": "AAEC"},
        [2**53, 2**53 + 2, 2**63, -(2**62), 4_294_967_296, 1.0, 0.1, 5e-324],
    ]
    for speaker in ("js1", "emitter"):
        for value in values:
            await world.speakers[speaker].emit(EVERYONE, "x", value)
            got = [await guest.event() for guest in world.guests.values()]
            assert got[0] == got[1] == got[2] == got[3], value


async def test_rooms_of_javascript_may_be_numbers(world: World) -> None:
    """Our servers use their decimal text as the name."""
    for name in ("py1", "js1"):
        await world.guests[name].say("enter", *([7] if name == "js1" else ["7"]))
    await world.settle()
    for speaker in ("js1", "js2", "emitter"):
        await world.speakers[speaker].emit(Target((7,)), "x")
        assert await world.who_gets(speaker, ["x"]) == ["py1", "js1"]
        await world.speakers[speaker].emit(Target((7, "blue"), (7,)), "x")
        assert await world.who_gets(speaker, ["x"]) == ["py2", "js2"]


@pytest.mark.parametrize("speaker", SPEAKERS)
async def test_sockets_are_put_into_rooms(world: World, speaker: str) -> None:
    blue = Target(("blue",), (world.guests["js1"].id,))
    await world.speakers[speaker].put(blue, "green", "yellow")
    for name in BLUE:
        await world.rooms_become(world.guests[name], [*rooms_of(name), "green", "yellow"])
    await world.settle()
    await world.speakers[speaker].emit(Target(("green",)), "x")
    assert await world.who_gets(speaker, ["x"]) == BLUE
    await world.speakers[speaker].take(Target(("green",)), "yellow")
    for name in BLUE:
        await world.rooms_become(world.guests[name], [*rooms_of(name), "green"])


@pytest.mark.parametrize("speaker", SPEAKERS)
async def test_sockets_are_disconnected(world: World, speaker: str) -> None:
    await world.speakers[speaker].disconnect(Target(("red",), ("blue",)), False)
    for name in ("py1", "js1"):
        await world.guests.pop(name).disconnected()
    await world.speakers[speaker].disconnect(Target(("blue",)), True)
    for name in BLUE:
        await world.guests.pop(name).closed()


@pytest.mark.parametrize("asker", SERVERS)
async def test_clients_acknowledge_broadcasts(world: World, asker: str) -> None:
    """The acks of all clients reach the sender, text and binary."""
    server = world.server(asker)
    asking = asyncio.create_task(server.call(Target(("red", "blue")), "ask", {"why": 1}))
    answers: dict[str, Any] = {"py1": 1, "py2": {"a": [None]}, "js1": "é", "js2": b"\x00\xff"}
    for name, guest in world.guests.items():
        await guest.acknowledge(answers[name])
    got = await asking
    assert len(got) == len(SERVERS)
    assert all(answer in got for answer in answers.values())
    assert await server.call(Target(("nowhere",)), "ask") == []


@pytest.mark.parametrize("asker", SERVERS)
async def test_missing_acks_end_the_wait(world: World, asker: str) -> None:
    asking = asyncio.create_task(world.server(asker).call(Target(("red",)), "ask", timeout=0.5))
    await world.guests["py1"].acknowledge("p")
    await world.guests["js1"].acknowledge("j")
    assert sorted(await asking) == ["j", "p"]


@pytest.mark.parametrize("asker", SERVERS)
async def test_sockets_are_fetched(world: World, asker: str) -> None:
    """Each server adds its sockets' rooms, data and handshakes."""
    found = {socket["data"]["name"]: socket for socket in await world.server(asker).fetch(EVERYONE)}
    assert sorted(found) == sorted(SERVERS)
    for name, guest in world.guests.items():
        assert (found[name]["id"], set(found[name]["rooms"])) == (guest.id, {guest.id, *rooms_of(name)})
    chosen = await world.server(asker).fetch(Target(("red",), ("blue",)))
    assert sorted(socket["data"]["name"] for socket in chosen) == ["js1", "py1"]


async def test_a_handshake_has_the_fields_that_node_gives_it(world: World) -> None:
    """For Node.js, a socket of ours has the same fields of the same types, and the request's id."""
    found = {socket["data"]["name"]: socket["handshake"] for socket in await world.server("js1").fetch(EVERYONE)}
    ours, theirs = found["py1"], found["js2"]
    assert set(ours) == set(theirs)
    for field in ("xdomain", "secure", "query"):
        assert ours[field] == theirs[field]
    assert (ours["auth"], theirs["auth"]) == ({"name": "py1"}, {"name": "js2"})
    assert set(ours["headers"]) == {*theirs["headers"], "x-request-id"}
    assert ours["address"].rpartition(":")[2] == theirs["address"].rpartition(":")[2] == "127.0.0.1"
    assert ours["url"] == theirs["url"]
    assert abs(ours["issued"] - theirs["issued"]) < 60_000
    assert ours["time"][-30:] == theirs["time"][-30:] or "GMT" in theirs["time"]


@pytest.mark.parametrize("asker", SERVERS)
async def test_servers_and_rooms_are_counted(world: World, asker: str) -> None:
    assert await world.server(asker).count() == len(SERVERS)
    own = {guest.id for guest in world.guests.values()}
    assert await world.server(asker).rooms() == {"red", "blue"} | own


@pytest.mark.parametrize("asker", SERVERS)
async def test_servers_talk_to_each_other(world: World, asker: str) -> None:
    """Events between servers reach all others, and their answers return."""
    others = sorted(name for name in SERVERS if name != asker)
    assert sorted(await world.server(asker).ask({"a": ["é", None]})) == [[name, {"a": ["é", None]}] for name in others]
    await world.server(asker).note("n", {"a": 1})
    assert sorted(await world.server(asker).ask(0)) == [[name, 0] for name in others]
    for name in SERVERS:
        assert await world.server(name).notes() == ([["n", {"a": 1}]] if name in others else [])


async def test_the_emitter_talks_to_servers(world: World) -> None:
    await world.speakers["emitter"].note("from outside")
    async with asyncio.timeout(PATIENCE):
        for name in SERVERS:
            while not (notes := await world.server(name).notes()):
                await asyncio.sleep(0.01)
            assert notes == [["from outside"]]
