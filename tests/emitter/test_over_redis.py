"""Emitters over a real Redis: official clients get the events, and those that return get what they have missed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.app.check.test_redis import RIGHTS
from tests.emitter.conftest import Visit
from tests.redis_adapter.interop import redis_and_node
from tests.support.processes import free_port
from tests.support.redis_server import RedisServer, running_redis
from tests.support.redis_sets import running_cluster
from tests.support.relay import relaying
from tests.support.servers import serving, until

from synkora import EmitFailed, Emitter, RedisAdapter, SocketServer
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis.url import RedisUrl

LOG = "synkora:socket.io:{log:/}:log"
STREAM = "synkora:socket.io:{log:/}:stream:red"


def server_on(url: str, *, recovery: bool | RecoverySettings = False) -> SocketServer:
    server = SocketServer(adapter=RedisAdapter.from_url(url), recovery=recovery)
    for name in ("/", "/chat"):
        namespace = server.of(name)

        @namespace.on("join")
        def join(socket: Any, room: str) -> None:
            socket.join(room)

        @namespace.on("ping")
        def answer(socket: Any) -> None:
            socket.emit("pong", {})

    return server


@pytest.fixture(params=[False, True], ids=["not kept", "kept"])
def recovery(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def ports(redis: RedisServer, recovery: bool) -> AsyncIterator[list[int]]:
    """Two servers."""
    async with AsyncExitStack() as stack:
        servers = [server_on(redis.url, recovery=recovery) for _ in range(2)]
        addresses = [await stack.enter_async_context(serving(server)) for server in servers]
        yield [address.port for address in addresses]


@pytest.fixture
async def emitter(redis: RedisServer, recovery: bool) -> AsyncIterator[Emitter]:
    async with Emitter(redis.url, recovery=recovery) as emitter:
        yield emitter


async def test_events_reach_the_selected_clients_of_all_servers(
    ports: list[int], emitter: Emitter, visit: Visit
) -> None:
    ann, ben = await visit(ports[0], "red"), await visit(ports[1], "red", "blue")
    cay = await visit(ports[1], namespace="/chat")
    await emitter.to("red").emit("both", {"a": 1}, "text")
    await emitter.to("red", "blue").except_(ann.id).emit("ben", b"\x00\xff", [b"more"])
    await emitter.in_("blue").volatile.compress(False).emit("volatile", "text")
    await emitter.of("/chat").emit("cay")
    await emitter.emit("all", None)
    assert [await ann.next(), await ann.next()] == [["both", {"a": 1}, "text"], ["all", None]]
    assert [await ben.next() for _ in range(4)] == [
        ["both", {"a": 1}, "text"],
        ["ben", b"\x00\xff", [b"more"]],
        ["volatile", "text"],
        ["all", None],
    ]
    assert await cay.next() == ["cay"]
    for client in (ann, ben, cay):
        await client.hears_nothing()


async def test_sockets_are_moved_and_disconnected(ports: list[int], emitter: Emitter, visit: Visit) -> None:
    ann, ben = [await visit(port, "red") for port in ports]
    await emitter.in_("red").sockets_join("blue")
    await emitter.in_(ann.id).sockets_leave("blue")
    await emitter.to(ann.id).emit("moved")
    await emitter.to("blue").emit("blue")
    assert await ann.next() == ["moved"]
    assert await ben.next() == ["blue"]
    await ann.hears_nothing()
    await emitter.in_("blue").disconnect_sockets()
    assert await ben.changes.next() == ["disconnect", "io server disconnect"]
    await ann.hears_nothing()


async def test_servers_get_events_too(redis: RedisServer) -> None:
    server, heard = SocketServer(adapter=RedisAdapter.from_url(redis.url)), []
    server.of("/").on_server_side("reload", lambda *args: heard.append(args))
    async with serving(server), Emitter(redis.url) as emitter:
        await emitter.server_side_emit("reload", "settings", 1)
        await until(lambda: heard == [("settings", 1)])


async def test_a_client_that_returns_gets_what_it_has_missed(redis: RedisServer, visit: Visit) -> None:
    """In the order of all events, and no event twice."""
    server = server_on(redis.url, recovery=True)
    async with (
        serving(server) as address,
        relaying(address.port) as relay,
        Emitter(redis.url, recovery=True) as emitter,
    ):
        ann, ben = await visit(relay.port, "red"), await visit(address.port, "red")
        await emitter.to("red").emit("n", 1)
        await emitter.to("red").volatile.emit("n", "volatile")  # its string is not taken for a position
        assert [await ann.next(), await ann.next()] == [["n", 1], ["n", "volatile"]]
        relay.is_stuck = True
        relay.cut()
        await until(lambda: ann.changes.items[-1][0] == "disconnect")
        await emitter.to("red").emit("n", 2, b"bytes")
        await emitter.to("red").volatile.emit("n", 3)
        server.to("red").emit("n", 4)
        await until(lambda: len(ben.events.items) == 5)
        await emitter.to("red").except_(ben.id).emit("n", 5)
        first = ann.id
        relay.is_stuck = False
        assert [await ann.next() for _ in range(3)] == [["n", 2, b"bytes"], ["n", 4], ["n", 5]]
        assert ann.id == first
        assert [await ben.next() for _ in range(5)] == [
            ["n", 1],
            ["n", "volatile"],
            ["n", 2, b"bytes"],
            ["n", 3],
            ["n", 4],
        ]
        for client in (ann, ben):
            await client.hears_nothing()


async def test_a_repeated_emit_with_the_same_key_is_published_once(redis: RedisServer, visit: Visit) -> None:
    """Also by another emitter. The key of another room's event is another key."""
    async with serving(server_on(redis.url, recovery=True)) as address:
        ann = await visit(address.port, "red", "blue")
        for _ in range(2):
            async with Emitter(redis.url, recovery=RecoverySettings()) as emitter:
                await emitter.to("red").once("save-1").emit("saved", 1)
        async with Emitter(redis.url, recovery=True) as emitter:
            await emitter.to("blue").once("save-1").emit("saved", 2)
        assert [await ann.next(), await ann.next()] == [["saved", 1], ["saved", 2]]
        await ann.hears_nothing()


