"""An app that keeps its sessions in its database, as NextAuth does with an adapter: a real PostgreSQL, real clients."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.access.fixtures import Database, connected, postgres
from tests.access.processes import Postgres
from tests.access.world import SECRET, TEAM_PROJECT, small_world
from tests.support.real_clients import WAYS, Connect, Refused
from tests.support.server_process import StartServer
from tests.support.users import User

__all__ = ["postgres"]

PAGE = "http://localhost:3000"  # allowed by default
OWNER = User("owner", "Owner")
KEYS = {"owner": "3d1b7c52-6f0e-4a5e-9c1d-2f8f1c1f7d11", "viewer": "0b9cf2a4-77f0-4e2c-8a8e-6f64a0ddbe02"}


def headers_of(user_id: str) -> dict[str, str]:
    return {"Cookie": f"theme=dark; next-auth.session-token={KEYS[user_id]}", "Origin": PAGE}


@pytest_asyncio.fixture(loop_scope="session")
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """The app's database, with sessions of two users."""
    async with connected(postgres.url()) as connection:
        database = Database(postgres, connection)
        await database.create()
        await database.show(small_world())
        for user_id, key in KEYS.items():
            await database.keep_session(key, user_id)
        yield database


@pytest.mark.parametrize("way", [WAYS["js-upgrade"], WAYS["js-polling"], WAYS["js-websocket"]])
async def test_users_work_with_sessions_of_the_database(
    database: Database, start_server: StartServer, connect_by: Connect, way: object
) -> None:
    """The page sends the user's id as token, and its cookie: an owner can edit, a viewer cannot."""
    variables = {"PROJECT_ACCESS": "postgres", "DATABASE_URL": database.server.url()}
    server = start_server(NEXTAUTH_SECRET=SECRET, **variables)
    clients = {}
    for user_id in KEYS:
        auth = {"token": user_id}
        client = await connect_by(OWNER, url=server.url, way=way, auth=auth, headers=headers_of(user_id))
        await client.emit("join-project", TEAM_PROJECT)
        assert user_id in [user["userId"] for user in (await client.expect("users:active"))["users"]]
        await client.expect("users:count")
        clients[user_id] = client
    await clients["owner"].emit("task:create", {"projectId": TEAM_PROJECT, "task": {"id": "t"}})
    assert await clients["viewer"].expect("task:create") == {"id": "t"}
    await clients["viewer"].emit("task:create", {"projectId": TEAM_PROJECT, "task": {"id": "u"}})
    assert "viewers may not change" in (await clients["viewer"].expect("error"))["message"]
    assert not any(key in server.output for key in KEYS.values())


async def test_a_signed_out_user_is_refused(database: Database, start_server: StartServer, connect_by: Connect) -> None:
    """Their browser may still have the cookie."""
    server = start_server(NEXTAUTH_SECRET=SECRET, DATABASE_URL=database.server.url())
    await database.end_session(KEYS["owner"])
    with pytest.raises(Refused, match="Authentication failed"):
        await connect_by(OWNER, url=server.url, auth=None, headers=headers_of("owner"))


async def test_without_the_database_the_log_has_advice(start_server: StartServer, connect_by: Connect) -> None:
    """It says that the app has such sessions, and names the variable."""
    server = start_server(NEXTAUTH_SECRET=SECRET)
    with pytest.raises(Refused, match="Authentication failed"):
        await connect_by(OWNER, url=server.url, auth=None, headers=headers_of("owner"))
    server.line(lambda line: "set DATABASE_URL to the app's own" in line)
    assert KEYS["owner"] not in server.output
