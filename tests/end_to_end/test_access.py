"""Joins, rights and loss of access, with a real database and a real app."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from tests.access.processes import App, Postgres
from tests.access.world import OWN_PROJECT, SECRET, TEAM_PROJECT, small_world
from tests.end_to_end.guarded import (
    AppAuthority,
    Authority,
    DatabaseAuthority,
    Guest,
    serving_guarded,
    token_of,
)
from tests.support.clients import websocket
from tests.support.processes import Synkora
from tests.support.real_clients import WAYS, Connect, join
from tests.support.server_process import ServerProcess, StartServer
from tests.support.servers import Address
from tests.support.users import ISSUED, User

NO_ACCESS = "You do not have access to this project"
LOST_ACCESS = "You no longer have access to this project"
NOT_NOW = "Project access cannot be checked right now: try again"
RECHECK = 0.3  # seconds
TOKENS_BEGIN = "eyJhbGci"  # {"alg", which also shows where a line has been cut short

#: Every event that changes the project: its name, its payload, and what the others get.
EDITS: tuple[tuple[str, dict[str, object], object], ...] = (
    ("task:create", {"task": {"id": "t"}}, {"id": "t"}),
    ("task:update", {"task": {"id": "t"}}, {"id": "t"}),
    ("task:delete", {"taskId": "t"}, {"taskId": "t"}),
    ("task:move", {"taskId": "t", "status": "DONE"}, {"taskId": "t", "status": "DONE"}),
    ("canvas:update", {"changes": [1]}, [1]),
    ("markdown:update", {"fileId": "f", "content": "#"}, {"fileId": "f", "content": "#"}),
    ("spreadsheet:cell-update", {"cell": "A1", "value": 7}, {"cell": "A1", "value": 7}),
)
#: Every event that only shows a user's activity, with its payload.
SIGNS: tuple[tuple[str, dict[str, object]], ...] = (
    ("canvas:cursor", {"position": {"x": 1}}),
    ("markdown:cursor", {"fileId": "f", "position": 2}),
    ("spreadsheet:selection", {"selection": "A1:B2"}),
    ("typing:start", {"context": "title", "timestamp": 3}),
    ("typing:stop", {"context": "title"}),
)

Come = Callable[[Address, str], Awaitable[Guest]]


@pytest_asyncio.fixture(loop_scope="session", params=["postgres", "http"])
async def authority(request: pytest.FixtureRequest) -> AsyncIterator[Authority]:
    """The database and the app, each with the small world."""
    found: Authority
    if request.param == "postgres":
        found = database = DatabaseAuthority(request.getfixturevalue("postgres"))
        await database.show(small_world(), create=True)
    else:
        found = AppAuthority(request.getfixturevalue("app"))
    yield found
    found.come_back()


@pytest.fixture
def process(authority: Authority, start_server: StartServer) -> ServerProcess:
    """`synkora serve`, which asks the authority."""
    return start_server(NEXTAUTH_SECRET=SECRET, LOG_LEVEL="debug", **authority.variables)


@pytest.fixture
def address(process: ServerProcess) -> Address:
    return Address(process.port, "/socket.io/")


@pytest_asyncio.fixture(loop_scope="session")
async def come() -> AsyncIterator[Come]:
    """Connects users of the test data, and disconnects them after the test."""
    async with AsyncExitStack() as connections:

        async def connect(address: Address, user_id: str) -> Guest:
            guest = Guest(await connections.enter_async_context(websocket(address)), user_id)
            await guest.sign_in()
            return guest

        yield connect


@pytest.mark.parametrize(
    ("user_id", "project"), [("owner", TEAM_PROJECT), ("editor", TEAM_PROJECT), ("creator", OWN_PROJECT)]
)
async def test_owners_editors_and_creators_join_and_edit(
    address: Address, come: Come, user_id: str, project: str
) -> None:
    """Each of their edits reaches the others: another member, or another tab of the creator."""
    other = await come(address, "viewer" if project == TEAM_PROJECT else "creator")
    await other.join(project=project)
    guest = await come(address, user_id)
    assert set(await guest.join(other, project=project)) == {other.user_id, user_id}
    for event, payload, delivery in EDITS:
        assert await guest.writes(event, payload, delivery, other, project)


async def test_viewers_see_and_are_seen_and_change_nothing(address: Address, come: Come) -> None:
    """They are in the list, get edits, send cursors and typing. Their own edits are refused with a message."""
    owner, viewer = await come(address, "owner"), await come(address, "viewer")
    await owner.join()
    assert await viewer.join(owner) == ["owner", "viewer"]
    for event, payload in SIGNS:
        await viewer.emit(event, {"projectId": TEAM_PROJECT, **payload})
        delivery = await owner.expect(event)
        assert delivery["socketId"] == viewer.socket_id
        assert payload.items() <= delivery.items()
    for event, payload, delivery in EDITS:
        assert not await viewer.writes(event, payload, delivery, owner)
        assert await owner.writes(event, payload, delivery, viewer)


@pytest.mark.parametrize("project", [TEAM_PROJECT, "proj_unknown"])
async def test_users_without_access_are_refused_and_get_nothing(address: Address, come: Come, project: str) -> None:
    """A foreign project and a missing one look the same. Members do not notice the attempt."""
    owner, editor, stranger = [await come(address, name) for name in ("owner", "editor", "stranger")]
    await owner.join()
    await stranger.is_refused(NO_ACCESS, project)
    assert await editor.join(owner) == ["owner", "editor"]
    assert await editor.writes("task:create", {"task": 1}, 1, owner)
    await stranger.hears_nothing()
    for event, payload, _ in EDITS:
        await stranger.emit(event, {"projectId": project, **payload})
        assert await stranger.expect("error") == {"message": f"{event}: join the project first", "event": event}
    await owner.hears_nothing()
    await editor.hears_nothing()


@pytest.mark.parametrize("how", ["away", "frozen"])
async def test_without_an_answer_joins_are_refused_and_members_stay(
    address: Address, come: Come, authority: Authority, how: str
) -> None:
    """Members and their new tabs continue. Others get a message to try again, which works without a restart."""
    owner, viewer = await come(address, "owner"), await come(address, "viewer")
    await owner.join()
    await viewer.join(owner)
    await asyncio.to_thread(authority.go_away if how == "away" else authority.freeze)
    editor, stranger = await come(address, "editor"), await come(address, "stranger")
    await asyncio.gather(editor.is_refused(NOT_NOW), stranger.is_refused(NOT_NOW))
    assert await owner.writes("task:create", {"task": 1}, 1, viewer)
    assert not await viewer.writes("task:create", {"task": 1}, 1, owner)
    tab = await come(address, "owner")
    assert await tab.join(owner, viewer) == ["owner", "viewer"]
    await asyncio.to_thread(authority.come_back)
    assert await editor.join(owner, viewer, tab) == ["owner", "viewer", "editor"]
    await stranger.is_refused(NO_ACCESS)
    assert await editor.writes("task:create", {"task": 2}, 2, owner)


async def test_a_start_without_an_answer_is_a_start(
    start_server: StartServer, come: Come, authority: Authority
) -> None:
    """The server may start before the app and its database. It asks when they are available."""
    authority.go_away()
    address = Address(start_server(NEXTAUTH_SECRET=SECRET, **authority.variables).port, "/socket.io/")
    owner = await come(address, "owner")
    await owner.is_refused(NOT_NOW)
    await asyncio.to_thread(authority.come_back)
    assert await owner.join() == ["owner"]


async def test_the_log_names_the_policy_and_failures_without_a_secret(
    process: ServerProcess, address: Address, come: Come, authority: Authority
) -> None:
    """The most detailed log contains neither a password nor a token, whatever the failure."""
    kind = authority.variables["PROJECT_ACCESS"]
    process.line(lambda line: line.startswith(f"✓ PROJECT_ACCESS={kind}: "))
    owner, stranger = await come(address, "owner"), await come(address, "stranger")
    await owner.join()
    await stranger.is_refused(NO_ACCESS)
    await asyncio.to_thread(authority.go_away)
    editor = await come(address, "editor")
    await editor.is_refused(NOT_NOW)
    process.line(lambda line: line.startswith("! Access check failed: "))
    assert await asyncio.to_thread(process.stop) == 0
    assert all(token.startswith(TOKENS_BEGIN) for token in ISSUED[-3:])
    secrets = [SECRET, Postgres.password, quote(Postgres.password, safe=""), TOKENS_BEGIN, *ISSUED]
    assert not [secret for secret in secrets if secret in process.output]
    assert process.stderr == []


async def test_a_wrong_password_is_logged_and_not_quoted(
    postgres: Postgres, start_server: StartServer, come: Come
) -> None:
    """A refusal by the database is no answer: users get a message to try again, and the log has the reason."""
    url = postgres.url().replace(quote(Postgres.password, safe=""), "outdated")
    server = start_server(NEXTAUTH_SECRET=SECRET, LOG_LEVEL="debug", PROJECT_ACCESS="postgres", DATABASE_URL=url)
    owner = await come(Address(server.port, "/socket.io/"), "owner")
    await owner.is_refused(NOT_NOW)
    line = server.line(lambda line: line.startswith("! Access check failed: "))
    assert "password authentication failed" in line
    assert "outdated" not in server.output


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", None),
        ("DATABASE_URL", "mysql://app:hidden@127.0.0.1/app"),
        ("DATABASE_URL", "postgresql://app:hid/den@127.0.0.1/app"),
        ("DATABASE_URL", "postgresql://app:hidden#@127.0.0.1/app"),
        ("DATABASE_URL", "postgresql://app:hidden@127.0.0.1:0/app"),
        ("APP_URL", None),
        ("APP_URL", "app.example.com"),
        ("APP_URL", "ftp://app:hidden@app.example.com"),
        ("APP_URL", "https://app.example.com/?key=hidden"),
    ],
)
async def test_an_unreachable_service_is_reported_in_one_line(tmp_path: Path, variable: str, value: str | None) -> None:
    """The process exits with 1 before it listens, names the variable, and does not quote it."""
    kind = "postgres" if variable == "DATABASE_URL" else "http"
    given = {} if value is None else {variable: value}
    settings = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0", "PROJECT_ACCESS": kind, **given}
    with Synkora(tmp_path, "serve", **settings) as program:
        assert await asyncio.to_thread(program.wait) == 1
    assert program.stdout == []
    [line] = program.stderr
    assert variable in line
    assert "hid" not in line
    assert "den" not in line


class Member(User):
    """A user of the small world, for the real clients."""

    @property
    def token(self) -> str:
        return token_of(self.id)


async def test_the_apps_client_learns_of_refusals(app: App, start_server: StartServer, connect_by: Connect) -> None:
    """In JavaScript, starting with polling like the app's pages: a refusal does not disconnect."""
    server = start_server(NEXTAUTH_SECRET=SECRET, **AppAuthority(app).variables)

    async def connect(name: str) -> Any:
        return await connect_by(Member(name, name), url=server.url, way=WAYS["js-upgrade"])

    owner, viewer, stranger = [await connect(name) for name in ("owner", "viewer", "stranger")]
    await join(owner, project=TEAM_PROJECT)
    await join(viewer, owner, project=TEAM_PROJECT)
    await stranger.emit("join-project", TEAM_PROJECT)
    assert (await stranger.expect("error"))["message"] == NO_ACCESS
    await viewer.emit("task:create", {"projectId": TEAM_PROJECT, "task": 1})
    assert (await viewer.expect("error"))["message"] == "task:create: viewers may not change the project"
    await owner.emit("task:create", {"projectId": TEAM_PROJECT, "task": 2})
    assert await viewer.expect("task:create") == 2
    for client in (owner, viewer, stranger):
        await client.hears_nothing()


async def test_a_user_removed_from_the_team_leaves_the_project(authority: Authority, come: Come) -> None:
    """They get a message and no further events. The others get the leave."""
    async with serving_guarded(authority, recheck=RECHECK) as (address, _):
        owner, editor = await come(address, "owner"), await come(address, "editor")
        await owner.join()
        await editor.join(owner)
        world = small_world()
        del world.teams["team"]["editor"]
        await authority.show(world)
        assert await editor.expect("error") == {"message": LOST_ACCESS, "projectId": TEAM_PROJECT}
        left = await owner.expect("user:left")
        assert (left["socketId"], left["userId"]) == (editor.socket_id, "editor")
        active = await owner.expect("users:active")
        assert [user["userId"] for user in active["users"]] == ["owner"]
        assert await owner.expect("users:count") == {"count": 1}
        await owner.emit("task:create", {"projectId": TEAM_PROJECT, "task": 1})
        await owner.hears_nothing()
        await editor.emit("task:create", {"projectId": TEAM_PROJECT, "task": 2})
        assert (await editor.expect("error"))["message"] == "task:create: join the project first"
        await owner.hears_nothing()
        await editor.is_refused(NO_ACCESS)