async def test_a_room_that_is_named_twice_gets_an_event_once(redis: RedisServer, visit: Visit) -> None:
    """Its name twice is no other key."""
    async with serving(server_on(redis.url, recovery=True)) as address, Emitter(redis.url, recovery=True) as emitter:
        ann = await visit(address.port, "red")
        for emit_to in (emitter.to("red", "red"), emitter.to("red").to("red"), emitter.to("red")):
            await emit_to.once("save-1").emit("saved", 1)
        assert await ann.next() == ["saved", 1]
        await ann.hears_nothing()


async def test_an_emit_whose_confirmation_is_lost_is_repeated_and_published_once(
    redis: RedisServer, visit: Visit
) -> None:
    """Redis has it, and the emitter does not know. The emitter sends it again by itself, too."""
    async with serving(server_on(redis.url, recovery=True)) as address, relaying(redis.port) as relay:
        ann = await visit(address.port, "red")
        url = f"redis://127.0.0.1:{relay.port}"
        async with Emitter(url, recovery=True) as emitter:
            await emitter.to("red").emit("n", 1)
            async with Emitter(url, recovery=True, timeout=0.5) as hasty:
                await hasty.to("red").emit("n", 2)
                relay.is_deaf = True
                with pytest.raises(EmitFailed):
                    await hasty.to("red").once("save-1").emit("n", 3)
                assert [await ann.next() for _ in range(3)] == [["n", 1], ["n", 2], ["n", 3]]
                relay.is_deaf = False
                relay.cut()
                await emitter.to("red").once("save-1").emit("n", 3)
                await emitter.to("red").once("save-1").emit("n", 3)
            await emitter.to("red").emit("n", 4)
        assert await ann.next() == ["n", 4]
        await ann.hears_nothing()


async def test_settings_that_differ_from_those_of_the_servers_are_refused(redis: RedisServer, visit: Visit) -> None:
    """Nothing is sent. The same settings are accepted."""
    own = RecoverySettings(max_age=60.5, room_events=3)
    async with serving(server_on(redis.url, recovery=own)) as address:
        ann = await visit(address.port, "red")
        async with Emitter(redis.url, recovery=RecoverySettings()) as other:
            for _ in range(2):
                with pytest.raises(ValueError, match=r"max_age is 7200 here and 60\.5 there, room_events is 10000 "):
                    await other.to("red").emit("n", 1)
        async with Emitter(redis.url, recovery=own) as same:
            await same.to("red").emit("n", 2)
        assert await ann.next() == ["n", 2]


