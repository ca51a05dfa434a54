"""The check of the database outbox, in a real PostgreSQL."""

from tests.access.fixtures import Database
from tests.app.check.conftest import MakeSettings
from tests.docs.documents import ROOT

from synkora.app.check.database_outbox import check_database_outbox
from synkora.app.check.finding import Finding, FindingStatus

SCHEMA = (ROOT / "deploy" / "postgres" / "outbox.sql").read_text()


async def look(settings: MakeSettings, url: str, **variables: str) -> Finding:
    """The only finding, which contains no password."""
    (finding,) = await check_database_outbox(settings(**{"PUBLISH_FROM": "postgres", "DATABASE_URL": url, **variables}))
    assert finding.check == "database-outbox"
    assert "hunter2" not in str(finding)
    return finding


async def test_without_an_outbox(settings: MakeSettings) -> None:
    finding = await look(settings, "postgresql://app:hunter2@127.0.0.1:9/app", PUBLISH_FROM="none")
    assert finding.status is FindingStatus.SKIPPED


async def test_a_database_that_is_away(settings: MakeSettings) -> None:
    finding = await look(settings, "postgresql://app:hunter2@127.0.0.1:9/app")
    assert (finding.status, "unavailable" in finding.message) == (FindingStatus.WRONG, True)


async def test_the_table_its_rights_and_its_trigger(settings: MakeSettings, database: Database) -> None:
    url, run = database.server.url(), database.connection.execute
    finding = await look(settings, url)
    assert (finding.status, "deploy/postgres/outbox.sql" in finding.advice) == (FindingStatus.WRONG, True)
    await run(SCHEMA)
    finding = await look(settings, url)
    assert (finding.status, finding.message) == (FindingStatus.WELL, "it can be read; rows that wait: 0")
    insert = "INSERT INTO synkora_outbox (project, event, payload, problem) VALUES ('p', 'task:create', '{}', $1)"
    await database.connection.execute(insert, None)
    await database.connection.execute(insert, "data: task is missing")
    finding = await look(settings, url)
    assert (finding.status, finding.message) == (FindingStatus.RISKY, "1 rows cannot be published, 1 wait")
    await run("DELETE FROM synkora_outbox; DROP TRIGGER synkora_outbox_written ON synkora_outbox")
    finding = await look(settings, url)
    assert (finding.status, "every second" in finding.advice) == (FindingStatus.RISKY, True)
    await run("CREATE ROLE peeker LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA public TO peeker")
    try:
        finding = await look(settings, f"postgresql://peeker:hunter2@127.0.0.1:{database.server.port}/postgres")
        assert (finding.status, "GRANT SELECT, UPDATE, DELETE" in finding.advice) == (FindingStatus.WRONG, True)
    finally:
        await run("DROP OWNED BY peeker; DROP ROLE peeker")
