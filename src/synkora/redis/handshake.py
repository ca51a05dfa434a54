"""The handshake with Redis: sign-in, and a check that Redis is suitable.

Source: https://redis.io/docs/latest/commands/hello/.
"""

import asyncio
from typing import Any

from synkora.redis.connection import Command, Pending, RedisConnection
from synkora.redis.errors import NO_CLUSTER, NO_REDIS, NOT_TAKEN, LinkDown, RedisRefused
from synkora.redis.url import RedisUrl


async def open_connection(connection: RedisConnection, url: RedisUrl) -> None:
    """Connect. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    if url.path is not None:
        await loop.create_unix_connection(lambda: connection, url.path)
    else:
        await loop.create_connection(lambda: connection, url.host, url.port, ssl=url.ssl)


async def greet(connection: RedisConnection, url: RedisUrl, name: str) -> None:
    """Sign in, set the client's `name`, and select the database.

    Raises `LinkDown` and `RedisRefused`; the messages hold no password.
    """
    signing_in: Command = () if url.password is None else ("AUTH", url.user or "default", url.password)
    try:
        hello = await _ask(connection, "HELLO", 3, *signing_in, "SETNAME", name)
    except RedisRefused as refusal:
        if refusal.is_explained:
            raise
        raise LinkDown(NOT_TAKEN) from None
    if not isinstance(hello, dict):
        raise LinkDown(NO_REDIS)
    if hello.get(b"mode") in (b"cluster", b"sentinel"):
        raise LinkDown(NO_CLUSTER)
    if hello.get(b"role") == b"replica":
        raise RedisRefused("READONLY")
    if url.database:
        await _ask(connection, "SELECT", url.database)
    # While Redis loads its data, it answers HELLO but runs no script.
    await _ask(connection, "EVAL", "return 1", 0)


async def _ask(connection: RedisConnection, *command: bytes | str | int) -> Any:
    pending = Pending(None)
    connection.request(command, pending)
    return await pending.future
