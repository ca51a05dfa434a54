"""Servers of library users, joined by `RedisAdapter.from_url`."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import socketio  # type: ignore[import-untyped]  # python-socketio has no type information
import uvicorn
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import Address, running, serving, until

from synkora import Namespace, RedisAdapter, SocketServer
from synkora.testing import connect


@asynccontextmanager
async def joined(*servers: SocketServer) -> AsyncIterator[list[Any]]:
    async with AsyncExitStack() as stack:
        guests: list[Any] = []
        for server in servers:
            server.of("/")
            address: Address = await stack.enter_async_context(serving(server))
            guests.append(socketio.AsyncSimpleClient())
            await guests[-1].connect(address.http, transports=["websocket"])
            stack.push_async_callback(guests[-1].disconnect)
        yield guests


def links(redis: RedisServer) -> int:
    return str(redis.do("CLIENT", "LIST")).count("name=synkora-")


async def test_two_servers_are_one(redis: RedisServer) -> None:
    """A broadcast reaches clients of both, and each finds the sockets of the other."""
    servers = [SocketServer(adapter=RedisAdapter.from_url(redis.url)) for _ in range(2)]
    async with joined(*servers) as guests:
        servers[0].emit("news", 1)
        assert [await guest.receive(PATIENCE) for guest in guests] == [["news", 1]] * 2
        assert {socket.id for socket in await servers[1].fetch_sockets()} == {guest.sid for guest in guests}


async def test_a_namespace_that_is_given_up_is_no_longer_subscribed(redis: RedisServer) -> None:
    """Clients choose the names of dynamic namespaces. A name may be used again."""
    server = SocketServer(adapter=RedisAdapter.from_url(redis.url))
    server.add(Namespace(re.compile(r"/\d"), max_children=1))
    async with serving(server):
        for name in ("/1", "/2", "/1"):
            async with connect(server, name):
                server.of(name).emit("news")
                await until(lambda name=name: channels(redis, name) == 5)
        await until(lambda: channels(redis, "/2") == 0)


def channels(redis: RedisServer, namespace: str) -> int:
    """The channels of a namespace: four, and one for each room, here that of a socket's id."""
    return len([name for name in redis.do("PUBSUB", "CHANNELS") if f"#{namespace}#".encode() in name])


async def test_a_server_is_connected_from_its_start_to_its_end(redis: RedisServer) -> None:
    server = SocketServer(adapter=RedisAdapter.from_url(redis.url))
    assert links(redis) == 0
    async with joined(server):
        assert links(redis) == 1
    await until(lambda: links(redis) == 0)


async def test_messages_sent_while_it_closes_reach_the_others(redis: RedisServer) -> None:
    """The connection is closed last: a handler of a disconnect still broadcasts to clients of other servers."""
    leaving, staying = (SocketServer(adapter=RedisAdapter.from_url(redis.url)) for _ in range(2))
    leaving.of("/").on_disconnect(lambda socket, reason: leaving.emit("gone", reason))
    async with joined(staying) as (guest,):
        async with joined(leaving) as (other,):
            await other.disconnect()
            assert (await guest.receive(PATIENCE))[0] == "gone"
        async with joined(SocketServer(adapter=RedisAdapter.from_url(redis.url))):
            assert len(await staying.fetch_sockets()) == 2


async def test_the_lifespan_of_an_asgi_application_connects_and_disconnects(redis: RedisServer) -> None:
    server = SocketServer(adapter=RedisAdapter.from_url(redis.url))
    async with server.lifespan():
        assert links(redis) == 1
    await until(lambda: links(redis) == 0)


async def test_servers_with_another_prefix_are_strangers(redis: RedisServer) -> None:
    ours, theirs = (SocketServer(adapter=RedisAdapter.from_url(redis.url, prefix=name)) for name in ("a", "b"))
    async with joined(ours, theirs) as (ann, ben):
        theirs.emit("theirs")
        ours.emit("ours")
        assert await ann.receive(PATIENCE) == ["ours"]
        assert await ben.receive(PATIENCE) == ["theirs"]
        assert len(await ours.fetch_sockets()) == 1


async def test_a_server_starts_without_redis_and_connects_later(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports the problem, serves its own clients, and joins the others when Redis is available."""
    monkeypatch.setattr("synkora.redis_adapter.adapter._START_WITHIN", 0.05)
    url = redis.url
    redis.kill()
    adapters = RedisAdapter.from_url(url)
    async with joined(SocketServer(adapter=adapters)) as (guest,):
        assert "nothing listens" in str(adapters.problem)
        redis.start()
        await until(lambda: adapters.problem is None)
        other = SocketServer(adapter=RedisAdapter.from_url(url))
        async with joined(other):
            other.emit("news")
            assert await guest.receive(PATIENCE) == ["news"]


def test_an_adapter_is_for_one_server() -> None:
    """Two servers with one connection would take each other's messages for their own."""
    adapter = RedisAdapter.from_url("redis://127.0.0.1:1")
    SocketServer(adapter=adapter).of("/")
    with pytest.raises(ValueError, match="call it for each server"):
        SocketServer(adapter=adapter).of("/")


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://127.0.0.1:6379"])
def test_a_url_that_names_no_redis_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the URL of RedisAdapter must begin with redis://"):
        RedisAdapter.from_url(url)


async def test_a_server_without_its_lifespan_refuses_clients_with_the_reason(redis: RedisServer) -> None:
    """Without a connection to Redis, its clients would silently miss other servers' events."""
    server = SocketServer(adapter=RedisAdapter.from_url(redis.url))
    server.of("/")
    config = uvicorn.Config(server.asgi, lifespan="off", log_config=None, access_log=False)
    async with running(uvicorn.Server(config), "/socket.io/") as address, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(address.url())
        assert answer.status_code == 500
        assert "enter server.lifespan" in answer.text
        async with server.lifespan():
            assert (await http.get(address.url())).status_code == 200
