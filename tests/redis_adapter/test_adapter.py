"""The Redis adapter: the contract of every adapter, and its own behaviour."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from msgspec import Raw, json, msgpack
from tests.contracts.adapter import AdapterContract
from tests.contracts.crowds import NAMES, Cluster, Crowd, crowd_in
from tests.redis_adapter.clusters import adapter_of, cluster_of, link_of, server_on, settle
from tests.support.links import MakeLink, started
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora import AckTimeout
from synkora.engine.message import Message
from synkora.redis.link import Link
from synkora.redis_adapter.socket_codec import MAX_HANDSHAKES
from synkora.testing import connect


class TestRedisAdapter(AdapterContract):
    @pytest.fixture(params=[2, 3], ids=["two", "three"])
    async def cluster(self, request: pytest.FixtureRequest, make_link: MakeLink) -> AsyncIterator[Cluster]:
        async with cluster_of(request.param, make_link) as cluster:
            yield cluster


@pytest.fixture
async def crowd(make_link: MakeLink) -> AsyncIterator[Crowd]:
    """Two servers: alice and carol on the first, bob and dave on the second."""
    async with cluster_of(2, make_link, timeout=0.3) as cluster, crowd_in(cluster) as crowd:
        yield crowd


@pytest.fixture
async def spy(make_link: MakeLink) -> Link:
    """A link without a server."""
    return await started(make_link())


async def reached(crowd: Crowd) -> list[list[str]]:
    """The clients of each server that an event reaches, if none has received anything before."""
    got = []
    for server in crowd.cluster.servers:
        server.emit("x")
        got.append(await crowd.who_gets(["x"], server))
    return got


async def test_a_server_subscribes_only_rooms_with_local_members(crowd: Crowd, redis: RedisServer) -> None:
    """It gets no messages for other rooms, and Redis has no channel of an empty room."""

    def listeners(room: str) -> int:
        count: int = redis.do("PUBSUB", "NUMSUB", f"socket.io#/#{room}#")[1]
        return count

    assert [listeners(room) for room in ("red", "blue", "nowhere")] == [2, 2, 0]
    assert [listeners(socket.id) for socket in crowd.sockets.values()] == [1, 1, 1, 1]
    crowd.sockets["alice"].leave("red")
    await until(lambda: listeners("red") == 1)
    crowd.sockets["bob"].disconnect(close=True)
    await until(lambda: (listeners("red"), listeners("blue")) == (0, 1))
    assert listeners(crowd.sockets["bob"].id) == 0


async def test_the_same_room_under_another_prefix_is_another(make_link: MakeLink, redis: RedisServer) -> None:
    """Applications that share a Redis do not get each other's events."""
    async with (
        cluster_of(1, make_link, prefix="mine") as mine,
        cluster_of(1, make_link) as other,
        crowd_in(mine) as crowd,
        crowd_in(other) as strangers,
    ):
        assert redis.do("PUBSUB", "NUMSUB", "mine#/#red#") == [b"mine#/#red#", 1]
        other.servers[0].to("red").emit("x")
        assert await strangers.who_gets(["x"], other.servers[0]) == ["alice", "bob"]
        assert await mine.namespaces[0]._core.adapter.server_count() == 1
        assert await crowd.who_gets(["x"], mine.servers[0]) == []


async def test_a_namespace_that_could_be_another_ones_room_is_refused(make_link: MakeLink) -> None:
    """The name of its channel would be a room's channel."""
    with pytest.raises(ValueError, match="has no #"):
        server_on(make_link()).of("/a#b")


