"""Checks of sessions that the web app keeps in its database. A cookie holds only the session's key."""

from secrets import token_hex
from typing import Final

import asyncpg

from synkora.access.database import Database
from synkora.access.sessions import PostgresSessions
from synkora.app.check.finding import Finding, risky, skipped, well
from synkora.app.settings import Settings
from synkora.collaboration.access import AccessUnavailable
from synkora.collaboration.kept_sessions import SessionsNotStored

_NAME: Final = "kept-sessions"
_NOT_LOOKED_UP: Final = "sessions that the app keeps in its database (NextAuth with an adapter) are not looked up"


async def check_kept_sessions(settings: Settings) -> list[Finding]:
    """Check that the server can look up sessions in the app's database."""
    if settings.database_url is None:
        return [skipped(_NAME, f"DATABASE_URL is not set: {_NOT_LOOKED_UP}")]
    try:
        sessions = PostgresSessions(Database(settings.database_url.get_secret_value()))
    except ValueError as error:
        return [skipped(_NAME, f"DATABASE_URL {error}: {_NOT_LOOKED_UP}")]
    try:
        await sessions.find(f"synkora-check-{token_hex(8)}")
    except SessionsNotStored:
        return [skipped(_NAME, 'the app\'s database has no sessions (no table "Session" as Prisma has it)')]
    except AccessUnavailable as error:
        return [risky(_NAME, f"sessions that the app may keep cannot be looked up: {error}", _advice(error))]
    finally:
        await sessions.close()
    return [well(_NAME, '"Session" and "User" can be read: sessions that the app keeps there are looked up')]


def _advice(error: AccessUnavailable) -> str:
    if isinstance(error.__context__, asyncpg.InsufficientPrivilegeError):
        return 'GRANT SELECT ON "Session", "User" to the user of DATABASE_URL; ignore this if the app makes tokens'
    return "Correct DATABASE_URL: it is the app's own; ignore this if the app makes tokens"
