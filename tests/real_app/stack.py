"""The app's environment: its database, this server, and a relay between the pages and the server."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
import httpx
from tests.access.fixtures import connected
from tests.access.processes import Postgres
from tests.real_app.checkout import Built, tables
from tests.support.processes import Program, free_port
from tests.support.relay import Relay, relaying
from tests.support.server_process import ServerProcess
from tests.support.users import SECRET

PROJECT: Final = "project-of-two"
_PASSWORD: Final = secrets.token_urlsafe()
_PATIENCE: Final = 120  # seconds

_MAKE_PROJECT: Final = """
INSERT INTO "Team" (id, name, "updatedAt") VALUES ('team-of-two', 'Two', now());
INSERT INTO "Project" (id, name, "teamId", "createdById", "updatedAt")
    SELECT 'project-of-two', 'The project', 'team-of-two', id, now() FROM "User" WHERE name = 'alice';
"""
_TAKE_ROLE: Final = """
DELETE FROM "TeamMember" WHERE "teamId" = 'team-of-two' AND "userId" = (SELECT id FROM "User" WHERE email = $1)
"""
_GIVE_ROLE: Final = """
INSERT INTO "TeamMember" (id, "teamId", "userId", role)
    SELECT id, 'team-of-two', id, $2::text::"Role" FROM "User" WHERE email = $1
"""


class Stack:
    """The running app and server. The pages reach the server through `relay`."""

    password = _PASSWORD

    def __init__(
        self, origin: str, database: "asyncpg.Connection[asyncpg.Record]", postgres: Postgres, folder: Path
    ) -> None:
        self.origin = origin
        self._database = database
        self._folder = folder
        self._settings = {
            "ALLOWED_ORIGINS": origin,
            "PROJECT_ACCESS": "postgres",
            "DATABASE_URL": postgres.url(),
            "LOG_LEVEL": "debug",
        }
        self.server = ServerProcess(folder, **self._settings)
        self.app: Program
        self.relay: Relay

    def start_again(self) -> None:
        self.server = ServerProcess(self._folder, WS_PORT=str(self.server.port), **self._settings)

    async def make_users(self, users: dict[str, str]) -> None:
        """Register users with these names and addresses, and create the first one's project."""
        async with httpx.AsyncClient(base_url=self.origin, timeout=_PATIENCE, trust_env=False) as http:
            for name, email in users.items():
                user = {"name": name, "email": email, "password": self.password}
                (await http.post("/api/auth/register", json=user)).raise_for_status()
        await self._database.execute(_MAKE_PROJECT)

    async def give_role(self, email: str, role: str | None) -> None:
        """Give a user this role in the project's team. Without a role, they are no member."""
        await self._database.execute(_TAKE_ROLE, email)
        if role is not None:
            await self._database.execute(_GIVE_ROLE, email, role)


@asynccontextmanager
async def running(built: Built) -> AsyncIterator[Stack]:
    postgres = Postgres()
    try:
        postgres.start()
        async with connected(postgres.url()) as database:
            await database.execute(await asyncio.to_thread(tables, built, postgres.url()))
            with tempfile.TemporaryDirectory() as folder:
                port = free_port()
                stack = Stack(f"http://localhost:{port}", database, postgres, Path(folder))
                try:
                    with _app(built, port, postgres) as stack.app:
                        async with relaying(stack.server.port, built.port) as stack.relay:
                            await _answers(stack)
                            yield stack
                finally:
                    await asyncio.to_thread(stack.server.kill)
    finally:
        postgres.remove()


def _app(built: Built, port: int, postgres: Postgres) -> Program:
    """The app. Its own server.js would listen on all addresses, and ask GitHub from time to time."""
    return Program(
        ["node_modules/.bin/next", "start", "--hostname", "127.0.0.1", "--port", str(port)],
        built.folder,
        NODE_ENV="production",
        NEXT_TELEMETRY_DISABLED="1",
        NEXTAUTH_URL=f"http://localhost:{port}",
        NEXTAUTH_SECRET=SECRET,
        DATABASE_URL=postgres.url(),
    )


async def _answers(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.origin, timeout=_PATIENCE, trust_env=False) as http:
        async with asyncio.timeout(_PATIENCE):
            while stack.app.process.poll() is None:
                try:
                    (await http.get("/api/auth/session")).raise_for_status()
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
    raise AssertionError(f"the app has ended:\n{stack.app.output}")
