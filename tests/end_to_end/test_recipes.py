"""The samples of docs/recipes.md do what the text says, with a real server and pages with the official client."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.access.fixtures import connected
from tests.access.processes import Postgres, find_program
from tests.docs.documents import ROOT, blocks
from tests.support.collector import CALLER, SAMPLED, TRACE, Collector
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import Connect, join, join_both
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, BOB, CLIENTS, PROJECT, User

TOKEN = "the-token-of-the-backend"
MOVED = ["task:move", {"taskId": "t1", "status": "DONE"}]
#: The app's schema, besides the document's model of the outbox. The client uses the driver of PostgreSQL for Node.js.
PRISMA_SCHEMA = """
generator client {
  provider   = "prisma-client-js"
  engineType = "client"
  output     = "generated"
}
datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
model Task {
  id        String @id
  title     String
  status    String
  projectId String
}
"""
PRISMA_CONFIG = """
import { PrismaPg } from "@prisma/adapter-pg";
const adapter = async () => new PrismaPg({ connectionString: process.env.DATABASE_URL });
export default { schema: "schema.prisma", experimental: { adapter: true }, engine: "js", adapter };
"""
PRISMA_CLIENT = """
import { PrismaPg } from "@prisma/adapter-pg";
import generated from "../generated/index.js";
const adapter = new PrismaPg({ connectionString: process.env.DATABASE_URL });
export const prisma = new generated.PrismaClient({ adapter });
"""
MOVE_TASK = f"""
import {{ prisma }} from "./lib/prisma.js";
import {{ moveTask }} from "./lib/tasks.js";
try {{
  console.log((await moveTask("t1", "DONE", "{SAMPLED}")).status);
}} catch (error) {{
  console.log(error.message.includes("not today") ? "rolled back" : error);
}}
process.exit(); // this version of its adapter keeps a connection whose commit has failed
"""
#: The transaction names its trace, and the rows have it from the default of the model.
DELETE_TASK = f"""
import {{ prisma }} from "./lib/prisma.js";
const row = (taskId) => ({{ data: {{ project: "{PROJECT}", event: "task:delete", payload: {{ taskId }} }} }});
await prisma.$transaction(async (tx) => {{
  await tx.$executeRaw`SELECT set_config('synkora.traceparent', ${{"{SAMPLED}"}}, true)`;
  await tx.synkoraOutbox.create(row("t2"));
}});
await prisma.synkoraOutbox.create(row("t3"));
await prisma.$disconnect();
"""
#: Makes each commit of a change fail.
NO_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON "Task" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION refuse();
"""

DELETE_MEMBERSHIP = """
import { execFileSync } from "node:child_process";
export async function deleteMembership(projectId, userId) {
  const options = ["--quiet", `--set=user=${userId}`, process.env.DATABASE_URL];
  execFileSync(process.env.PSQL, options, { input: `DELETE FROM "TeamMember" WHERE "userId" = :'user'` });
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"), API_TOKEN=TOKEN)
    yield server
    assert server.stop() == 0, server.output


class App:
    """A folder with the document's samples, each in the file that its first line names, and the app's own files."""

    def __init__(self, folder: Path, server_url: str) -> None:
        self.folder = folder
        self._url = server_url
        self.write("package.json", '{"type": "module"}')
        (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
        for block in blocks(ROOT / "docs" / "recipes.md"):
            self.write(block.text.split("\n")[0].removeprefix("// "), block.text)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    async def run(self, script: str, **variables: str) -> tuple[str, str]:
        """What a script writes to its two outputs. It has the app's environment."""
        environment = {**os.environ, "WEBSOCKET_API_URL": self._url, "API_TOKEN": TOKEN, **variables}
        return await self._run("node", "--input-type=module", "--eval", script, environment=environment)

    async def compile(self, path: str) -> None:
        options = ["--allowJs", "--jsx", "react-jsx", "--module", "esnext", "--target", "es2022", "--outDir", "built"]
        await self._run(str(CLIENTS / "node_modules/.bin/tsc"), *options, path, environment={**os.environ})

    async def generate_prisma(self, database_url: str) -> str:
        """Generate the app's client of Prisma, and return its SQL of the tables.

        It fails if it needs an engine from another host.
        """
        (model,) = blocks(ROOT / "docs" / "outbox.md", "prisma")
        self.write("schema.prisma", PRISMA_SCHEMA + model.text)
        self.write("prisma.config.mjs", PRISMA_CONFIG)
        self.write("lib/prisma.js", PRISMA_CLIENT)
        variables = {"PRISMA_ENGINES_MIRROR": "http://127.0.0.1:9", "CHECKPOINT_DISABLE": "1", "CI": "1"}
        variables["DATABASE_URL"] = database_url
        prisma = str(CLIENTS / "node_modules/.bin/prisma")
        environment = {**os.environ, **variables}
        await self._run(prisma, "generate", "--no-hints", environment=environment)
        difference = ("--from-empty", "--to-schema-datamodel", "schema.prisma", "--script")
        return (await self._run(prisma, "migrate", "diff", *difference, environment=environment))[0]

    async def _run(self, *command: str, environment: dict[str, str]) -> tuple[str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe
        )
        output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0, (output + errors).decode()
        return output.decode(), errors.decode()


