"""Blocks that an instance has missed, through a real Redis."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import NamedTuple

import pytest
from tests.collaboration.site import MemoryClient, Site, token_of
from tests.support.processes import PATIENCE, free_port
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay, relaying
from tests.support.servers import until
from tests.support.sessions import MemoryTransport, request_of

from synkora.app import all_instances, cluster
from synkora.app.cluster import Cluster
from synkora.app.instance import Instance
from synkora.app.moderation import BLOCKS
from synkora.collaboration.blocks import Block
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.protocol.errors import InvalidPayload

SOON = 0.02  # seconds between questions


def instance_on(port: int, *names: str) -> Instance:
    """An instance that knows blocks of these users."""
    site = Site()
    connected = Cluster(f"redis://127.0.0.1:{port}", "socket.io", FailureBackoff(3))
    instance = Instance(site.server, site.collaboration, connected, id=connected.link.uid)
    instance._block_sharing._every = SOON
    for name in names:
        site.collaboration.blocks.add(Block("user", name, 9e9, 1))
    return instance


def come(instance: Instance, name: str, address: str = "192.0.2.1") -> MemoryClient:
    request = replace(request_of(), address=address)
    return MemoryClient(instance.server, token_of(name), MemoryTransport(), request)


def blocked(instance: Instance) -> list[str]:
    return sorted(block.name for block in instance.collaboration.blocks.in_force)


def is_up(instance: Instance) -> bool:
    assert instance.cluster is not None
    return instance.cluster.link.is_up


class Pair(NamedTuple):
    """Two instances that have the blocks of each other. One has its Redis through a relay."""

    near: Instance
    far: Instance
    relay: Relay

    async def part(self) -> None:
        self.relay.target = free_port()
        self.relay.cut()
        await until(lambda: not is_up(self.far))

    async def meet_again(self, redis: RedisServer) -> None:
        self.relay.target = redis.port
        await until(lambda: is_up(self.far))


@pytest.fixture
async def pair(redis: RedisServer) -> AsyncIterator[Pair]:
    async with relaying(redis.port) as relay:
        near, far = instance_on(redis.port, "bob"), instance_on(relay.port, "carol")
        async with near, far:
            await until(lambda: blocked(near) == blocked(far) == ["bob", "carol"])
            yield Pair(near, far, relay)


async def test_a_block_made_while_an_instance_is_briefly_away(pair: Pair, redis: RedisServer) -> None:
    """The others have not dropped it yet. It asks them again."""
    await pair.part()
    assert (await pair.near.moderation.block("user", "alice", 600)).unanswered == [pair.far.id]
    await pair.meet_again(redis)
    await until(lambda: "alice" in blocked(pair.far))


async def test_a_block_made_by_an_instance_that_is_briefly_away(pair: Pair, redis: RedisServer) -> None:
    """The others, which have not lost Redis, ask it again."""
    await pair.part()
    assert (await pair.far.moderation.block("user", "alice", 600)).unanswered == [pair.near.id]
    await pair.meet_again(redis)
    await until(lambda: "alice" in blocked(pair.near))


async def test_connections_end_when_their_block_is_learned(pair: Pair, redis: RedisServer) -> None:
    """Of a user or an address. Others stay, and so do those of a user whose block has been lifted meanwhile."""
    clients = [come(pair.far, *who) for who in (("Alice",), ("Bill", "2001:db8::7"), ("Dave",), ("Eve",))]
    await until(lambda: pair.far.collaboration.connections == len(clients))
    await pair.part()
    await pair.near.moderation.block("user", "dave", 600)
    await pair.near.moderation.unblock("user", "dave")
    await pair.near.moderation.block("user", "alice", 600)
    await pair.near.moderation.block("address", "2001:db8::/64", 600)
    await pair.meet_again(redis)
    await until(lambda: pair.far.collaboration.connections == 2)
    assert [client.transport.closed_with is None for client in clients] == [False, False, True, True]
    assert [client.transport.packets[-1] for client in clients[:2]] == [b"41"] * 2


async def test_an_instance_knows_all_blocks_before_it_listens(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow this machine is."""
    monkeypatch.setattr(cluster, "_MEET", PATIENCE)
    monkeypatch.setattr(all_instances, "WITHIN", PATIENCE)
    async with instance_on(redis.port, "alice"), instance_on(redis.port) as late:
        assert blocked(late) == ["alice"]


async def test_an_instance_is_asked_until_it_answers(redis: RedisServer) -> None:
    refusals = 0

    async def refuse(_: object) -> list[Block]:
        nonlocal refusals
        refusals += 1
        if refusals < 10:
            raise InvalidPayload("busy")
        return [Block("user", "alice", 9e9, 1)]

    first, second = instance_on(redis.port), instance_on(redis.port)
    first.instances.answer(BLOCKS, refuse)
    async with first, second:
        await until(lambda: blocked(second) == ["alice"])
