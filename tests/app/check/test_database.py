"""The checks of the app's database: suitable and unsuitable real ones."""

import time
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from tests.access.fixtures import Database
from tests.access.listeners import listening
from tests.access.processes import Postgres
from tests.app.check.conftest import ELSEWHERE, MakeSettings

from synkora.app.check.database import check_database
from synkora.app.check.finding import Finding, FindingStatus

SECRETS = (Postgres.password, quote(Postgres.password, safe=""), "hunter2")
GRANTS = 'GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON "Project", "TeamMember" TO reader'


@pytest.fixture
async def reader(database: Database) -> AsyncIterator[str]:
    """The URL of a database user who has no rights except to sign in."""
    await database.connection.execute("CREATE ROLE reader LOGIN PASSWORD 'hunter2'")
    yield f"postgresql://reader:hunter2@127.0.0.1:{database.server.port}/postgres"
    await database.connection.execute("DROP OWNED BY reader; DROP ROLE reader")


async def look(settings: MakeSettings, url: str) -> dict[str, Finding]:
    """The worst finding of each check. No finding contains a password."""
    findings = await check_database(settings(PROJECT_ACCESS="postgres", DATABASE_URL=url))
    assert [finding.check for finding in findings] == [
        "database",
        "database-tables",
        "database-rights",
        "database-clock",
    ]
    assert not any(secret in str(findings) for secret in SECRETS)
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize("access", ["open", "http"])
async def test_a_database_that_is_not_asked(settings: MakeSettings, access: str) -> None:
    """The app's own DATABASE_URL in a shared .env.local is not checked."""
    made = settings(PROJECT_ACCESS=access, APP_URL="http://localhost", DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert {finding.status for finding in await check_database(made)} == {FindingStatus.SKIPPED}


async def test_a_url_that_is_missing(settings: MakeSettings) -> None:
    findings = await check_database(settings(PROJECT_ACCESS="postgres"))
    assert {finding.status for finding in findings} == {FindingStatus.SKIPPED}


async def test_a_good_one(settings: MakeSettings, database: Database, reader: str) -> None:
    """The finding has the version. The user can read the tables and nothing else."""
    await database.connection.execute(GRANTS)
    found = await look(settings, reader)
    assert {finding.status for finding in found.values()} == {FindingStatus.WELL}, found
    assert found["database"].message.startswith("PostgreSQL ")
    assert await database.clients() == 0


async def test_the_apps_own_user(settings: MakeSettings, database: Database) -> None:
    """A user who can change the app's data has too many rights, by grants or as a superuser."""
    found = await look(settings, database.server.url())
    assert found["database-tables"].status is FindingStatus.WELL
    assert found["database-rights"].status is FindingStatus.RISKY
    assert found["database-rights"].advice


async def test_one_grant_too_many(settings: MakeSettings, database: Database, reader: str) -> None:
    """The right to write one of the tables is enough for the finding."""
    await database.connection.execute(GRANTS + '; GRANT UPDATE ON "TeamMember" TO reader')
    assert (await look(settings, reader))["database-rights"].status is FindingStatus.RISKY


async def test_no_right_to_read(settings: MakeSettings, database: Database, reader: str) -> None:
    """The advice contains the missing grants."""
    await database.connection.execute('GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON "Project" TO reader')
    finding = (await look(settings, reader))["database-tables"]
    assert finding.status is FindingStatus.WRONG
    assert "TeamMember" in finding.message
    assert "GRANT SELECT" in finding.advice


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('DROP TABLE "TeamMember" CASCADE', "TeamMember"),
        ('ALTER TABLE "TeamMember" RENAME COLUMN "userId" TO "user_id"', "userId"),
        ('ALTER TABLE "Project" DROP COLUMN "teamId" CASCADE', "teamId"),
    ],
)
async def test_tables_that_do_not_fit(settings: MakeSettings, database: Database, change: str, words: str) -> None:
    await database.connection.execute(change)
    finding = (await look(settings, database.server.url()))["database-tables"]
    assert finding.status is FindingStatus.WRONG
    assert words in finding.message
    assert "migrations" in finding.advice


async def test_another_schema(settings: MakeSettings, database: Database) -> None:
    found = await look(settings, database.server.url(parameters="?schema=nowhere"))
    assert found["database-tables"].status is FindingStatus.WRONG


async def test_invalid_queries_are_refused(settings: MakeSettings, database: Database) -> None:
    """The finding does not contain a password, and the other checks are skipped."""
    url = database.server.url()
    for bad, words in (
        (url.replace(SECRETS[1], "hunter2"), "does not let the user in: password authentication failed"),
        (url.replace("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
        (url.replace("127.0.0.1", "nowhere.invalid"), "its name cannot be resolved"),
        (url.replace(str(database.server.port), "1"), "nothing listens where DATABASE_URL says"),
        (url.replace("postgresql:", "mysql:"), "DATABASE_URL must begin with postgresql://"),
        (url + "?sslmode=verify-full", "the database is unavailable"),
    ):
        found = await look(settings, bad)
        assert found["database"].status is FindingStatus.WRONG
        assert words in found["database"].message
        assert found["database"].advice
        assert {finding.status for name, finding in found.items() if name != "database"} == {FindingStatus.SKIPPED}


async def test_a_silent_database(settings: MakeSettings) -> None:
    async with listening(lambda reader, _: reader.read()) as listener:
        found = await look(settings, f"postgresql://app:hunter2@127.0.0.1:{listener.port}/app?sslmode=disable")
    assert found["database"].message == "the database is unavailable: it did not answer within 2.5 s"


async def test_a_database_over_the_network(settings: MakeSettings, database: Database) -> None:
    """A database whose certificate is not verified is a risk."""
    found = await look(settings, database.server.url(host=ELSEWHERE))
    assert (found["database"].status, "can impersonate it" in found["database"].message) == (FindingStatus.RISKY, True)


async def test_a_unix_socket(settings: MakeSettings, database: Database) -> None:
    parameters = f"?host={quote(str(database.server.folder), safe='')}"
    assert (await look(settings, database.server.url(parameters=parameters)))["database"].status is FindingStatus.WELL


async def test_clocks_that_differ(settings: MakeSettings, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synkora.app.check.database.time", lambda: time.time() - 3600)
    assert (await look(settings, database.server.url()))["database-clock"].status is FindingStatus.WRONG