def change(except_: str = "") -> str:
    """A script that sends a request to the route twice, and prints the statuses."""
    headers = json.dumps({"x-socket-id": except_} if except_ else {})
    return f"""
        import {{ PATCH }} from "./app/api/tasks/[taskId]/route.js";
        for (let sent = 0; sent < 2; sent++) {{
          const body = JSON.stringify({{ status: "DONE", changeId: "change-{except_}" }});
          const request = new Request("http://app", {{ method: "PATCH", body, headers: {headers} }});
          const response = await PATCH(request, {{ params: Promise.resolve({{ taskId: "t1" }}) }});
          console.log(response.status);
        }}
    """


@pytest.fixture
def app(server: ServerProcess, tmp_path: Path) -> App:
    app = App(tmp_path, server.url)
    app.write("lib/tasks.js", f"export const saveStatus = async () => ({{ projectId: {PROJECT!r} }});")
    return app


async def test_a_route_publishes_after_saving(app: App, connect_by: Connect) -> None:
    """Once for a repeated request. The page that made the change is left out, if it has a socket."""
    alice, bob = await join_both(connect_by)
    assert await app.run(change(alice.id)) == ("204\n204\n", "")
    assert await bob.next() == MOVED
    assert await app.run(change()) == ("204\n204\n", "")
    assert await alice.next() == await bob.next() == MOVED
    for client in (alice, bob):
        await client.hears_nothing()


async def test_a_route_does_not_fail_without_the_server(app: App) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    output, errors = await app.run(change(), WEBSOCKET_API_URL=away)
    assert output == "204\n204\n"
    assert errors == "not published: fetch failed\n" * 2
    _, errors = await app.run(change(), API_TOKEN="wrong")
    assert errors.count("not published: ") == 2


