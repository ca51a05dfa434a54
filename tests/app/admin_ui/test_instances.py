"""What admins of one instance get about other instances."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.app.admin_ui.admins import INTERVAL, TOKEN, Admin, visitor
from tests.collaboration.site import SECRET, token_of
from tests.support.clients import socketio
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import Address, serving

from synkora.app.admin_ui.messages import SOCKETS, STATISTICS, Statistics
from synkora.app.admin_ui.serve import NAMESPACE, serve_admin_ui
from synkora.app.cluster import Cluster
from synkora.app.instance import Instance
from synkora.cluster.instance_rpc import InstanceRpc
from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring
from synkora.protocol.json import encode
from synkora.sockets.server import SocketServer

STATISTICS_OF_OTHER = Statistics("other#1", "other", 1, 2.5, 1, 0, [], {})


@asynccontextmanager
async def instance(
    redis: RedisServer, prepare: Callable[[InstanceRpc], object] | None = None
) -> AsyncIterator[Address]:
    """An instance with the admin UI, or one whose answers `prepare` sets."""
    cluster = Cluster(redis.url, "socket.io", FailureBackoff(0))
    server = SocketServer(adapter=cluster.adapter)
    collaboration = Collaboration(server.of("/"), Authenticator(Keyring(SECRET)), presence=cluster.presence)
    if prepare is None:
        serve_admin_ui(Instance(server, collaboration, cluster), TOKEN, interval=INTERVAL)
    else:
        prepare(cluster.rpc)
    async with serving(server, around=cluster) as address:
        yield address


@asynccontextmanager
async def admin_of(address: Address) -> AsyncIterator[Admin]:
    """An admin of one instance, optionally with a session from another one."""
    async with visitor(address) as someone:
        assert "sid" in await someone.sign_in(password=TOKEN)
        yield someone


async def test_admins_get_the_statistics_of_all_instances(redis: RedisServer) -> None:
    """Including existing and new clients with their rooms. A session is valid on each instance."""
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


def is_silent(_: InstanceRpc) -> None:
    """Let the instance answer no question."""


def answers(statistics: bytes, sockets: bytes) -> Callable[[InstanceRpc], None]:
    """Let the instance give these answers to the two questions."""

    async def answer_statistics(_: bytes) -> bytes:
        return statistics

    async def answer_sockets(_: bytes) -> bytes:
        return sockets

    def prepare(rpc: InstanceRpc) -> None:
        rpc.on(STATISTICS.name, answer_statistics)
        rpc.on(SOCKETS.name, answer_sockets)

    return prepare


def fails(rpc: InstanceRpc) -> None:
    """An instance that fails at the second request, and has a socket that is never reported."""

    async def fail(_: bytes) -> bytes:
        raise ZeroDivisionError

    answers(encode(STATISTICS_OF_OTHER), b"[]")(rpc)
    rpc.on(SOCKETS.name, fail)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        pytest.param(is_silent, 1, id="silent"),
        pytest.param(answers(b'{"serverId":7}', b'"many"'), 1, id="another version"),
        pytest.param(answers(encode(STATISTICS_OF_OTHER), b'[{"data":{"x":1}}]'), 2, id="other sockets"),
        pytest.param(fails, 2, id="fails"),
    ],
)
async def test_a_silent_instance_does_not_delay_admins(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, other: Callable[[InstanceRpc], object], told: int
) -> None:
    monkeypatch.setattr("synkora.app.all_instances.WITHIN", 0.2)
    async with instance(redis) as first, instance(redis, other), admin_of(first) as someone:
        (sockets,) = await someone.told("all_sockets")
        assert [socket["nsp"] for socket in sockets] == [NAMESPACE]
        seen: set[str] = set()
        async with asyncio.timeout(PATIENCE):
            while len(seen) < told:
                seen.add((await someone.told("server_stats"))[0]["serverId"])
        seen |= {(await someone.told("server_stats"))[0]["serverId"] for _ in range(3)}
        assert len(seen) == told


async def test_without_redis_admins_get_their_own_instance(redis: RedisServer) -> None:
    async with instance(redis) as first:
        redis.kill()
        async with admin_of(first) as someone:
            (sockets,) = await someone.told("all_sockets")
            assert len(sockets) == 1
            for _ in range(3):
                await someone.told("server_stats")
