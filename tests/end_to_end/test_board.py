"""The board of the web app in a real browser, used by two users while connections and servers break.

The page joins only when it opens.
"""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.access.processes import App, Postgres
from tests.access.world import SECRET, TEAM_PROJECT, small_world
from tests.end_to_end.app_database import make_outbox, psql, reader_and_other
from tests.end_to_end.board import Colleague, build_page
from tests.end_to_end.guarded import AppAuthority, serving_guarded
from tests.support.node_process import NodeProcess
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay, relaying
from tests.support.server_process import ServerProcess, StartServer

RECHECK = 0.3  # seconds

#: Opens the board as one of the app's users; the connection uses the relay.
Come = Callable[[str, int], Awaitable[tuple[Colleague, Relay]]]

_titles = (f"Task {number:03}" for number in itertools.count())


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    pages = tmp_path_factory.mktemp("pages")
    build_page(pages)
    app = App(tmp_path_factory.mktemp("app"), pages=pages)
    app.show(small_world())
    app.start()
    yield app
    app.stop()


@pytest.fixture
def origin(board: App) -> str:
    board.show(small_world())
    return board.url.replace("127.0.0.1", "localhost")


@pytest.fixture
def server(board: App, origin: str, start_server: StartServer) -> ServerProcess:
    return start_server(NEXTAUTH_SECRET=SECRET, ALLOWED_ORIGINS=origin, **AppAuthority(board).variables)


@pytest_asyncio.fixture(loop_scope="session")
async def come(chromium: NodeProcess, board: App) -> AsyncIterator[Come]:
    async with AsyncExitStack() as stack:

        async def come(user_id: str, port: int) -> tuple[Colleague, Relay]:
            relay = await stack.enter_async_context(relaying(port))
            colleague = Colleague(chromium)
            stack.push_async_callback(colleague.close)
            await colleague.come(board, user_id, relay.port)
            return colleague, relay

        yield come


async def edits_arrive(sender: Colleague, receiver: Colleague) -> None:
    """Create a task and move it. Fails unless each edit arrives, once and in order."""
    title = next(_titles)
    before = await receiver.events("task:move")
    await sender.play(f"await make('{title}');")
    await receiver.play(f"await has('{title}', 'TODO');")
    statuses = ["IN_PROGRESS", "DONE", "TODO", "IN_PROGRESS", "DONE"]
    await sender.play("".join(f"await move('{title}', '{status}');" for status in statuses))
    await receiver.play(
        f"await until(async () => (await received()).filter(([name]) => name === 'task:move').length"
        f" === {len(before) + len(statuses)}, 'all moves');"
    )
    moves = (await receiver.events("task:move"))[len(before) :]
    assert [move["status"] for move in moves] == statuses
    await receiver.play(f"await has('{title}', 'DONE');")
    assert await receiver.play(f"return card('{title}').count();") == 1


async def test_two_users_edit_one_board(server: ServerProcess, come: Come) -> None:
    """Each is listed once, although two hooks join, twice each in StrictMode."""
    (owner, _), (editor, _) = await come("owner", server.port), await come("editor", server.port)
    for colleague in (owner, editor):
        await colleague.play("await until(async () => await names() === 'Name of editor, Name of owner', 'both');")
    await edits_arrive(owner, editor)
    await edits_arrive(editor, owner)
    assert owner.console == editor.console == []
    assert await owner.events("user:left") == []


async def test_two_connects_at_once_are_one_connection(server: ServerProcess, come: Come) -> None:
    """One hook connects while the CONNECT of another is unanswered: the page stays connected."""
    (owner, _), (editor, _) = await come("owner", server.port), await come("editor", server.port)
    await editor.play("""
        await page.evaluate(() => {
          socket.disconnect();
          socket.io.once('open', () => socket.connect());
          socket.connect();
        });
        await live();
    """)
    await edits_arrive(editor, owner)
    assert editor.console == []


async def test_after_a_restart_without_a_folder_the_board_continues_to_send(
    server: ServerProcess, come: Come, start_server: StartServer, origin: str, board: App
) -> None:
    """Each edit arrives at a page that was opened afterwards."""
    (owner, _), (editor, _) = await come("owner", server.port), await come("editor", server.port)
    assert await asyncio.to_thread(server.stop) == 0
    for colleague in (owner, editor):
        await colleague.play("await offline();")
    start_server(
        NEXTAUTH_SECRET=SECRET,
        ALLOWED_ORIGINS=origin,
        WS_PORT=str(server.port),
        **AppAuthority(board).variables,
    )
    for colleague in (owner, editor):
        await colleague.play("await live();")
    await owner.play("await page.reload(); await live(); await users.first().waitFor();")
    await edits_arrive(editor, owner)
    assert not [line for line in owner.console + editor.console if "refused" in line]


