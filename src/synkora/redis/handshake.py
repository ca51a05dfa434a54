"""The handshake with Redis: sign-in, and a check that Redis is suitable.

Source: https://redis.io/docs/latest/commands/hello/.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from synkora.redis.connection import Command, Pending, RedisConnection
from synkora.redis.errors import NO_REDIS, NOT_TAKEN, LinkDown, RedisRefused
from synkora.redis.url import Server

_SMALL: Final = 1_000_000  # bytes; no question is as long
_REPLICATION_ID: Final = re.compile(rb"^master_replid:([0-9a-f]+)", re.MULTILINE)


async def open_connection(connection: RedisConnection, server: Server) -> None:
    """Connect. Raises `OSError`, and `LinkDown` for an address that cannot be one."""
    loop = asyncio.get_running_loop()
    try:
        if server.path is not None:
            await loop.create_unix_connection(lambda: connection, server.path)
        else:
            await loop.create_connection(lambda: connection, server.host, server.port, ssl=server.ssl)
    except OSError:  # of which the one about a certificate is a `ValueError` too
        raise
    except (ValueError, TypeError, OverflowError):  # a name with a very long part, a port above 65,535
        raise LinkDown("the address of Redis is not valid") from None


async def sign_in(connection: RedisConnection, server: Server, name: str) -> Mapping[bytes, Any]:
    """Sign in, set the client's `name`, and return what the server says about itself.

    Raises `LinkDown` and `RedisRefused`; the messages hold no password.
    """
    signing_in: Command = () if server.password is None else ("AUTH", server.user or "default", server.password)
    try:
        hello = await ask(connection, "HELLO", 3, *signing_in, "SETNAME", name)
    except RedisRefused as refusal:
        if refusal.is_explained:
            raise
        raise LinkDown(NOT_TAKEN) from None
    if not isinstance(hello, dict):
        raise LinkDown(NO_REDIS)
    return hello


async def prepare(connection: RedisConnection, hello: Mapping[bytes, Any], database: int, *keys: bytes) -> str:
    """Check that the connection is to a master that serves `keys`, and select the database.

    Returns the id of the master's data, which changes with each start and each failover; empty if the user may not
    ask. Raises `LinkDown` and `RedisRefused`.
    """
    if hello.get(b"role") == b"replica":
        raise RedisRefused("READONLY")
    if database:
        await ask(connection, "SELECT", database)
    # While Redis loads its data, it answers HELLO but runs no script.
    await ask(connection, "EVAL", "return 1", len(keys), *keys)
    with suppress(RedisRefused):  # a proxy, or an old user's rights
        # Redis keeps these scripts. From 7.4 on it forgets the oldest of 500 that EVAL has brought.
        await ask(connection, "SCRIPT", "LOAD", "return 1")
        connection.loads_scripts = True
    try:
        about = await ask(connection, "INFO", "replication")
    except RedisRefused:
        return ""
    found = _REPLICATION_ID.search(about) if isinstance(about, bytes) else None
    return found[1].decode() if found else ""


@asynccontextmanager
async def questioning(server: Server) -> AsyncIterator[tuple[RedisConnection, Mapping[bytes, Any]]]:
    """Connect to a server for questions, and return what it says about itself too.

    Raises `OSError`, `LinkDown` and `RedisRefused`.
    """
    connection = RedisConnection(lambda _: None, _SMALL)
    try:
        await open_connection(connection, server)
        yield connection, await sign_in(connection, server, "synkora-asks")
    finally:
        connection.end("the question is over")
        await connection.gone.wait()


async def ask(connection: RedisConnection, *command: bytes | str | int) -> Any:
    """Return the reply to a command. Raises `LinkDown` and `RedisRefused`."""
    pending = Pending(None)
    connection.request(command, pending)
    return await pending.future
