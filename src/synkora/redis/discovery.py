"""Finds the Redis to connect to: the one that the URL names, a master that Sentinels know, or a Cluster's node.

Sources: https://redis.io/docs/latest/develop/reference/sentinel-clients/,
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
"""

import asyncio
import binascii
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from synkora.redis.connection import RedisConnection
from synkora.redis.errors import UNREADABLE, LinkDown, RedisRefused, unreachable
from synkora.redis.handshake import ask, questioning
from synkora.redis.url import RedisUrl, Server

_PATIENCE: Final = 1.0  # seconds for each server that is asked
_ASKED_EVERY: Final = 10.0  # seconds: a Sentinel that is silent is replaced by the next one
_SWITCH: Final = b"+switch-master"
_SLOTS: Final = 16_384
_MOST_NODES: Final = 100  # that are remembered
_NO_ADDRESS: Final = (None, b"", b"?")  # the node does not know its own


class Discovery:
    """Finds the Redis that has the keys of `keyspace`, before each connection.

    Servers are asked in turns, beginning with the one that answered last. `move_on` is called when what it has found
    was of no use. `is_cluster` may become true at the first connection: any node of a Cluster may be named like a
    single Redis.
    """

    def __init__(self, url: RedisUrl, keyspace: str) -> None:
        self.is_cluster = url.is_cluster
        self.database = url.database
        self._url = url
        self._keyspace = keyspace.encode()
        self._slot = binascii.crc_hqx(self._keyspace, 0) % _SLOTS
        self._servers = deque(url.servers)

    @property
    def asks(self) -> bool:
        """Whether other servers say which Redis to use."""
        return self._url.master is not None or self.is_cluster

    @property
    def own_keys(self) -> tuple[bytes, ...]:
        """A key that only the node with the right hash slot takes; none without a Cluster."""
        return (self.key(self._keyspace),) if self.is_cluster else ()

    def key(self, name: bytes | str) -> bytes:
        """Return a key's name. In a Cluster, braces around the keyspace put all keys into one hash slot."""
        name = name.encode() if isinstance(name, str) else name
        return b"{%b}%b" % (self._keyspace, name.removeprefix(self._keyspace)) if self.is_cluster else name

    async def find(self) -> Server:
        """Return the Redis. Raises `LinkDown` with the problem of the server that was asked first."""
        if not self.asks:
            return self._url.redis
        problem = ""
        for server in tuple(self._servers):
            try:
                async with asyncio.timeout(_PATIENCE), questioning(server) as (connection, hello):
                    found = await self._found(server, connection, hello)
            except (LinkDown, RedisRefused) as error:
                problem = problem or self._words(error)
            except TimeoutError:
                problem = problem or f"no answer within {_PATIENCE:g} s"
            except OSError as error:
                problem = problem or unreachable(error)
            else:
                self._remember(server, found)
                return found[0]
            self.move_on()
        kind = "node of the Redis Cluster" if self.is_cluster else "Sentinel"
        raise LinkDown(f"no {kind} tells which Redis to use: {problem}")

    async def left(self, redis: Server) -> None:
        """Return when Sentinels have made another Redis the master.

        After a planned failover, the former master accepts writes for seconds more, which are lost in the end.
        """
        while self._url.master is None:
            await asyncio.Event().wait()
        while True:
            with suppress(LinkDown, RedisRefused, OSError):
                await self._watch(redis)
                return
            self.move_on()
            await asyncio.sleep(_PATIENCE)

    async def _watch(self, redis: Server) -> None:
        server = self._servers[0]
        has_changed = asyncio.Event()
        async with questioning(server) as (connection, hello):
            connection.receivers = {_SWITCH: lambda _: has_changed.set()}  # of any master that the Sentinel watches
            connection.change("SUBSCRIBE", [_SWITCH])
            while True:
                has_changed.clear()
                async with asyncio.timeout(_PATIENCE):
                    found = await self._found(server, connection, hello)
                if found[0] != redis:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ASKED_EVERY):
                        await has_changed.wait()

    def move_on(self) -> None:
        """Begin with another server the next time: this one may be cut off from the others."""
        self._servers.rotate(-1)

    def notice(self, hello: Mapping[bytes, Any]) -> None:
        """Check what kind of server has been found. Raises `LinkDown`: if it is of a Cluster, `find` finds more."""
        mode = hello.get(b"mode")
        if mode == b"sentinel":
            raise LinkDown(
                "Redis' URL names a Sentinel: redis+sentinel://host:26379/mymaster, with the name of its master"
            )
        if mode == b"cluster" and self._url.master is None and not self.is_cluster:
            if self._url.database:
                raise LinkDown("Redis' URL names a database, and a Redis Cluster has none")
            if self._url.redis.path is not None:
                raise LinkDown("a Redis Cluster needs the address of a node in its URL: redis+cluster://host:6379")
            self.is_cluster = True
            raise LinkDown("Redis belongs to a Cluster, which is asked now")

    async def _found(self, server: Server, connection: RedisConnection, hello: Mapping[bytes, Any]) -> list[Server]:
        """Return the Redis to use, and further servers to ask later. Raises `LinkDown` and `RedisRefused`."""
        try:
            return await self._answer(server, connection, hello)
        except UNREADABLE:
            raise LinkDown("its answer is of another form than expected") from None

    async def _answer(self, server: Server, connection: RedisConnection, hello: Mapping[bytes, Any]) -> list[Server]:
        if self.is_cluster:
            if hello.get(b"mode") != b"cluster":
                raise LinkDown("Redis is not of a Cluster: its URL must begin with redis://")
            return self._nodes(server, await ask(connection, "CLUSTER", "SLOTS"))
        if hello.get(b"mode") != b"sentinel":
            raise LinkDown("Redis' URL names a Redis instead of a Sentinel, whose port is usually 26379")
        master = await ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.master or "")
        if master is None:
            raise LinkDown("the Sentinel knows no master of the name in its URL")
        host, port = master
        return [self._url.redis.at(host.decode(), int(port))]

    def _nodes(self, asked: Server, slots: list[list[Any]]) -> list[Server]:
        def server(node: list[Any]) -> Server:
            host = asked.host if node[0] in _NO_ADDRESS else node[0].decode()
            return self._url.redis.at(host, node[1])

        owner = next((nodes[0] for first, last, *nodes in slots if first <= self._slot <= last), None)
        if owner is None:
            raise LinkDown("the Redis Cluster serves no keys of this server: some hash slots have no node")
        return [server(owner), *(server(node) for _, _, *nodes in slots for node in nodes)]

    def _remember(self, asked: Server, found: list[Server]) -> None:
        if self.is_cluster:
            self._servers = deque(dict.fromkeys((asked, *found[1:_MOST_NODES], *self._url.servers)))

    def _words(self, error: LinkDown | RedisRefused) -> str:
        if isinstance(error, RedisRefused) and error.code in ("NOAUTH", "WRONGPASS") and not self.is_cluster:
            return "the Sentinel does not accept sentinel_username and sentinel_password of its URL, or needs them"
        return str(error)