@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_transaction_of_prisma_publishes_if_it_is_committed(
    start_server: StartServer,
    redis: RedisServer,
    postgres: Postgres,
    connect_by: Connect,
    collector: Collector,
    tmp_path: Path,
    is_committed: bool,
) -> None:
    """With a real client of Prisma, the document's model, and Prisma's migration with what the document appends.

    A later row shows that nothing was published before.
    """
    app = App(tmp_path, "")  # the recipe asks the server for nothing
    tables = await app.generate_prisma(postgres.url())
    outbox = (ROOT / "deploy/postgres/outbox.sql").read_text()
    appended = outbox.partition("\n);\n")[2]
    assert (outbox.count("CREATE TABLE"), appended.count("CREATE "), "CREATE TABLE" in appended) == (1, 3, False)
    async with connected(postgres.url()) as database:
        await database.execute(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {tables} {appended}")
        await database.execute("""INSERT INTO "Task" VALUES ('t1', 'Say hello', 'TODO', $1)""", PROJECT)
        if not is_committed:
            await database.execute(NO_COMMIT)
    settings = {"REDIS_URL": redis.url, "PUBLISH_FROM": "postgres", "DATABASE_URL": postgres.url()}
    server = start_server(**settings, **collector.settings)
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    output, _ = await app.run(MOVE_TASK, DATABASE_URL=postgres.url())
    assert output == ("DONE\n" if is_committed else "rolled back\n")
    await app.run(DELETE_TASK, DATABASE_URL=postgres.url())
    if is_committed:
        assert await alice.next() == MOVED
    assert [await alice.next(), await alice.next()] == [["task:delete", {"taskId": task}] for task in ("t2", "t3")]
    moved = await collector.named("deliver task:move", int(is_committed))
    deleted = await collector.named("deliver task:delete", 2)
    assert [span.trace == TRACE for span in (*moved, *deleted)] == [*[True] * len(moved), True, False]
    published = [span for span in collector.spans if span.name.startswith("publish") and span.trace == TRACE]
    assert {span.parent for span in published} == {CALLER}


async def show_members(database: "asyncpg.Connection[asyncpg.Record]", *users: User) -> None:
    """Make the app's tables, with these users in the project."""
    schema = (ROOT / "tests/access/schema.sql").read_text()
    await database.execute(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {schema}")
    await database.execute("""INSERT INTO "Team" (id, name) VALUES ('team', 'team')""")
    for user in users:
        await database.execute('INSERT INTO "User" (id) VALUES ($1)', user.id)
        await database.execute("""INSERT INTO "TeamMember" (id, "teamId", "userId") VALUES ($1, 'team', $1)""", user.id)
    insert = """
        INSERT INTO "Project" (id, name, "teamId", "createdById", "updatedAt") VALUES ($1, 'project', 'team', $2, now())
    """
    await database.execute(insert, PROJECT, users[0].id)


async def test_access_is_revoked_at_once(
    start_server: StartServer, postgres: Postgres, tmp_path: Path, connect_by: Connect
) -> None:
    """The user is out, is refused again, and the others go on."""
    async with connected(postgres.url()) as database:
        await show_members(database, ALICE, BOB)
    server = start_server(API_TOKEN=TOKEN, PROJECT_ACCESS="postgres", DATABASE_URL=postgres.url())
    app = App(tmp_path, server.url)
    app.write("lib/memberships.js", DELETE_MEMBERSHIP)
    alice, bob = await connect_by(ALICE, url=server.url), await connect_by(BOB, url=server.url)
    await join(alice)
    await join(bob, alice)
    script = f"""
        import {{ revoke }} from "./lib/members.js";
        console.log(await revoke({PROJECT!r}, {ALICE.id!r}));
    """
    variables = {"PSQL": find_program("psql"), "DATABASE_URL": postgres.url()}
    assert await app.run(script, **variables) == ("1\n", "")
    assert (await alice.expect("error"))["message"] == "You no longer have access to this project"
    assert (await bob.expect("user:left"))["userName"] == ALICE.name
    assert (await bob.expect("users:active"))["count"] == 1
    assert (await bob.expect("users:count"))["count"] == 1
    await alice.emit("join-project", PROJECT)
    assert "access" in (await alice.expect("error"))["message"].lower()
    await bob.hears_nothing()


async def test_a_page_from_the_server_shows_who_is_here(app: App, connect_by: Connect) -> None:
    """And nothing while the server is away, or does not answer."""
    await join_both(connect_by)
    await app.compile("app/projects/[projectId]/who-is-here.jsx")
    (built,) = app.folder.joinpath("built").rglob("who-is-here.js")
    script = f"""
        import {{ renderToStaticMarkup }} from "react-dom/server";
        import WhoIsHere from "./{built.relative_to(app.folder)}";
        if (process.env.IS_PATIENT) AbortSignal.timeout = () => undefined; // on a busy machine
        console.log(renderToStaticMarkup(await WhoIsHere({{ projectId: {PROJECT!r} }})));
    """
    names = f"<li>{ALICE.name}</li><li>{BOB.name}</li>"
    shown = (f"<section><h2>2 here</h2><ul>{names}</ul></section>\n", "")
    assert await app.run(script, IS_PATIENT="true") == shown
    away = f"http://127.0.0.1:{free_port()}"
    assert await app.run(script, WEBSOCKET_API_URL=away) == ("\n", "")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert await app.run(script, WEBSOCKET_API_URL=url) == ("\n", "")
