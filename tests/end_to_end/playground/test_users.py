"""Members, and the connection."""

import asyncio
from pathlib import Path

from tests.end_to_end.playground.visitors import Visit, Visitor
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Connect, join
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import BOB


async def test_the_start_tells_the_address(development: ServerProcess) -> None:
    line = await asyncio.to_thread(development.line, lambda line: "Playground" in line)
    assert line == f"✓ Playground: http://127.0.0.1:{development.port}/playground"
    assert development.stdout.index(line) == 8


async def test_the_members_are_shown(visit: Visit, two: tuple[Visitor, Visitor]) -> None:
    """Each user once, at the join, at the end of the page, and at its crash. A crash leaves no cursor behind."""
    alice, bob = two
    carol = await visit("Carol")
    again = await visit("Bob")
    for visitor in (alice, carol):
        await visitor.play("await until(async () => /^Alice.*, Bob, Carol.*$/.test(await names()), 'three');")
    await carol.play("await page.mouse.move(...await middle(paper));")
    await alice.play("await page.locator('.pointer .flag', { hasText: 'Carol' }).waitFor();")
    await carol.play("page.goto('chrome://crash').catch(() => {}); await page.waitForEvent('crash');")
    await alice.play("await until(async () => await names() === 'Alice (you), Bob', 'two');")
    await alice.play("await page.locator('.pointer').waitFor({ state: 'detached' });")
    await again.close()
    await bob.play("await page.goto('about:blank');")
    await alice.play("await until(async () => await names() === 'Alice (you)', 'one');")


async def test_a_new_member_gets_the_current_state(visit: Visit, two: tuple[Visitor, Visitor]) -> None:
    """A new member gets the state from an open page, since the server does not store it."""
    alice, bob = two
    await alice.play("await card('Find a name').focus(); await page.keyboard.press('ArrowLeft');")
    await bob.play("await cell('D7').fill('here'); await text.fill('# Other words');")
    await alice.play(
        "await drag(await middle(paper), [900, 300]); await until(async () => await strokes.count() === 1);"
    )
    await bob.play("await until(async () => await strokes.count() === 1);")
    carol = await visit("Carol")
    await carol.play("""
        await column('IN_PROGRESS').locator('.card', { hasText: 'Find a name' }).waitFor();
        await until(async () => await cell('D7').inputValue() === 'here');
        await preview.getByRole('heading', { name: 'Other words' }).waitFor();
        await until(async () => await strokes.count() === 1);
    """)
    for visitor in (alice, bob, carol):
        await visitor.play("await page.goto('about:blank');")
    dave = await visit("Dave")
    assert await dave.play("return cell('D7').inputValue();") == ""


async def test_a_lost_connection_and_its_return(visit: Visit, start_server: StartServer) -> None:
    """The page shows the loss, stays usable, and reconnects by itself. Then all pages have everything."""
    server = start_server()
    alice, bob = await visit("Alice", server=server), await visit("Bob", server=server)
    await alice.play("await cell('D1').fill('before');")
    assert await asyncio.to_thread(server.stop) == 0
    for visitor in (alice, bob):
        await visitor.play("""
            await status.getByText('Connection lost').waitFor();
            await page.getByText('The connection is lost. Server is shutting down.').waitFor();
            await page.getByText('The page tries to connect again').waitFor();
            await until(async () => await here.count() === 0, 'nobody');
        """)
    await alice.play("await card('Find a name').focus(); await page.keyboard.press('ArrowLeft');")
    await bob.play("await cell('D2').fill('meanwhile');")
    back = """
        await page.getByText('Connected again after').waitFor();
        await status.getByText('Connected').waitFor();
        await until(async () => await here.count() === 2, 'two');
        await column('IN_PROGRESS').locator('.card', { hasText: 'Find a name' }).waitFor();
        await until(async () => await cell('D2').inputValue() === 'meanwhile');
        await until(async () => await cell('D1').inputValue() === 'before');
    """
    # Watched from before they return, since the message about the return is short-lived.
    coming_back = asyncio.gather(*(visitor.play(back) for visitor in (alice, bob)))
    await asyncio.to_thread(start_server, WS_PORT=str(server.port))
    await coming_back


