"""A connection to Redis for the checks."""

import asyncio
from typing import Any, Final

from synkora.redis.connection import Pending, RedisConnection
from synkora.redis.discovery import Discovery
from synkora.redis.errors import LinkDown
from synkora.redis.handshake import open_connection, prepare, questioning, sign_in
from synkora.redis.subscriptions import Receiver
from synkora.redis.url import RedisUrl, Server

_MAX_WAITING: Final = 1_000_000  # bytes; no command is as long


class RedisProbe:
    """One connection, opened like the server's. It does not reconnect.

    `data_id` is as in `Link`.
    """

    def __init__(self, url: RedisUrl, keyspace: str) -> None:
        self.data_id = ""
        self._url = url
        self._discovery = Discovery(url, keyspace)
        self._connection = RedisConnection(self._ended, _MAX_WAITING)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_cluster(self) -> bool:
        return self._discovery.is_cluster

    async def begin(self) -> Server:
        """Connect to the Redis of the URL, sign in, and return where it is.

        Raises `OSError`, `LinkDown` and `RedisRefused`.
        """
        server = await self._discovery.find()
        if self._url.master is None and not self.is_cluster and await self._belongs_to_cluster(server):
            server = await self._discovery.find()
        await open_connection(self._connection, server)
        hello = await sign_in(self._connection, server, "synkora-check")
        self._discovery.notice(hello)
        self.data_id = await prepare(self._connection, hello, self._url.database, *self._discovery.own_keys)
        return server

    async def _belongs_to_cluster(self, server: Server) -> bool:
        async with questioning(server) as (_, hello):
            try:
                self._discovery.notice(hello)
            except LinkDown:
                if not self.is_cluster:
                    raise
        return self.is_cluster

    def key(self, name: str) -> bytes:
        """Return a key's name in this Redis."""
        return self._discovery.key(name)

    async def ask(self, *command: bytes | str | int) -> Any:
        """Send a command and return the reply. Raises `LinkDown` and `RedisRefused`."""
        pending = Pending(None)
        self._connection.request(command, pending)
        return await pending.future

    async def hear_itself(self, *channels: bytes) -> None:
        """Publish on each channel and wait for the message to arrive. Raises `LinkDown` if Redis refuses."""
        heard = {channel: asyncio.Event() for channel in channels}
        self._connection.receivers = {channel: _setting(event) for channel, event in heard.items()}
        self._connection.change("SUBSCRIBE", list(channels))
        for channel in channels:
            self._connection.publish(channel, b"")
        everything = asyncio.gather(*(event.wait() for event in heard.values()))
        await asyncio.wait((everything, self._over), return_when=asyncio.FIRST_COMPLETED)
        if not everything.done():
            everything.cancel()
            self._over.result()

    def end(self) -> None:
        self._connection.end("the check is over")

    def _ended(self, problem: str) -> None:
        self._over.set_exception(LinkDown(problem))
        self._over.exception()  # marks the exception as retrieved, even if no caller waits for it


def _setting(event: asyncio.Event) -> Receiver:
    return lambda _: event.set()
