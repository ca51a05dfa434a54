"""Sessions that the app keeps in its database, a real PostgreSQL."""

import time
from collections.abc import AsyncIterator

import pytest
from tests.access.conftest import Database
from tests.access.world import TEAM_PROJECT, nextauth_v4

from synkora.access.database import Database as AppDatabase
from synkora.access.postgres import PostgresAccess
from synkora.access.sessions import PostgresSessions
from synkora.collaboration.access import AccessUnavailable, Role
from synkora.collaboration.kept_sessions import SessionsNotStored

KEY = "3d1b7c52-6f0e-4a5e-9c1d-2f8f1c1f7d11"


@pytest.fixture
async def sessions(database: Database) -> AsyncIterator[PostgresSessions]:
    sessions = PostgresSessions(AppDatabase(database.server.url()))
    yield sessions
    await sessions.close()


async def test_a_session_tells_whose_it_is(sessions: PostgresSessions, database: Database) -> None:
    """The user has the app's name, email and image, and the session its expiry."""
    await database.connection.execute(
        """UPDATE "User" SET name = 'Ann', email = 'ann@app.test', image = '/a.png' WHERE id = 'owner'"""
    )
    await database.keep_session(KEY, "owner", seconds=3600)
    user = await sessions.find(KEY)
    assert user is not None
    assert (user.id, user.name, user.email, user.image) == ("owner", "Ann", "ann@app.test", "/a.png")
    assert user.expires_at is not None
    assert 3000 < user.expires_at - time.time() < 4200


async def test_the_time_zone_of_the_database_does_not_matter(sessions: PostgresSessions, database: Database) -> None:
    """Prisma's times are in UTC in any time zone of the database. Times with a zone keep their zone."""
    await database.connection.execute("ALTER ROLE app SET timezone = 'Pacific/Kiritimati'")
    try:
        await database.keep_session(KEY, "owner", seconds=60)
        assert await sessions.find(KEY) is not None
        await database.connection.execute(
            """ALTER TABLE "Session" ALTER expires TYPE timestamptz USING now() + '1 min'"""
        )
        user = await sessions.find(KEY)
        assert user is not None
        assert user.expires_at is not None
        assert abs(user.expires_at - time.time()) < 600
    finally:
        await database.connection.execute("ALTER ROLE app RESET timezone")


@pytest.mark.parametrize("key", ["another", "", "'; --", "\0", "\ud800", "é" * 300])
async def test_an_invalid_session_key(sessions: PostgresSessions, database: Database, key: str) -> None:
    await database.keep_session(KEY, "owner")
    assert await sessions.find(key) is None


async def test_a_session_that_has_ended(sessions: PostgresSessions, database: Database) -> None:
    await database.keep_session(KEY, "owner", seconds=-1)
    assert await sessions.find(KEY) is None
    await database.keep_session(KEY, "owner", seconds=60)
    assert await sessions.find(KEY) is not None
    await database.end_session(KEY)
    assert await sessions.find(KEY) is None


async def test_a_database_without_sessions(sessions: PostgresSessions, database: Database) -> None:
    await database.connection.execute('DROP TABLE "Session"')
    with pytest.raises(SessionsNotStored, match="DATABASE_URL leads to no sessions"):
        await sessions.find(KEY)


async def test_a_database_that_is_away() -> None:
    sessions = PostgresSessions(AppDatabase("postgresql://app:hunter2@127.0.0.1:9/app"))
    with pytest.raises(AccessUnavailable) as away:
        await sessions.find(KEY)
    assert not isinstance(away.value, SessionsNotStored)
    assert "hunter2" not in str(away.value)
    await sessions.close()


async def test_both_questions_share_the_connections(database: Database) -> None:
    """Questions about access and about sessions use no more connections than the URL allows."""
    policy = PostgresAccess(database.server.url(parameters="?connection_limit=1"))
    sessions = PostgresSessions(policy.database)
    await database.keep_session(KEY, "owner")
    for _ in range(2):
        assert await sessions.find(KEY) is not None
        assert await policy.role(nextauth_v4("owner"), TEAM_PROJECT) is Role.OWNER
    assert await database.clients() == 1
    await policy.close()