async def test_a_page_that_returns_tells_what_it_has_missed(
    visit: Visit, connect_by: Connect, start_server: StartServer, project: str, tmp_path: Path
) -> None:
    """The server is killed, and the page's session survives the restart."""
    state = {"STATE_DIR": str(tmp_path / "state")}
    server = start_server(**state)
    alice = await visit("Alice", server=server)
    await alice.play("await page.clock.install(); await page.reload(); await status.getByText('Connected').waitFor();")
    await alice.play("await until(async () => await here.count() === 1, 'in the project');")
    server.kill()
    await alice.play("""
        await page.getByText('The connection is lost.').waitFor();
        await page.clock.pauseAt(Date.now() + 60_000);
    """)
    restarted = await asyncio.to_thread(start_server, WS_PORT=str(server.port), **state)
    bob = await connect_by(BOB, url=restarted.url)
    await join(bob, project=project)
    await bob.emit("markdown:update", {"projectId": project, "fileId": "notes", "content": "# Kept"})
    await bob.hears_nothing()
    await alice.play("""
        await page.getByRole('button', { name: 'Try now' }).click();
        await page.getByText(/^Connected again after .* 1 missed event has arrived\\./).waitFor();
        await page.clock.resume();
        await preview.getByRole('heading', { name: 'Kept' }).waitFor();
    """)


async def test_it_connects_immediately_on_request(visit: Visit, start_server: StartServer) -> None:
    """The page explains the problem. Its own next attempt may be far away."""
    server = start_server()
    alice = await visit("Alice", server=server)
    await alice.play("await page.clock.install(); await page.reload(); await status.getByText('Connected').waitFor();")
    server.kill()
    await alice.play("""
        await page.getByText('The connection is lost. The server, or the network, has cut it off.').waitFor();
        await page.clock.pauseAt(Date.now() + 60_000);
    """)
    start_server(WS_PORT=str(server.port))
    await alice.play("""
        await page.getByRole('button', { name: 'Try now' }).click();
        await status.getByText('Connected').waitFor();
        await page.clock.resume();
        await until(async () => await here.count() === 1, 'back in the project');
    """)


async def test_a_refusal_is_shown(chromium: NodeProcess, start_server: StartServer) -> None:
    """If the app does not know the playground's users, the page shows the server's message."""
    server = start_server(PROJECT_ACCESS="http", APP_URL="http://127.0.0.1:9")
    visitor = Visitor(chromium)
    await visitor.load(server)
    await visitor.play("""
        await page.getByText('The server refuses: Project access cannot be checked right now').waitFor();
        await page.getByRole('button', { name: 'Try again' }).click();
        await page.getByText('The server refuses: Project access cannot be checked right now').waitFor();
    """)
    await visitor.close()


async def test_the_state_of_the_connection(two: tuple[Visitor, Visitor]) -> None:
    """Connected, over WebSocket after the upgrade, with the latency in milliseconds."""
    await two[0].play(r"await status.getByText(/^Connected·?WebSocket·?[0-9.]+ ms$/).waitFor();")


async def test_two_users_side_by_side(visit: Visit) -> None:
    """Another user's page is beside this one, with its own connection."""
    alice = await visit("Alice")
    await alice.play("""
        await page.getByRole('button', { name: 'Side by side' }).click();
        const bob = page.frameLocator('iframe');
        await bob.locator('[data-state=connected]').waitFor();
        await until(async () => await names() === 'Alice (you), Bob', 'two');
        await bob.locator('.card', { hasText: 'Find a name' }).press('ArrowLeft');
        await column('IN_PROGRESS').locator('.card', { hasText: 'Find a name' }).waitFor();
        await page.getByRole('button', { name: 'Side by side' }).click();
        await until(async () => await names() === 'Alice (you)', 'one');
    """)
    assert alice.console == []


async def test_a_second_window_is_another_user(visit: Visit) -> None:
    alice = await visit("Alice")
    await alice.play("""
        const opening = page.context().waitForEvent('page');
        await page.getByRole('link', { name: 'Open as Bob' }).click();
        await (await opening).locator('[data-state=connected]').waitFor();
        await until(async () => await names() === 'Alice (you), Bob', 'two');
        await page.getByRole('link', { name: 'Open as Carol' }).waitFor();
    """)
