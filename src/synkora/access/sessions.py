"""Looks up sessions in the app's database, as Auth.js's database adapters store them."""

from time import time
from typing import Final

import asyncpg

from synkora.access.database import Database
from synkora.collaboration.access import AccessUnavailable
from synkora.collaboration.kept_sessions import SessionsNotStored
from synkora.identity.user import User, user_from_claims

# Prisma's times have no zone and are in UTC. The query reads them as UTC.
_QUERY: Final = """
    SELECT owner.id::text, owner.name::text, owner.email::text, owner.image::text,
           extract(epoch FROM session.expires)::float8 AS exp
    FROM {schema}."Session" AS session
    JOIN {schema}."User" AS owner ON owner.id = session."userId"
    WHERE session."sessionToken" = $1::text
"""
_MISSING: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)


class PostgresSessions:
    """Queries the tables of the app's adapter, `"Session"` and `"User"`, as Prisma names them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._query = _QUERY.format(schema=database.schema)

    async def find(self, key: str) -> User | None:
        """Return the user of a session, with the session's end; None if the session is unknown or expired.

        Raises `SessionsNotStored` if the tables do not exist, and `AccessUnavailable` if the database cannot answer.
        """
        try:
            record = await self._database.ask(self._query, key)
        except AccessUnavailable as error:
            if isinstance(error.__context__, _MISSING):
                raise SessionsNotStored(f"DATABASE_URL leads to no sessions: {error.__context__}") from None
            raise
        if record is None or record["exp"] is None or record["exp"] <= time():
            return None
        return user_from_claims(dict(record))

    async def close(self) -> None:
        """Close the connections. Later queries raise `AccessUnavailable`."""
        await self._database.close()
