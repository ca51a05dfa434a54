"""Other instances, as admins of this one are told of them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.app.admin_ui.admins import INTERVAL, TOKEN, Admin, visitor
from tests.collaboration.site import SECRET, token_of
from tests.support.clients import socketio
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import Address, serving

from synkora.app.admin_ui.messages import Statistics
from synkora.app.admin_ui.serve import NAMESPACE, serve_admin_ui
from synkora.app.cluster import Cluster
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.service import Collaboration
from synkora.identity.handshake import Authenticator
from synkora.identity.tokens import Keyring
from synkora.redis.link import Link
from synkora.redis.url import RedisUrl
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.formats import AdapterResponse, RequestType, read_request, write
from synkora.sockets.namespace import Namespace
from synkora.sockets.server import SocketServer

STATISTICS = "synkora:statistics"
SOCKETS = "synkora:sockets"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with running_redis() as redis:
        yield redis


@asynccontextmanager
async def instance(redis: RedisServer, prepare: Callable[[Namespace], object] | None = None) -> AsyncIterator[Address]:
    """An instance with the admin UI, or one of which `prepare` makes what it is in the admins' namespace."""
    cluster = Cluster(redis.url, "socket.io", FailureBackoff(0))
    server = SocketServer(adapter=cluster.adapter)
    collaboration = Collaboration(server.of("/"), Authenticator(Keyring(SECRET)), presence=cluster.presence)
    if prepare is None:
        serve_admin_ui(server, collaboration, TOKEN, interval=INTERVAL)
    else:
        prepare(server.of(NAMESPACE))
    async with serving(server, around=cluster) as address:
        yield address


@asynccontextmanager
async def admin_of(address: Address) -> AsyncIterator[Admin]:
    """An admin of one instance, with a session that another may have begun."""
    async with visitor(address) as someone:
        assert "sid" in await someone.sign_in(password=TOKEN)
        yield someone


async def test_admins_of_one_are_told_of_all(redis: RedisServer) -> None:
    """Of those who are there first and who come later, with their rooms; a session holds on each."""
    async with instance(redis) as first, instance(redis) as second, admin_of(first) as someone:
        (session,) = await someone.told("session")
        async with visitor(second) as again:
            assert "sid" in await again.sign_in(sessionId=session)
        await someone.told("all_sockets")
        async with socketio(second, {"token": token_of("Bob")}) as bob:
            sid = (await bob.event())[1]["socketId"]
            while (connected := (await someone.told("socket_connected"))[0])["id"] != sid:
                pass
            assert connected["data"] == {"userId": "bob", "userName": "Bob"}
            await bob.emit("join-project", "p")
            while (await someone.told("room_joined"))[:3] != ["/", "p", sid]:
                pass
            await someone.emit("_disconnect", "/", True, "p")
            await bob.closed()
        while (await someone.told("socket_disconnected"))[:2] != ["/", sid]:
            pass


def is_silent(_: Namespace) -> None:
    """Be an instance that answers no question."""


def is_of_another_version(namespace: Namespace) -> None:
    """Be an instance that answers other things."""
    namespace.on_server_side(STATISTICS, lambda: {"serverId": 7})
    namespace.on_server_side(SOCKETS, lambda: "many")


def fails(namespace: Namespace) -> None:
    """Be an instance that fails at the second question, and has a socket that nobody hears of."""
    namespace.on_server_side(STATISTICS, lambda: Statistics("other#1", "other", 1, 2.5, 1, 0, [], {}))
    namespace.on_server_side(SOCKETS, lambda: 1 / 0)


@pytest.mark.parametrize(("other", "told"), [(is_silent, 1), (is_of_another_version, 1), (fails, 2)])
async def test_one_that_does_not_answer_keeps_nothing_from_admins(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, other: Callable[[Namespace], object], told: int
) -> None:
    """They are told of the others, again and again."""
    monkeypatch.setattr("synkora.app.admin_ui.watch._PATIENCE", 0.2)
    async with instance(redis) as first, instance(redis, other), admin_of(first) as someone:
        (sockets,) = await someone.told("all_sockets")
        assert [socket["nsp"] for socket in sockets] == [NAMESPACE]
        seen = {(await someone.told("server_stats"))[0]["serverId"] for _ in range(3)}
        assert len(seen) == told


@asynccontextmanager
async def odd_instance(redis: RedisServer, told: object) -> AsyncIterator[list[Any]]:
    """One with a socket whose data is what no server of ours would tell; gives how often it has told it."""
    link, channels = Link(RedisUrl.parse(redis.url)), Channels.of("socket.io", NAMESPACE)
    sockets = [{"id": "odd", "clientId": "c", "transport": "polling", "nsp": "/", "handshake": {}, "rooms": []}]
    answers: dict[str, Any] = {
        STATISTICS: msgspec.to_builtins(Statistics("odd#1", "odd", 1, 2.5, 1, 0, [], {})),
        SOCKETS: [{**socket, "data": {"x": told}} for socket in sockets],
    }
    asked = []

    def answer(message: bytes) -> None:
        request = read_request(message)
        asked.append(request.data[0])
        response = AdapterResponse(
            type=RequestType.SERVER_SIDE_EMIT, request_id=str(request.request_id), data=answers[asked[-1]]
        )
        link.publish(channels.responses_to(str(request.uid)), write(response))

    link.subscribe(channels.requests, answer)
    assert await link.start(5)
    yield asked
    await link.close()


@pytest.mark.parametrize("told", [{(1, 2): 1}, {None: 1}, float("nan"), b"\x00"], ids=repr)
async def test_what_json_cannot_hold_ends_nothing(redis: RedisServer, told: object) -> None:
    """Admins are told of all else, look after look, whatever an instance says in MessagePack."""
    async with instance(redis) as first, odd_instance(redis, told) as asked, admin_of(first) as someone:
        seen: set[str] = set()
        while asked.count(SOCKETS) < 3 or "odd#1" not in seen:
            (stats,) = await someone.told("server_stats")
            seen.add(stats["serverId"])
    assert len(seen) == 2


async def test_without_redis_admins_are_told_of_their_own_instance(redis: RedisServer) -> None:
    """And nothing waits for Redis."""
    async with instance(redis) as first:
        redis.kill()
        async with admin_of(first) as someone:
            (sockets,) = await someone.told("all_sockets")
            assert len(sockets) == 1
            for _ in range(3):
                await someone.told("server_stats")