async def test_events_of_an_emitter_are_kept_as_long_as_the_servers_keep_theirs(redis: RedisServer) -> None:
    """Also after the servers have got other settings."""
    async with Emitter(redis.url, recovery=True) as emitter:
        for kept in (3, 2):
            async with serving(server_on(redis.url, recovery=RecoverySettings(room_events=kept))):
                await until(lambda kept=kept: f" {kept} ".encode() in (redis.do("HGET", LOG, "bounds") or b""))
                for number in range(5):
                    await emitter.to("red").emit("n", number)
                assert redis.do("XLEN", STREAM) == kept


async def test_the_events_of_an_emitter_live_as_long_as_the_servers_want(redis: RedisServer) -> None:
    own = RecoverySettings(max_age=86_400)
    async with serving(server_on(redis.url, recovery=own)), Emitter(redis.url, recovery=True) as emitter:
        await until(lambda: redis.do("HGET", LOG, "bounds"))
        await emitter.to("red").emit("n", 1)
        for kind in ("stream", "index"):
            assert redis.do("TTL", STREAM.replace("stream", kind)) >= 86_400


async def test_an_emitter_that_keeps_nothing_on_servers_that_do_warns_once(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(server_on(redis.url, recovery=True)), Emitter(redis.url) as emitter:
        await emitter.volatile.emit("n", 1)
        assert caplog.messages == []
        for number in range(2):
            await emitter.emit("n", number)
    assert len([text for text in caplog.messages if "recovery=True" in text]) == 1


async def test_an_emitter_that_keeps_events_for_servers_that_do_not_warns_once(
    redis: RedisServer, visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    """The events are sent. Servers with recovery may start later: then their settings count."""
    async with Emitter(redis.url, recovery=RecoverySettings()) as emitter:
        async with serving(server_on(redis.url)) as address:
            ann = await visit(address.port)
            for number in range(2):
                await emitter.emit("n", number)
            assert [(await ann.next())[:2] for _ in range(2)] == [["n", 0], ["n", 1]]
        assert len([text for text in caplog.messages if "no server keeps events" in text]) == 1
        async with serving(server_on(redis.url, recovery=RecoverySettings(room_events=3))):
            await until(lambda: redis.do("HGET", LOG, "bounds"))
            with pytest.raises(ValueError, match="room_events is 10000 here and 3 there"):
                await emitter.emit("n", 2)
    assert len(caplog.messages) == 1


async def test_redis_forgets_a_closed_emitter(redis: RedisServer) -> None:
    """Redis knows a bounded number of senders: scripts that run each minute must not push out the servers."""
    async with Emitter(redis.url, recovery=True) as emitter:
        await emitter.emit("n", 1)
        assert senders(redis) == 1
    assert senders(redis) == 0


def senders(redis: RedisServer, log: str = "synkora:socket.io:{log:/}:log") -> int:
    fields = redis.do("HKEYS", log)
    assert b"number" in fields
    return sum(field.startswith(b"sender:") for field in fields)


async def test_messages_are_those_of_nodejs_emitter() -> None:
    """The same values on the same channels, in MessagePack or in JSON."""
    async with AsyncExitStack() as stack:
        redis, node = await redis_and_node(stack)
        await node.ask("emitter", name="theirs", url=redis.url)
        ours = await stack.enter_async_context(Emitter(redis.url))
        heard: list[tuple[bytes, object]] = []

        def hear(channel: bytes, message: bytes) -> None:
            decode = msgspec.json.decode if message.startswith(b"{") else msgspec.msgpack.decode
            heard.append((channel, decode(message)))

        link = Link(RedisUrl.parse(redis.url))
        stack.push_async_callback(link.close)
        for channel in (b"socket.io#/#", b"socket.io#/#red#", b"socket.io-request#/#", b"socket.io#/chat#"):
            link.subscribe(channel, partial(hear, channel))
        assert await link.start(5)

        async def same(chain: list[list[Any]]) -> bool:
            await node.ask("walk", name="theirs", chain=chain)
            await until(lambda: len(heard) == 2)
            first, second = heard
            heard.clear()
            return first == second

        await ours.emit("n", 1, {"a": [None, 1.5, "é"]}, b"bytes")
        assert await same([["emit", "n", 1, {"a": [None, 1.5, "é"]}, b"bytes"]])
        await ours.to("red").except_("blue").volatile.emit("n")
        assert await same([["to", "red"], ["except", "blue"], ["volatile"], ["emit", "n"]])
        await ours.to("red", "blue").compress(False).emit("n")
        assert await same([["to", ["red", "blue"]], ["compress", False], ["emit", "n"]])
        await ours.of("/chat").emit("n")
        assert await same([["of", "/chat"], ["emit", "n"]])
        await ours.in_("red").sockets_join("a", "b")
        assert await same([["in", "red"], ["socketsJoin", ["a", "b"]]])
        await ours.in_("red").sockets_leave("a")
        assert await same([["in", "red"], ["socketsLeave", "a"]])
        await ours.in_("red").disconnect_sockets(close=True)
        assert await same([["in", "red"], ["disconnectSockets", True]])
        await ours.server_side_emit("n", 1, "text")
        assert await same([["serverSideEmit", "n", 1, "text"]])


async def test_events_of_nodejs_emitter_are_not_kept(visit: Visit) -> None:
    """As docs/emitters.md says: clients get them, and one that was away does not."""
    async with AsyncExitStack() as stack:
        redis, node = await redis_and_node(stack)
        await node.ask("emitter", name="theirs", url=redis.url)
        address = await stack.enter_async_context(serving(server_on(redis.url, recovery=True)))
        relay = await stack.enter_async_context(relaying(address.port))
        ours = await stack.enter_async_context(Emitter(redis.url, recovery=True))
        ann, ben = await visit(relay.port, "red"), await visit(address.port, "red")
        await ours.to("red").emit("ours", 1)
        await node.ask("walk", name="theirs", chain=[["to", "red"], ["emit", "theirs", 1]])
        assert [await ann.next(), await ann.next()] == [["ours", 1], ["theirs", 1]]
        relay.is_stuck = True
        relay.cut()
        await until(lambda: ann.changes.items[-1][0] == "disconnect")
        await node.ask("walk", name="theirs", chain=[["to", "red"], ["emit", "theirs", 2]])
        await until(lambda: len(ben.events.items) == 3)
        await ours.to("red").emit("ours", 2)
        first = ann.id
        relay.is_stuck = False
        assert await ann.next() == ["ours", 2]
        assert ann.id == first
        assert [await ben.next() for _ in range(4)] == [["ours", 1], ["theirs", 1], ["theirs", 2], ["ours", 2]]


async def test_without_redis_an_emit_fails_within_its_timeout(recovery: bool) -> None:
    async with Emitter(f"redis://127.0.0.1:{free_port()}", recovery=recovery, timeout=0.1) as emitter:
        for _ in range(2):
            with pytest.raises(EmitFailed, match="nothing listens"):
                await emitter.to("red").emit("n", 1)
        with pytest.raises(EmitFailed, match="nothing listens"):
            await emitter.disconnect_sockets()


async def test_a_silent_redis_fails_an_emit_within_its_timeout(redis: RedisServer, recovery: bool) -> None:
    async with Emitter(redis.url, recovery=recovery, timeout=0.1) as emitter:
        await emitter.emit("n", 1)
        redis.pause()
        try:
            with pytest.raises(EmitFailed, match="did not answer within"):
                await emitter.emit("n", 2)
        finally:
            redis.resume()


async def test_it_reconnects(redis: RedisServer, visit: Visit) -> None:
    async with serving(server_on(redis.url)) as address, relaying(redis.port) as relay:
        ann = await visit(address.port)
        async with Emitter(f"redis://127.0.0.1:{relay.port}") as emitter:
            await emitter.emit("n", 1)
            relay.cut()
            await until(lambda: relay.connections == 2)
            await emitter.emit("n", 2)
            assert [await ann.next(), await ann.next()] == [["n", 1], ["n", 2]]


async def test_a_kept_event_reaches_clients_of_a_redis_that_is_full(redis: RedisServer, visit: Visit) -> None:
    async with serving(server_on(redis.url, recovery=True)) as address, Emitter(redis.url, recovery=True) as emitter:
        ann = await visit(address.port)
        redis.do("CONFIG", "SET", "maxmemory", "1")
        await emitter.emit("n", 1)
        assert await ann.next() == ["n", 1]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"url": "http://127.0.0.1:3001"}, "needs a token"),
        ({"url": "http://user@127.0.0.1", "token": "t"}, "such as http://127.0.0.1:3001"),
        ({"url": "redis://127.0.0.1", "token": "t"}, "token is for an emitter over HTTP"),
        ({"url": "amqp://127.0.0.1"}, "the URL of an emitter must begin with redis://"),
        ({"url": "redis://127.0.0.1", "timeout": 0}, "timeout is a number of seconds above 0"),
        ({"url": "redis://127.0.0.1", "recovery": 1}, "recovery is True, False or a RecoverySettings"),
    ],
)
async def test_invalid_arguments_are_refused_at_once(given: dict[str, Any], problem: str) -> None:
    with pytest.raises((ValueError, TypeError), match=problem):
        Emitter(**given)