async def misses_nothing(
    away: Colleague, relay: Relay, other: Colleague, breaks: Callable[[], Awaitable[None]]
) -> None:
    """Have a board be away while the other one makes changes, before it `breaks` and after. Each edit has to arrive."""
    titles = [next(_titles) for _ in range(3)]
    relay.is_stuck = True
    relay.reset()
    await away.play("await offline();")
    await other.play(f"await make('{titles[0]}'); await move('{titles[0]}', 'DONE'); await handled();")
    await breaks()
    await other.play(f"await live(); await make('{titles[1]}');")
    relay.is_stuck = False
    await away.play(f"await live(); await has('{titles[0]}', 'DONE'); await has('{titles[1]}', 'TODO');")
    await other.play(f"await make('{titles[2]}');")
    await away.play(f"await has('{titles[2]}', 'TODO');")
    created = [task["title"] for task in await away.events("task:create")]
    assert created[-3:] == titles
    assert len(created) == len(set(created))
    await edits_arrive(away, other)
    await edits_arrive(other, away)
    assert await other.events("user:left") == []
    assert not [line for line in away.console + other.console if "refused" in line]


async def _end(server: ServerProcess, ending: signal.Signals) -> None:
    if ending is signal.SIGKILL:
        await asyncio.to_thread(server.kill)
    else:
        assert await asyncio.to_thread(server.stop) == 0


async def test_a_board_of_one_instance_misses_nothing(
    board: App, origin: str, come: Come, start_server: StartServer, tmp_path: Path
) -> None:
    """Through a reset, a restart and kill -9 of the server. Neither page is reloaded, or joins again."""
    variables = {"NEXTAUTH_SECRET": SECRET, "ALLOWED_ORIGINS": origin, **AppAuthority(board).variables}
    variables |= {"STATE_DIR": str(tmp_path / "state"), "PRESENCE_GRACE": "30"}
    server = start_server(**variables)
    (owner, _), (editor, relay) = await come("owner", server.port), await come("editor", server.port)

    async def end(ending: signal.Signals) -> None:
        nonlocal server
        await _end(server, ending)
        await owner.play("await offline();")
        server = await asyncio.to_thread(lambda: start_server(WS_PORT=str(server.port), **variables))

    await misses_nothing(editor, relay, owner, lambda: asyncio.sleep(0))
    await misses_nothing(editor, relay, owner, lambda: end(signal.SIGTERM))
    await misses_nothing(editor, relay, owner, lambda: end(signal.SIGKILL))


async def test_a_board_of_two_instances_misses_nothing(
    board: App, origin: str, come: Come, start_server: StartServer, redis: RedisServer
) -> None:
    """Through a reset, and through a restart and kill -9 of its instance. It returns to the other one."""
    variables = {"NEXTAUTH_SECRET": SECRET, "ALLOWED_ORIGINS": origin, **AppAuthority(board).variables}
    variables |= {"REDIS_URL": redis.url, "PRESENCE_GRACE": "30"}
    first, second = (start_server(**variables) for _ in range(2))
    (owner, _), (editor, relay) = await come("owner", second.port), await come("editor", first.port)

    async def end(ending: signal.Signals) -> None:
        await _end(first, ending)
        relay.target = second.port

    await misses_nothing(editor, relay, owner, lambda: asyncio.sleep(0))
    await misses_nothing(editor, relay, owner, lambda: end(signal.SIGTERM))
    first = await asyncio.to_thread(lambda: start_server(WS_PORT=str(first.port), **variables))
    relay.target = first.port
    relay.reset()
    await editor.play("await offline(); await live();")
    await misses_nothing(editor, relay, owner, lambda: end(signal.SIGKILL))


async def changes(colleague: Colleague, count: int) -> list[Any]:
    """The names and payloads of all changes that others have made. Fails unless there are so many of them."""
    await colleague.play(f"""
        const changes = async () => (await received()).filter(([name]) => name.startsWith('task:'));
        await until(async () => (await changes()).length >= {count}, '{count} changes');
        await handled();
    """)
    found = [event[:2] for event in await colleague.play("return received();") if event[0].startswith("task:")]
    assert len(found) == count
    return found