async def test_the_flags_of_an_emit_reach_the_other_server(
    crowd: Crowd, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a broadcast and of a call: compression and volatility."""
    first, _ = crowd.cluster.servers
    sent: list[tuple[bool, bool]] = []

    class Recorder:
        writable = True

        def send(self, messages: list[Message]) -> None:
            sent.extend((message.volatile, message.compress) for message in messages)

    monkeypatch.setattr(crowd.sockets["bob"]._session.outbox, "carrier", Recorder())
    flagged = [first.to("red"), first.to("red").volatile, first.to("red").compress(False)]
    for each in (*flagged, flagged[2].volatile):
        sent.clear()
        each.emit("x")
        calling = asyncio.create_task(each.call("ask", timeout=0.1))
        await until(lambda: len(sent) == 2)
        assert sent == [(each._is_volatile, each._is_compressed)] * 2
        await asyncio.wait((calling,))
        assert isinstance(calling.exception(), AckTimeout)


async def test_without_redis_each_server_continues(crowd: Crowd, redis: RedisServer) -> None:
    """With its own clients. Operations that need the others fail immediately with a reason, until Redis is back."""
    first, second = crowd.cluster.servers
    redis.kill()
    await until(lambda: not link_of(first).is_up and not link_of(second).is_up)
    for server in crowd.cluster.servers:
        server.emit("x")
        server.emit("end")
        for name in crowd.beside(server):
            assert [await crowd.clients[name].event() for _ in range(2)] == [["x"], ["end"]]
        for refused in (
            server.fetch_sockets(),
            server.of("/").all_rooms(),
            server.of("/")._core.adapter.server_count(),
        ):
            with pytest.raises(TimeoutError, match="the other servers cannot be"):
                await refused
        with pytest.raises(AckTimeout, match="the other servers cannot be reached"):
            await server.of("/").server_side_call("hello")
        server.to("red").sockets_join("green")
    assert crowd.members("green") == ["alice", "bob"]
    asking = asyncio.create_task(first.call("ask", timeout=0.5))
    for name in ("alice", "carol"):
        await crowd.answer(name, "ask", name)
    with pytest.raises(AckTimeout) as failed:
        await asking
    assert sorted(failed.value.answers) == ["alice", "carol"]
    redis.start()
    await until(lambda: link_of(first).is_up and link_of(second).is_up)
    first.to("green").emit("x")
    assert await crowd.who_gets(["x"], first) == ["alice", "bob"]
    assert len(await second.fetch_sockets()) == len(NAMES)


async def test_a_silent_server_is_reported(crowd: Crowd, spy: Link) -> None:
    """The others' answers are discarded, since the missing server is unknown."""
    spy.subscribe(b"socket.io-request#/#", lambda message: None)
    await spy.call("PING")
    server = crowd.cluster.servers[0]
    assert await server.of("/")._core.adapter.server_count() == 3
    with pytest.raises(TimeoutError, match=r"1 of 2 answers within 0\.3 s"):
        await server.fetch_sockets()
    with pytest.raises(TimeoutError, match=r"1 of 2 answers within 0\.3 s"):
        await server.of("/").all_rooms()


async def test_a_subscriber_of_all_channels_is_not_a_server(crowd: Crowd, redis: RedisServer) -> None:
    """Operators' tools subscribe by a pattern, and are not expected to answer."""
    with socket.create_connection(("127.0.0.1", redis.port)) as observer:
        observer.sendall(b"PSUBSCRIBE *\r\n")
        await until(lambda: redis.do("PUBSUB", "NUMPAT") == 1)
        assert len(await crowd.cluster.servers[0].fetch_sockets()) == len(NAMES)


async def test_a_search_may_contain_a_lone_surrogate(crowd: Crowd) -> None:
    """JSON can represent it, and no room has such a name."""
    first = crowd.cluster.servers[0]
    assert await adapter_of(first).fetch_sockets(("\ud800",), ()) == []
    assert not adapter_of(first)._requests._waiting


CHANNELS = ["socket.io#/#", "socket.io#/#red#", "socket.io-request#/#", "socket.io-response#/#"]
HOSTILE = [
    b"",
    b"\xff" * 100,
    b"\x91" * 100_000,
    b'{"type":6,"data":' + b"[" * 100_000,
    msgpack.encode(["a", {"type": 2, "data": ["disconnect"]}, {}]),
    msgpack.encode(["a", {"type": 1, "data": ["x"]}, {}]),
    msgpack.encode(["a", {"type": 2, "data": ["x", b"", {"_placeholder": True, "num": 9}]}, {}]),
    b'{"type":2,"rooms":["red"]}',
    b'{"type":4,"close":true}',
    b'{"type":99}',
    b'{"type":6,"data":"hello"}',
    b'{"type":6,"data":[]}',
    b'{"type":7,"requestId":"a"}',
    msgpack.encode({"type": 7, "requestId": "a", "packet": {"type": 2, "data": []}, "opts": {}}),
    msgpack.encode({"type": 7, "requestId": "a", "packet": {"type": 2, "id": '["text"]'}, "opts": {}}),
    b'{"requestId":"unknown","sockets":[1]}',
]


@pytest.mark.parametrize("message", HOSTILE, ids=[str(message[:24]) for message in HOSTILE])
async def test_invalid_messages_are_ignored(crowd: Crowd, spy: Link, message: bytes) -> None:
    """On any channel: clients stay, no client gets the message, and the next message works."""
    for channel in CHANNELS:
        spy.publish(channel.encode(), message)
    await settle([spy, *(link_of(server) for server in crowd.cluster.servers)])
    assert await reached(crowd) == [NAMES, NAMES]
    for server in crowd.cluster.servers:
        assert 2 <= adapter_of(server).unreadable <= 3


async def test_a_message_of_another_namespace_is_not_ours(crowd: Crowd, spy: Link) -> None:
    spy.publish(b"socket.io#/#", msgpack.encode(["a", {"type": 2, "data": ["x"], "nsp": "/other"}, {}]))
    await settle([spy, *(link_of(server) for server in crowd.cluster.servers)])
    assert await reached(crowd) == [NAMES, NAMES]


async def test_an_invalid_answer_is_skipped(crowd: Crowd, spy: Link) -> None:
    """A socket without an id is skipped. The others are returned."""

    def answer(message: bytes) -> None:
        request = json.decode(message)
        response = {"requestId": request["requestId"], "sockets": [{}, 7, {"id": "s", "rooms": [5], "data": 1}]}
        spy.publish(b"socket.io-response#/#" + request["uid"].encode() + b"#", json.encode(response))

    spy.subscribe(b"socket.io-request#/#", answer)
    await spy.call("PING")
    found = {socket.id: socket for socket in await crowd.cluster.servers[0].fetch_sockets()}
    assert set(found) == {"s"} | {socket.id for socket in crowd.sockets.values()}
    assert (set(found["s"].rooms), found["s"].data, found["s"].handshake.address) == ({"5"}, {}, "")
    assert adapter_of(crowd.cluster.servers[0]).unreadable == 2


async def test_data_that_json_cannot_hold_is_not_described(crowd: Crowd) -> None:
    crowd.sockets["bob"].data.update(name="Bob", lock=asyncio.Lock())
    (found,) = await crowd.cluster.servers[0].to(crowd.sockets["bob"].id).fetch_sockets()
    assert found.data == {"name": "Bob"}


async def test_events_that_other_servers_cannot_handle_are_sent_locally(crowd: Crowd) -> None:
    """Nesting too deep for MessagePack's encoder reaches the clients of this server, and is counted."""
    first = crowd.cluster.servers[0]
    deep = "[" * 10_000 + "]" * 10_000
    first.to("red").emit("x", Raw(deep.encode()), b"data")
    text, data = await crowd.clients["alice"].receive_many(2)
    assert (text, data) == (f'451-["x",{deep},{{"_placeholder":true,"num":0}}]', b"data")
    assert await reached(crowd) == [NAMES, NAMES]
    assert adapter_of(first).unwritable == 1


async def test_a_poll_of_another_server_ends(crowd: Crowd, spy: Link) -> None:
    """After the timeout in the message, late acks are ignored."""
    packet = {"type": 2, "data": ["ask"], "nsp": "/"}
    heard: list[bytes] = []
    spy.subscribe(b"socket.io-response#/#spyspy#", heard.append)
    for flags in ({"timeout": 20}, {"timeout": 1e12}, {"timeout": "soon"}, {}):
        opts = {"rooms": ["red"], "except": ["blue"], "flags": flags}
        request = {"uid": "spyspy", "requestId": "r", "type": 7, "packet": packet, "opts": opts}
        spy.publish(b"socket.io-request#/#", msgpack.encode(request))
    acks = crowd.cluster.namespaces[0]._core.adapter.acks
    await until(lambda: len(heard) == 8 and len(acks) == 3)
    for _ in range(4):
        await crowd.answer("alice", "ask", 1)
    await until(lambda: len(heard) == 11 and len(acks) == 0)


async def test_large_payloads_of_connect_do_not_end_the_link(make_link: MakeLink) -> None:
    """Beyond some megabytes, clients' data is left out: Redis would end the connection otherwise."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(cluster_of(2, make_link))
        first, second = cluster.servers
        for _ in range(80):
            await stack.enter_async_context(connect(first, auth={"lists": [[]] * 20_000}))
        described = [socket.handshake for socket in await second.fetch_sockets()]
        assert len(described) == 80
        assert MAX_HANDSHAKES - 100_000 < sum(len(handshake.payload) for handshake in described) < MAX_HANDSHAKES
        assert all(handshake.issued for handshake in described)
        assert [link_of(server).reconnects for server in cluster.servers] == [0, 0]


async def test_an_answer_that_redis_would_not_take_is_not_sent(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The asking server learns that one is missing, and the log has the reason."""
    monkeypatch.setattr("synkora.redis_adapter.responder.MAX_RESPONSE", 100)
    with pytest.raises(TimeoutError):
        await crowd.cluster.servers[0].fetch_sockets()
    assert "answer_too_large" in caplog.text