async def test_invalid_calls_are_refused_before_anything_is_sent() -> None:
    """No Redis is needed for that."""
    emitter = Emitter("redis://127.0.0.1:1")
    with pytest.raises(ValueError, match="once needs an event that is kept"):
        await emitter.once("a").emit("n")
    for key in ("", "a b", "é", "x" * 201):
        with pytest.raises(ValueError, match="1 to 200 characters"):
            emitter.once(key)
    with pytest.raises(ValueError, match="is no namespace"):
        emitter.of("/a#b")
    with pytest.raises(TypeError, match="the name of a room is a text"):
        emitter.to(5)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ValueError, match="connect' is a word of"):
        await emitter.emit("connect")
    with pytest.raises(TypeError):
        await emitter.emit("n", object())
    with pytest.raises(ValueError, match="a traceparent is a text such as 00-"):
        await emitter.emit("n", traceparent="x")
    with pytest.raises(TypeError, match="traceparent"):
        await emitter.emit("n", traceparent=5)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(AttributeError, match="an emitter gets no answers"):
        _ = emitter.fetch_sockets  # type: ignore[attr-defined]  # the mistake
    with pytest.raises(AttributeError, match="disconnect_sockets"):
        _ = emitter.disconnectSockets  # type: ignore[attr-defined]  # the mistake
    await emitter.close()


