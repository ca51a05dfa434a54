"""The web app's database at `DATABASE_URL`."""

import socket
import ssl
from time import time
from typing import Final, TypeAlias

import asyncpg

from synkora.access.database import FAILURES, connection_options
from synkora.access.database_url import DatabaseUrl
from synkora.access.postgres import PostgresAccess
from synkora.access.roles import QUERY_TIMEOUT
from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.check.network import is_loopback, judge_clock
from synkora.app.settings import Settings
from synkora.collaboration.access import AccessUnavailable
from synkora.identity.sign_in import SignedIn
from synkora.identity.user import User

_REST: Final = ("database-tables", "database-rights", "database-clock")
_NOBODY: Final = SignedIn(User("synkora-check"), "")
_CORRECT: Final = "Correct DATABASE_URL: it is the app's own, or has a user of this server's"
_TOO_MUCH: Final = """
    SELECT coalesce(bool_or(has_table_privilege(name, 'INSERT, UPDATE, DELETE, TRUNCATE')), false)
    FROM (VALUES (to_regclass($1)), (to_regclass($2))) AS tables (name) WHERE name IS NOT NULL
"""

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # generic only in its stubs


async def check_database(settings: Settings) -> list[Finding]:
    """Check that the database can answer who may join, and that its user has no other rights."""
    names = ("database", *_REST)
    if settings.project_access != "postgres":
        words = f"PROJECT_ACCESS is {settings.project_access}: the database is not asked who may join"
        return [skipped(name, words) for name in names]
    if settings.database_url is None:
        return [skipped(name, "DATABASE_URL is not set") for name in names]
    given = settings.database_url.get_secret_value()
    try:
        url = DatabaseUrl.parse(given)
        connection = await _connect(url)
    except ValueError as error:
        return _not_asked(wrong("database", f"DATABASE_URL {error}", "Write it as the app has it"))
    except FAILURES as error:
        return _not_asked(_unreachable(error))
    try:
        return [
            _reached(url, connection),
            await _tables(given),
            await _rights(url, connection),
            await _clock(connection),
        ]
    finally:
        await connection.close(timeout=QUERY_TIMEOUT)


async def _connect(url: DatabaseUrl) -> _Connection:
    return await asyncpg.connect(**connection_options(url), statement_cache_size=0)


def _unreachable(error: Exception) -> Finding:
    words = str(error).partition("\n")[0]
    match error:
        case TimeoutError():
            why = f"it did not answer within {QUERY_TIMEOUT} s"
            advice = "See whether the database is overloaded, or a firewall is in between"
        case socket.gaierror():
            why, advice = "its name cannot be resolved", _CORRECT
        case ssl.SSLCertVerificationError():
            why = f"its certificate is not accepted: {error.verify_message}"
            advice = "Name the authority that has issued it: sslrootcert=… in DATABASE_URL"
        case ConnectionRefusedError():
            why, advice = "nothing listens where DATABASE_URL says", "Start the database, or correct DATABASE_URL"
        case asyncpg.InvalidAuthorizationSpecificationError():  # includes a wrong password
            why = f"it does not let the user in: {words}"
            advice = f"{_CORRECT}; characters like @ : / ? # in a password must be percent-encoded"
        case asyncpg.InvalidCatalogNameError():
            why, advice = words, _CORRECT
        case asyncpg.TooManyConnectionsError():
            why, advice = words, "Raise max_connections, or lower the connection_limit of its clients"
        case asyncpg.PostgresError():
            why, advice = f"{type(error).__name__}: {words}", "See the database's log"
        case _:
            why, advice = type(error).__name__, "See that DATABASE_URL leads to PostgreSQL, and which TLS it speaks"
    return wrong("database", f"the database is unavailable: {why}", advice)


def _reached(url: DatabaseUrl, connection: _Connection) -> Finding:
    version = connection.get_server_version()
    answer = f"PostgreSQL {version.major}.{version.minor} answers"
    if url.host.startswith("/") or is_loopback(url.host) or isinstance(url.ssl, ssl.SSLContext):
        return well("database", answer)
    return risky(
        "database",
        f"{answer}; but an attacker on the network can impersonate it: its certificate is not verified",
        "Put sslmode=verify-full into DATABASE_URL, or sslmode=require&sslaccept=strict as Prisma has it",
    )


async def _tables(url: str) -> Finding:
    """Run the server's query for a project that does not exist."""
    policy = PostgresAccess(url)
    try:
        await policy.role(_NOBODY, "synkora-check")
    except AccessUnavailable as error:
        # The message says enough; the advice depends on the context.
        if isinstance(error.__context__, asyncpg.InsufficientPrivilegeError):
            advice = 'GRANT USAGE ON SCHEMA … and GRANT SELECT ON "Project", "TeamMember" to the user of DATABASE_URL'
        else:
            advice = "See that DATABASE_URL names the app's database and schema, and that its migrations have been run"
        return wrong("database-tables", str(error), advice)
    finally:
        await policy.close()
    return well("database-tables", '"Project" and "TeamMember" are there, and can be read')


async def _rights(url: DatabaseUrl, connection: _Connection) -> Finding:
    schema = url.quoted_schema
    try:
        too_much = await connection.fetchval(_TOO_MUCH, f'{schema}."Project"', f'{schema}."TeamMember"')
    except FAILURES as error:
        return skipped("database-rights", f"not checked: {type(error).__name__}")
    if too_much:
        return risky(
            "database-rights",
            "the user of DATABASE_URL may change the app's data, and this server only reads it",
            "Give this server a user of its own with USAGE of the schema and SELECT on the two tables",
        )
    return well("database-rights", "the user of DATABASE_URL may read, and change nothing")


async def _clock(connection: _Connection) -> Finding:
    before = time()
    try:
        theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    except FAILURES as error:
        return skipped("database-clock", f"not checked: {type(error).__name__}")
    return judge_clock("database-clock", "the database's", theirs, before, time())


def _not_asked(failure: Finding) -> list[Finding]:
    return [failure, *(skipped(name, "not checked: the database is unavailable") for name in _REST)]
