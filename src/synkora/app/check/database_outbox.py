"""The outbox in the web app's database."""

from typing import Final

import asyncpg

from synkora.access.database import FAILURES, connection_options
from synkora.access.database_url import DatabaseUrl
from synkora.access.roles import QUERY_TIMEOUT
from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.settings import Settings

_RIGHTS: Final = """
    SELECT bool_and(has_table_privilege($1, needed)) FROM unnest(ARRAY['SELECT', 'UPDATE', 'DELETE']) AS needed
"""
_SQL: Final = "deploy/postgres/outbox.sql"


async def check_database_outbox(settings: Settings) -> list[Finding]:
    """Check that the outbox is there, can be read and emptied, and wakes the server."""
    if settings.publish_from == "none":
        return [skipped("database-outbox", "PUBLISH_FROM is none")]
    if settings.database_url is None:
        return [skipped("database-outbox", "DATABASE_URL is not set")]
    try:
        url = DatabaseUrl.parse(settings.database_url.get_secret_value())
        connection = await asyncpg.connect(**connection_options(url), statement_cache_size=0)
    except ValueError as error:
        return [wrong("database-outbox", f"DATABASE_URL {error}", "Write it as the app has it")]
    except FAILURES as error:
        words = f"the database is unavailable: {type(error).__name__}"
        return [wrong("database-outbox", words, "See that DATABASE_URL leads to the app's database")]
    try:
        return [await _finding(connection, f'{url.quoted_schema}."synkora_outbox"')]
    except FAILURES as error:
        return [skipped("database-outbox", f"not checked: {type(error).__name__}")]
    finally:
        await connection.close(timeout=QUERY_TIMEOUT)


async def _finding(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> Finding:
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return wrong("database-outbox", f"there is no table {table}", f"Run {_SQL} in the app's database")
    if not await connection.fetchval(_RIGHTS, table):
        advice = "GRANT SELECT, UPDATE, DELETE ON synkora_outbox to the user of DATABASE_URL"
        return wrong("database-outbox", f"the user of DATABASE_URL may not read and empty {table}", advice)
    count = "SELECT count(*) FILTER (WHERE problem IS NULL), count(problem) FROM "
    waiting, set_aside = await connection.fetchrow(count + table)  # type: ignore[misc]  # one row
    if set_aside:
        advice = "Read the column problem, correct the app, and delete these rows"
        return risky("database-outbox", f"{set_aside} rows cannot be published, {waiting} wait", advice)
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal"
    if not await connection.fetchval(triggers, table):
        advice = f"Create the trigger of {_SQL}, or do nothing: the server looks every second"
        return risky("database-outbox", f"nothing tells the server of new rows, {waiting} wait", advice)
    return well("database-outbox", f"it can be read; rows that wait: {waiting}")