async def test_rows_written_with_psql_and_moves_have_one_order_on_all_boards(
    board: App, origin: str, come: Come, start_server: StartServer, redis: RedisServer, postgres: Postgres
) -> None:
    """Each comes once, also through kill -9 of the instance that reads the outbox, and has the editor's board."""
    make_outbox(postgres)
    variables = {"NEXTAUTH_SECRET": SECRET, "ALLOWED_ORIGINS": origin, **AppAuthority(board).variables}
    variables |= {"REDIS_URL": redis.url, "PUBLISH_FROM": "postgres", "DATABASE_URL": postgres.url()}
    reader, other = await reader_and_other(*[start_server(**variables, PRESENCE_GRACE="30") for _ in range(2)])
    editor, relay = await come("editor", reader.port)
    (owner, _), (viewer, _) = await come("owner", other.port), await come("viewer", other.port)
    tasks = {colleague: next(_titles) for colleague in (owner, editor)}
    for colleague, title in tasks.items():
        await colleague.play(f"await make('{title}');")
        await viewer.play(f"await has('{title}', 'TODO');")
    rows = [f"Row {number}" for number in range(30)]

    async def write(some: list[str]) -> None:
        for row in some:
            insert = """INSERT INTO "Task" VALUES (:'row', :'row', 'TODO', :'project')"""
            await asyncio.to_thread(psql, postgres, insert, row=row, project=TEAM_PROJECT)

    async def move(colleague: Colleague) -> None:
        for status in ("IN_PROGRESS", "DONE", "TODO") * 3:
            await colleague.play(f"await move('{tasks[colleague]}', '{status}');")
        await colleague.play("await handled();")

    # A board that returns gets the last move of a task alone, so the owner makes tasks meanwhile.
    made = [next(_titles) for _ in range(5)]
    await asyncio.gather(move(owner), move(editor), write(rows[:15]))
    writing = asyncio.create_task(write(rows[15:]))
    await viewer.play(f"await has('{rows[15]}', 'TODO');")
    await asyncio.to_thread(reader.kill)
    relay.target = other.port
    await editor.play("await offline();")
    await owner.play("".join(f"await make('{title}');" for title in made))
    await editor.play("await live();")
    await asyncio.gather(move(owner), move(editor), writing)
    await owner.play("await handled();")
    whole = await changes(viewer, len(rows) + 2 + 36 + len(made))
    ids = {payload["title"]: payload["id"] for name, payload in whole if name == "task:create"}
    assert [title for title in ids if title in rows] == rows
    for colleague, own in ((owner, [tasks[owner], *made]), (editor, [tasks[editor]])):
        its = [ids[title] for title in own]
        others = [change for change in whole if change[1].get("taskId", change[1].get("id")) not in its]
        assert await changes(colleague, len(others)) == others
        moves = [payload["status"] for name, payload in whole if payload.get("taskId") in its]
        assert moves == ["IN_PROGRESS", "DONE", "TODO"] * 6
    for colleague in (viewer, owner, editor):
        cards = await colleague.play("return page.locator('[data-status=TODO] .card').allTextContents();")
        assert [card.split("TODO")[0] for card in cards if card.startswith("Row")] == rows


async def test_a_reloaded_board_is_as_the_others(server: ServerProcess, come: Come) -> None:
    """It shows earlier edits. The user is listed once, and edits go both ways."""
    (owner, _), (editor, _) = await come("owner", server.port), await come("editor", server.port)
    title = next(_titles)
    await owner.play(f"await make('{title}'); await move('{title}', 'DONE');")
    await editor.play(f"await has('{title}', 'DONE');")
    await editor.play(f"await page.reload(); await live(); await has('{title}', 'DONE');")
    for colleague in (owner, editor):
        await colleague.play("await until(async () => await names() === 'Name of editor, Name of owner', 'both');")
    await edits_arrive(owner, editor)
    await edits_arrive(editor, owner)
    assert owner.console == editor.console == []


async def test_a_change_of_the_tab_is_no_leave(server: ServerProcess, come: Come) -> None:
    """The others get no leave of a page that rejoins immediately. A page whose new tab joins nothing has left."""
    (owner, _), (editor, _) = await come("owner", server.port), await come("editor", server.port)
    viewer, _ = await come("viewer", server.port)
    await editor.play("""
        await page.getByRole('button', { name: 'Documents' }).click();
        await page.getByRole('button', { name: 'Board' }).click();
        await live();
    """)
    # Leaves are announced one second later, in order: before this one, the leave of the editor would have come.
    await viewer.play("await page.getByRole('button', { name: 'Analytics' }).click();")
    await owner.play("await until(async () => (await names()) === 'Name of editor, Name of owner', 'two of three');")
    assert [payload["userId"] for payload in await owner.events("user:left")] == ["viewer"]
    assert await owner.play("return names();") == "Name of editor, Name of owner"
    await edits_arrive(owner, editor)
    await edits_arrive(editor, owner)


@pytest.mark.parametrize(
    ("role", "why"),
    [("VIEWER", "viewers may not change the project"), (None, "join the project first")],
    ids=["a viewer now", "no member now"],
)
async def test_edits_are_refused_after_access_is_revoked(
    board: App, origin: str, come: Come, role: str | None, why: str
) -> None:
    """The page gets the reason, and the edit is not relayed."""
    async with serving_guarded(AppAuthority(board), recheck=RECHECK, origins=[origin]) as (address, _):
        (owner, _), (editor, _) = await come("owner", address.port), await come("editor", address.port)
        await edits_arrive(editor, owner)
        world = small_world()
        if role is None:
            del world.teams["team"]["editor"]
        else:
            world.teams["team"]["editor"] = role
        board.show(world)
        title = next(_titles)
        await editor.play(f"""
            await until(async () => {{
              await page.evaluate(() => socket.emit('task:update', {{ projectId: '{TEAM_PROJECT}', task: {{}} }}));
              const errors = (await received()).filter(([name]) => name === 'error');
              return errors.some(([, {{ message }}]) => message === 'task:update: {why}');
            }}, 'a refusal');
            await make('{title}');
        """)
        for colleague in (editor, owner):
            await colleague.play("await handled();")
        assert f"refused: task:create: {why}" in editor.console
        assert await owner.play(f"return card('{title}').count();") == 0
