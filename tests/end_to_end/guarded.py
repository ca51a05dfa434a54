"""Authorities on project access, users with roles, and servers that ask."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import psutil
from tests.access.fixtures import Database, connected
from tests.access.processes import App, Postgres
from tests.access.world import SECRET, TEAM_PROJECT, World, nextauth_v4
from tests.support.clients import WebSocket
from tests.support.positions import without_position
from tests.support.processes import PATIENCE
from tests.support.servers import Address, serving
from tests.support.users import ISSUED

from synkora.access.http import HttpAccess
from synkora.access.postgres import PostgresAccess
from synkora.collaboration.access import AccessPolicy
from synkora.collaboration.collaboration import Collaboration
from synkora.engine.incidents import Incidents
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring
from synkora.sockets.server import SocketServer


class Authority(Protocol):
    """The app or its database, which can be unavailable for a time."""

    @property
    def variables(self) -> dict[str, str]: ...

    def policy(self) -> AccessPolicy: ...

    async def show(self, world: World) -> None: ...

    def go_away(self) -> None:
        """Refuse new connections, and abort the open ones."""
        ...

    def freeze(self) -> None:
        """Accept connections, and never answer."""
        ...

    def come_back(self) -> None:
        """Answer again, at the same address."""
        ...


class DatabaseAuthority:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._frozen: list[psutil.Process] = []
        self._is_away = False

    @property
    def variables(self) -> dict[str, str]:
        return {"PROJECT_ACCESS": "postgres", "DATABASE_URL": self._postgres.url()}

    def policy(self) -> AccessPolicy:
        return PostgresAccess(self._postgres.url())

    async def show(self, world: World, *, create: bool = False) -> None:
        async with connected(self._postgres.url()) as connection:
            database = Database(self._postgres, connection)
            if create:
                await database.create()
            await database.show(world)

    def go_away(self) -> None:
        """Refuse new connections, and abort the open ones."""
        self._postgres.stop()
        self._is_away = True

    def freeze(self) -> None:
        """Accept connections, and never answer."""
        server = psutil.Process(self._postgres.pid)
        self._frozen = [server, *server.children(recursive=True)]
        for process in self._frozen:
            process.suspend()

    def come_back(self) -> None:
        """Answer again, at the same address."""
        for process in self._frozen:
            if process.is_running():
                process.resume()
        self._frozen = []
        if self._is_away:
            self._postgres.start()
            self._is_away = False


class AppAuthority:
    def __init__(self, app: App) -> None:
        self._app = app
        self._is_frozen = False
        self._is_away = False

    @property
    def variables(self) -> dict[str, str]:
        return {"PROJECT_ACCESS": "http", "APP_URL": self._app.url}

    def policy(self) -> AccessPolicy:
        return HttpAccess(self._app.url)

    async def show(self, world: World) -> None:
        self._app.show(world)

    def go_away(self) -> None:
        """Refuse new connections, and abort the open ones."""
        self._app.stop()
        self._is_away = True

    def freeze(self) -> None:
        """Accept connections, and never answer."""
        self._app.signal(signal.SIGSTOP)
        self._is_frozen = True

    def come_back(self) -> None:
        """Answer again, at the same address."""
        if self._is_frozen:
            self._app.signal(signal.SIGCONT)
            self._is_frozen = False
        if self._is_away:
            self._app.start()
            self._is_away = False


class Guest:
    """A user of the small world, signed in with a session of the app."""

    def __init__(self, client: WebSocket, user_id: str) -> None:
        self.user_id = user_id
        self.socket_id = ""
        self._client = client

    async def sign_in(self) -> None:
        token = token_of(self.user_id)
        self.socket_id = await self._client.connect(auth={"token": token})
        assert (await self.expect("connected"))["userId"] == self.user_id

    async def emit(self, *event: object) -> None:
        await self._client.emit(*event)

    async def next(self) -> list[Any]:
        return without_position(await self._client.event())

    async def expect(self, name: str) -> Any:
        """The argument of the next event, which must be `name`."""
        event = await self.next()
        assert event[0] == name, f"{self.user_id} got {event}, not {name}"
        assert len(event) == 2
        return event[1]

    async def hears_nothing(self) -> None:
        """Fail if anything comes before the answer to a ping that is sent now."""
        await self.emit("ping")
        await self.expect("pong")

    async def join(self, *others: "Guest", project: str = TEAM_PROJECT) -> list[str]:
        """Join a project with the members `others`, and return the ids of the listed users, which all of them must
        agree on.
        """
        await self.emit("join-project", project)
        active = await self.expect("users:active")
        assert await self.expect("users:count") == {"count": active["count"]}
        for other in others:
            joined = await other.expect("user:joined")
            assert (joined["socketId"], joined["userId"]) == (self.socket_id, self.user_id)
            assert await other.expect("users:count") == {"count": active["count"]}
        return [user["userId"] for user in active["users"]]

    async def is_refused(self, message: str, project: str = TEAM_PROJECT) -> None:
        """Try to join a project. Fail unless the only answer is an `error` with this message."""
        await self.emit("join-project", project)
        error = await self.expect("error")
        assert error == {"message": message, "event": "join-project", "projectId": project}, error
        await self.hears_nothing()

    async def writes(
        self, event: str, payload: dict[str, object], delivery: object, other: "Guest", project: str = TEAM_PROJECT
    ) -> bool:
        """Send an edit. Returns whether `other` gets it; otherwise the only answer must be a viewer's `error`."""
        await self.emit(event, {"projectId": project, **payload})
        await self.emit("ping")
        answer = await self.next()
        if answer[0] == "pong":
            assert await other.next() == [event, delivery]
            return True
        message = f"{event}: viewers may not change the project"
        assert answer == ["error", {"message": message, "event": event, "projectId": project}]
        await self.expect("pong")
        await other.hears_nothing()
        return False


def token_of(user_id: str) -> str:
    """A session of the app. Only the app makes such sessions."""
    token = nextauth_v4(user_id, name=f"Name of {user_id}").token
    ISSUED.append(token)
    return token


async def until_writes(guest: Guest, other: Guest, *, wanted: bool) -> None:
    """Edit until `other` gets it, or until it is refused, as `wanted`. Fails if this does not happen."""
    async with asyncio.timeout(PATIENCE):
        # At a pace that no limit is reached with.
        while await guest.writes("task:update", {"task": 1}, 1, other) is not wanted:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def serving_guarded(
    authority: Authority, *, recheck: float, origins: Sequence[str] = ()
) -> AsyncIterator[tuple[Address, Incidents]]:
    """Synkora on a port, which rechecks its members every `recheck` seconds."""
    server = SocketServer(origins=origins)
    collaboration = Collaboration(
        server.of("/"),
        Authenticator(Keyring(SECRET)),
        policy=authority.policy(),
        incidents=server.incidents,
        recheck=recheck,
    )
    async with serving(server) as address:
        yield address, server.incidents
    await collaboration.close()
