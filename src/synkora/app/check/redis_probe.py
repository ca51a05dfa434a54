"""A connection to Redis for the checks."""

import asyncio
from typing import Any, Final

from synkora.redis.connection import Pending, RedisConnection
from synkora.redis.discovery import Discovery
from synkora.redis.errors import LinkDown
from synkora.redis.handshake import open_connection, prepare, sign_in
from synkora.redis.subscriptions import Receiver
from synkora.redis.url import RedisUrl, Server

_MAX_WAITING: Final = 1_000_000  # bytes; no command is as long


class RedisProbe:
    """One connection, opened like the server's. It does not reconnect."""

    def __init__(self) -> None:
        self._connection = RedisConnection(self._ended, _MAX_WAITING)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def begin(self, url: RedisUrl) -> Server:
        """Connect to the Redis of the URL, sign in, and return where it is.

        Raises `OSError`, `LinkDown` and `RedisRefused`.
        """
        server = await Discovery(url, "synkora").find()
        await open_connection(self._connection, server)
        hello = await sign_in(self._connection, server, "synkora-check")
        await prepare(self._connection, hello, url.database)
        return server

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
