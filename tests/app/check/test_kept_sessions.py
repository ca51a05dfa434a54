"""The check of sessions in the app's database: suitable and unsuitable real ones."""

from tests.access.fixtures import Database
from tests.app.check.conftest import MakeSettings

from synkora.app.check.finding import Finding, FindingStatus
from synkora.app.check.kept_sessions import check_kept_sessions


async def look(settings: MakeSettings, **variables: str) -> Finding:
    """The only finding, which contains no password."""
    (finding,) = await check_kept_sessions(settings(**variables))
    assert finding.check == "kept-sessions"
    assert "hunter2" not in str(finding)
    return finding


async def test_without_a_database(settings: MakeSettings) -> None:
    """The finding names the missing feature and the variable."""
    for variables in ({}, {"DATABASE_URL": "file:./hunter2.db"}):
        finding = await look(settings, **variables)
        assert finding.status is FindingStatus.SKIPPED
        assert "DATABASE_URL" in finding.message
        assert "sessions that the app keeps in its database" in finding.message


async def test_with_the_apps_tables(settings: MakeSettings, database: Database) -> None:
    assert (await look(settings, DATABASE_URL=database.server.url())).status is FindingStatus.WELL
    connection = database.connection
    await connection.execute("CREATE ROLE peeker LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA public TO peeker")
    try:
        url = f"postgresql://peeker:hunter2@127.0.0.1:{database.server.port}/postgres"
        finding = await look(settings, DATABASE_URL=url)
        assert (finding.status, 'GRANT SELECT ON "Session"' in finding.advice) == (FindingStatus.RISKY, True)
    finally:
        await connection.execute("DROP OWNED BY peeker; DROP ROLE peeker")
    await connection.execute('DROP TABLE "Session"')
    assert (await look(settings, DATABASE_URL=database.server.url())).status is FindingStatus.SKIPPED


async def test_a_database_that_is_away(settings: MakeSettings) -> None:
    """Risky for an app that keeps its sessions in the database, irrelevant for an app with tokens."""
    finding = await look(settings, DATABASE_URL="postgresql://app:hunter2@127.0.0.1:9/app")
    assert finding.status is FindingStatus.RISKY