async def test_emitters_of_one_connection(redis: RedisServer) -> None:
    """What `to` and `of` return shares the connection, also if many emit at once at the beginning."""
    async with Emitter(redis.url) as emitter:
        await asyncio.gather(*(emitter.to(f"room {number}").emit("n") for number in range(20)))
        assert str(redis.do("CLIENT", "LIST")).count("name=synkora-") == 1


def test_running_redis_is_used_by_its_unix_socket() -> None:
    async def emit(url: str) -> None:
        async with Emitter(url, recovery=True) as emitter:
            await emitter.emit("n", 1)

    with running_redis() as redis:
        asyncio.run(emit(f"unix://{redis.socket}"))
        assert redis.do("XLEN", "synkora:socket.io:{log:/}:stream:") == 1


async def test_a_redis_cluster_needs_the_rights_of_the_servers_alone(visit: Visit) -> None:
    """Those of docs/scaling.md, also to let Redis forget the emitter."""
    with running_cluster() as cluster:
        for node in cluster.nodes:
            rights = (*RIGHTS.split(), "+cluster|slots", "~{synkora:*")
            node.do("ACL", "SETUSER", "synkora", "on", ">secret", *rights)
        url = cluster.url.replace("://", "://synkora:secret@")
        server = server_on(url, recovery=True)
        async with serving(server) as address:
            ann = await visit(address.port, "red")
            async with Emitter(url, recovery=True) as emitter:
                await emitter.to("red").once("save-1").emit("n", 1)
                await emitter.to("red").volatile.emit("n", "volatile")
                await emitter.in_("red").sockets_leave("red")
            assert [await ann.next(), await ann.next()] == [["n", 1], ["n", "volatile"]]
            log = "{synkora:socket.io}:{log:/}:log"
            owner = cluster.owner(cluster.nodes[0].do("CLUSTER", "KEYSLOT", log))
            assert owner is not None
            assert senders(owner, log) == 0
