"""The playground in a real browser: what one does, the others see."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from tests.end_to_end.bystanders import MALLORY
from tests.end_to_end.clients import Client
from tests.end_to_end.node_process import NodeProcess
from tests.end_to_end.playground import DESK, PHONE, Visitor
from tests.end_to_end.server_process import ServerProcess
from tests.end_to_end.session import Connect, StartServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

Visit = Callable[..., Awaitable[Visitor]]
_projects = itertools.count()


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server in development, as `make run` starts it."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0, server.output


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: NodeProcess, development: ServerProcess) -> AsyncIterator[Visit]:
    """Opens the page as somebody, all of a test in one project; nothing is said on a console that is expected clean."""
    project = f"project-{next(_projects)}"
    visitors: list[Visitor] = []

    async def visit(name: str, *, server: ServerProcess = development, **options: Any) -> Visitor:
        visitor = Visitor(chromium)
        visitors.append(visitor)
        await visitor.open(server, name, project, **options)
        return visitor

    yield visit
    for visitor in visitors:
        await visitor.close()


@pytest_asyncio.fixture(loop_scope="session")
async def two(visit: Visit) -> AsyncIterator[tuple[Visitor, Visitor]]:
    """Alice and Bob, on whose consoles nothing is said in the end."""
    alice, bob = await visit("Alice"), await visit("Bob")
    yield alice, bob
    assert alice.console == bob.console == []


async def test_the_start_tells_the_address(development: ServerProcess) -> None:
    """One line after the banner, which is whole by then."""
    line = await asyncio.to_thread(development.line, lambda line: "Playground" in line)
    assert line == f"✓ Playground: http://127.0.0.1:{development.port}/playground"
    assert development.stdout.index(line) == 8


async def test_a_card_dragged_by_one_moves_for_the_other(two: tuple[Visitor, Visitor]) -> None:
    """To the column that it is dropped on, and once only."""
    alice, bob = two
    await alice.play("await drag(await middle(card('Choose the colours')), await middle(column('DONE')));")
    for visitor in two:
        await visitor.play("await column('DONE').locator('.card', { hasText: 'Choose the colours' }).waitFor();")
        assert await visitor.play("return card('Choose the colours').count();") == 1
    await bob.play("await drag(await middle(card('Choose the colours')), await middle(column('TODO')));")
    await alice.play("await column('TODO').locator('.card', { hasText: 'Choose the colours' }).waitFor();")
    assert await alice.play("return page.locator('dialog').count();") == 0


async def test_a_drag_can_be_given_up(two: tuple[Visitor, Visitor]) -> None:
    """By Escape, or by letting go beside the columns, the card stays where it was."""
    alice, _ = two
    await alice.play("""
        await page.mouse.move(...await middle(card('Choose the colours')));
        await page.mouse.down();
        await page.mouse.move(...await middle(column('DONE')), { steps: 4 });
        await page.keyboard.press('Escape');
        await page.mouse.up();
        await drag(await middle(card('Choose the colours')), await middle(page.getByText('Synkora playground')));
    """)
    assert await alice.play("return column('TODO').locator('.card').count();") == 2
    assert await alice.play("return page.locator('dialog').count();") == 0


async def test_a_card_that_is_dragged_can_be_moved_by_another(two: tuple[Visitor, Visitor]) -> None:
    """The drag is over then, and the next one is as any other."""
    alice, bob = two
    await alice.play("""
        await page.mouse.move(...await middle(card('Choose the colours')));
        await page.mouse.down();
        await page.mouse.move(...await middle(column('DONE')), { steps: 4 });
        await page.locator('.column.over').waitFor();
    """)
    await bob.play("await card('Choose the colours').press('ArrowRight');")
    await alice.play("""
        await column('IN_PROGRESS').locator('.card', { hasText: 'Choose the colours' }).waitFor();
        await page.locator('.column.over').waitFor({ state: 'detached' });
        await page.mouse.up();
        await drag(await middle(card('Choose the colours')), await middle(column('TODO')));
    """)
    await bob.play("await column('TODO').locator('.card', { hasText: 'Choose the colours' }).waitFor();")


async def test_cards_are_made_changed_and_deleted_for_all(two: tuple[Visitor, Visitor]) -> None:
    """A new one in the form, the rest in the dialog that a card opens."""
    alice, bob = two
    await alice.play("""
        await page.getByLabel('Title of a new card').fill('Order the cake');
        await page.keyboard.press('Enter');
    """)
    await bob.play("""
        await card('Order the cake').click();
        const dialog = page.getByRole('dialog');
        await dialog.getByLabel('Title').fill('Bake the cake');
        await dialog.getByLabel('Column').selectOption('In progress');
        await dialog.getByRole('button', { name: 'Save' }).click();
    """)
    await alice.play("""
        await column('IN_PROGRESS').locator('.card', { hasText: 'Bake the cake' }).click();
        await page.getByRole('button', { name: 'Delete' }).click();
        await until(async () => await card('cake').count() === 0);
    """)
    await bob.play("await until(async () => await card('cake').count() === 0);")


async def test_strokes_and_pointers(two: tuple[Visitor, Visitor]) -> None:
    """A line is the same on every page; a pointer has its owner's name, and goes when it leaves the canvas."""
    alice, bob = two
    await alice.play("""
        const [x, y] = await middle(paper);
        await drag([x - 120, y - 60], [x + 120, y + 60]);
    """)
    await bob.play("await until(async () => await strokes.count() === 1, 'a stroke');")
    drawn = await alice.play("return strokes.first().getAttribute('d');")
    assert drawn.count("Q") >= 5
    await bob.play(f"await until(async () => await strokes.first().getAttribute('d') === {drawn!r}, 'all of it');")
    await bob.play("await page.locator('.pointer .flag', { hasText: 'Alice' }).waitFor();")
    await alice.play("await page.mouse.move(5, 5);")
    await bob.play("await page.locator('.pointer').waitFor({ state: 'detached' });")
    await bob.play("await page.getByRole('button', { name: 'Clear' }).click();")
    await alice.play("await until(async () => await strokes.count() === 0, 'nothing');")


async def test_pointers_over_the_board(visit: Visit, two: tuple[Visitor, Visitor]) -> None:
    """They are in the same column where the columns are elsewhere; also while a card is dragged."""
    alice, bob = two
    carol = await visit("Carol", **PHONE)
    await alice.play("await page.mouse.move(...await middle(column('DONE')));")
    for visitor in (bob, carol):
        await visitor.play("await column('DONE').locator('.pointer .flag', { hasText: 'Alice' }).waitFor();")
    await alice.play("""
        await page.mouse.move(...await middle(card('Choose the colours')));
        await page.mouse.down();
        await page.mouse.move(...await middle(column('IN_PROGRESS')), { steps: 4 });
    """)
    await bob.play("await column('IN_PROGRESS').locator('.pointer .flag', { hasText: 'Alice' }).waitFor();")
    await alice.play("await page.mouse.up(); await page.mouse.move(5, 5);")
    await bob.play("await page.locator('.pointer').waitFor({ state: 'detached' });")


async def test_labels_stay_inside_the_phone(
    chromium: NodeProcess, development: ServerProcess, connect_by: Connect
) -> None:
    """Wherever the others' cursors are, their names are not cut off, however long they are."""
    project = f"project-{next(_projects)}"
    alice = Visitor(chromium)
    await alice.open(development, "Alice", project, **PHONE)
    mallory = await connect_by(MALLORY, url=development.url)
    await mallory.emit("join-project", project)
    line = "x" * 200
    await mallory.emit("markdown:update", {"projectId": project, "fileId": "notes", "content": line})
    by = "Wilhelmina Alexandra von der Heide"
    places = [{"surface": "canvas", "at": at} for at in ([0, 0], [800, 480], [800, 0], [400, 470])]
    places += [{"surface": status, "at": at} for status in ("TODO", "DONE") for at in ([1000, 1000], [490, 0])]
    for place in places:
        await mallory.emit("canvas:cursor", {"projectId": project, "position": {"by": by, **place}})
        surface = "'.canvas'" if place["surface"] == "canvas" else f"'[data-status={place['surface']}]'"
        await alice.play(f"""
            const flag = page.locator({surface}).locator('.pointer .flag');
            await flag.waitFor();
            await until(() => flag.evaluate((flag, surface) => {{
              const [inner, outer] = [flag, flag.closest(surface)].map((element) => element.getBoundingClientRect());
              return inner.left >= outer.left && inner.right <= outer.right && inner.bottom <= outer.bottom;
            }}, {surface}), 'inside');
        """)
    for at in (0, 20, 38, 39, 200):
        position = {"by": by, "from": at, "to": at}
        await mallory.emit("markdown:cursor", {"projectId": project, "fileId": "notes", "position": position})
        await alice.play("""
            const flag = page.locator('.caret .flag');
            await flag.waitFor();
            await until(() => flag.evaluate((flag) => {
              const [inner, outer] = [flag, flag.closest('.editor')].map((element) => element.getBoundingClientRect());
              return inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top;
            }), 'inside');
        """)
    for cell in ("A1", "D7"):
        await mallory.emit("spreadsheet:selection", {"projectId": project, "selection": {"by": by, "cell": cell}})
        await alice.play(f"""
            const flag = page.locator('td', {{ has: cell('{cell}') }}).locator('.flag');
            await flag.waitFor();
            const {{ x, width }} = await flag.boundingBox();
            if (x < 0 || x + width > 390) throw new Error(`cut off: ${{x}} to ${{x + width}}`);
        """)
    assert alice.console == []
    await alice.close()


@pytest.mark.parametrize(
    ("device", "hint"), [(DESK, "Drag a card, or press ← → on it"), (PHONE, "Drag a card by its dots, or tap it")]
)
async def test_hints_are_for_the_device(visit: Visit, device: dict[str, Any], hint: str) -> None:
    """For a mouse and keys, or for fingers; others' words are not there for a screen reader either."""
    alice = await visit("Alice", **device)
    await alice.play(f"""
        const hinted = page.getByRole('button', {{ name: 'Find a name', description: {hint!r}, exact: true }});
        await hinted.waitFor();
    """)


async def test_the_document_is_one(two: tuple[Visitor, Visitor]) -> None:
    """Text, preview, who is typing and where; the others' own place in the text stays theirs."""
    alice, bob = two
    await bob.play("""
        await text.focus();
        await text.evaluate((area) => area.setSelectionRange('# Launch notes'.length, '# Launch notes'.length));
    """)
    await alice.play("""
        await text.focus();
        await text.evaluate((area) => area.setSelectionRange(0, 0));
        await page.keyboard.type('## News, **now**\\n\\n');
    """)
    await bob.play("""
        await preview.getByRole('heading', { name: 'News, now' }).waitFor();
        await page.locator('#document').getByText('Alice is typing').waitFor();
        await page.locator('.caret .flag', { hasText: 'Alice' }).waitFor();
        await page.keyboard.type(', again');
        await page.locator('#document').getByText('Alice is typing').waitFor({ state: 'detached' });
    """)
    await alice.play("await preview.getByRole('heading', { name: 'Launch notes, again' }).waitFor();")
    texts = [await visitor.play("return text.inputValue();") for visitor in two]
    assert texts[0] == texts[1]
    assert texts[0].startswith("## News, **now**\n\n# Launch notes, again\n\nEveryone")
    await alice.play("await text.blur();")
    await bob.play("await page.locator('.caret').waitFor({ state: 'detached' });")


async def test_html_in_the_document_is_text(two: tuple[Visitor, Visitor]) -> None:
    """Whatever somebody writes, it makes no element, no script and no link that does anything but lead somewhere."""
    alice, bob = two
    await alice.play("""
        await text.fill(`<img src="x" onerror="document.title = 'hit'">

<script>document.title = 'hit'</script>

[here](javascript:document.title='hit') ![picture](https://example.com/x.png) [there](https://example.com)`);
    """)
    await bob.play("await preview.getByText('there').waitFor();")
    assert await bob.play("return preview.locator('img, script, a:not([href^=https])').count();") == 0
    assert await bob.play("return preview.getByText('onerror').count();") == 1
    assert "hit" not in await bob.play("return page.title();")


async def join_beside(visitor: Visitor, connect_by: Connect, server: ServerProcess, project: str) -> Client:
    """Somebody in a visitor's project whose client is not the page's, and sends whatever the test wants."""
    await visitor.open(server, "Alice", project)
    mallory = await connect_by(MALLORY, url=server.url)
    await mallory.emit("join-project", project)
    await visitor.play("await until(async () => await here.count() === 2, 'two');")
    return mallory


TOO_COMPLEX = {
    "deep": ">" * 700 + "x",
    "deeper": ">" * 19_000 + "x",
    "lists": "\n".join(" " * 2 * depth + "- a" for depth in range(120)),
    "slow": "_a__" * 5_000,
    "slow with links": "[a](" * 5_000,
    "wide table": "|a" * 1_500 + "|\n" + "|-" * 1_500 + "|\n" + "|\n" * 6_000,
    "many": "`a" * 10_000,
}


@pytest.mark.parametrize("text", TOO_COMPLEX.values(), ids=list(TOO_COMPLEX))
async def test_no_text_ends_the_preview(
    chromium: NodeProcess, development: ServerProcess, connect_by: Connect, text: str
) -> None:
    """However deep or slow it is, the page goes on; the next text is formatted, for those who come later too."""
    project = f"project-{next(_projects)}"
    alice, bob = Visitor(chromium), Visitor(chromium)
    mallory = await join_beside(alice, connect_by, development, project)
    await mallory.emit("markdown:update", {"projectId": project, "fileId": "notes", "content": text})
    await alice.play(f"await preview.getByText({text[:8]!r}).first().waitFor();")
    await bob.open(development, "Bob", project)
    await bob.play(f"await until(async () => await text.inputValue() === {text[:20_000]!r}, 'the text');")
    await mallory.emit("markdown:update", {"projectId": project, "fileId": "notes", "content": "# It **goes** on"})
    for visitor in (alice, bob):
        await visitor.play("await preview.getByRole('heading', { name: 'It goes on' }).waitFor();")
        assert visitor.console == []
        await visitor.close()


async def test_values_that_are_none_do_nothing(
    chromium: NodeProcess, development: ServerProcess, connect_by: Connect
) -> None:
    """A status that only objects have, ids that are no text, times that never come: no card is lost, nothing fails."""
    project = f"project-{next(_projects)}"
    alice = Visitor(chromium)
    mallory = await join_beside(alice, connect_by, development, project)
    odd = {"toString": 1, "valueOf": 1}
    changes = {"project": {"tasks": [["name", {"title": "Late", "status": "DONE", "rank": 1}, 1e308]]}, "asks": False}
    events: list[tuple[str, dict[str, Any]]] = [
        ("task:move", {"taskId": "name", "status": "toString"}),
        ("task:create", {"task": {"id": "1", "title": "Odd status", "status": "toString"}}),
        ("task:create", {"task": {"id": odd, "title": "Odd id"}}),
        ("task:create", {"task": {"id": "blank", "title": "\u3164\u200b"}}),
        ("task:delete", {"taskId": odd}),
        ("canvas:update", {"changes": {"erased": [odd], "stroke": "s", "by": odd, "points": [[1, 2]]}}),
        ("canvas:update", {"changes": changes}),
        ("canvas:cursor", {"position": {"by": odd, "at": [1, 2]}}),
        ("markdown:cursor", {"fileId": "notes", "position": {"by": "M", "from": -5, "to": -5}}),
        ("markdown:update", {"fileId": odd, "content": "x"}),
        ("spreadsheet:selection", {"selection": {"by": odd, "cell": "A1"}}),
        ("spreadsheet:cell-update", {"cell": odd, "value": "x"}),
        ("typing:start", {"context": odd}),
    ]
    for event, payload in events:
        await mallory.emit(event, {"projectId": project, **payload})
    await mallory.emit("spreadsheet:cell-update", {"projectId": project, "cell": "D7", "value": "the last"})
    await alice.play("""
        await until(async () => await cell('D7').inputValue() === 'the last');
        await column('TODO').locator('.card', { hasText: 'Odd status' }).waitFor();
        await page.getByRole('button', { name: '\\\\u3164\\\\u200b' }).waitFor();
        await until(async () => await page.locator('.card').count() === 7, 'seven cards');
        await column('DONE').locator('.card', { hasText: 'Find a name' }).press('ArrowLeft');
        await column('IN_PROGRESS').locator('.card', { hasText: 'Find a name' }).waitFor();
        await until(async () => await strokes.count() === 1, 'a stroke');
    """)
    assert alice.console == []
    await alice.close()


async def test_a_page_keeps_only_so_much(
    chromium: NodeProcess, development: ServerProcess, connect_by: Connect
) -> None:
    """Of cards there are 500, those that were there first; one that is deleted makes room."""
    project = f"project-{next(_projects)}"
    alice = Visitor(chromium)
    mallory = await join_beside(alice, connect_by, development, project)
    tasks = [[f"t{number}", {"title": f"Task {number}", "status": "DONE", "rank": number}, 1] for number in range(800)]
    changes = {"project": {"tasks": tasks}, "asks": False}
    await mallory.emit("canvas:update", {"projectId": project, "changes": changes})
    await alice.play("""
        await until(async () => await page.locator('.card').count() === 500, '500 cards');
        await card('Find a name').click();
        await page.getByRole('button', { name: 'Delete' }).click();
        await page.getByLabel('Title of a new card').fill('One more');
        await page.keyboard.press('Enter');
        await card('One more').waitFor();
    """)
    assert alice.console == []
    await alice.close()


async def test_the_sheet_is_one(two: tuple[Visitor, Visitor]) -> None:
    """Cells, their sums, and who is in which."""
    alice, bob = two
    await alice.play("await cell('B2').fill('5000');")
    await bob.play("""
        await until(async () => await cell('B5').inputValue() === '16500', 'the sum');
        await page.locator('td.selected', { has: cell('B2'), hasText: 'Alice' }).waitFor();
        await page.locator('#sheet').getByText('Alice is typing').waitFor();
    """)
    await alice.play("""
        await page.keyboard.press('Enter');
        await until(async () => await cell('B3').evaluate((input) => input === document.activeElement), 'the next');
    """)
    await bob.play("await page.locator('td.selected', { has: cell('B3'), hasText: 'Alice' }).waitFor();")


async def test_who_is_here(visit: Visit, two: tuple[Visitor, Visitor]) -> None:
    """Each person once, on coming, on closing the page, and on its crash; a crash leaves no cursor behind."""
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


async def test_who_comes_gets_what_is_there(visit: Visit, two: tuple[Visitor, Visitor]) -> None:
    """From one of the pages that are open, since the server stores nothing; when all are gone, so is it."""
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
    """The page says that it is lost, lets one go on, and comes back by itself; then all have all that was done."""
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
    # Both are looked at from before they come back, since the words that one is back stay for a moment only.
    coming_back = asyncio.gather(*(visitor.play(back) for visitor in (alice, bob)))
    await asyncio.to_thread(start_server, WS_PORT=str(server.port))
    await coming_back


async def test_it_connects_at_once_when_told_to(visit: Visit, start_server: StartServer) -> None:
    """The page says in plain words what has happened; its own next attempt may be far away."""
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
    """Where the app does not know the playground's people, the page says what the server says."""
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
    """It is connected, over WebSocket after the upgrade, and so many milliseconds away."""
    await two[0].play(r"await status.getByText(/^Connected·?WebSocket·?[0-9.]+ ms$/).waitFor();")


async def test_two_people_side_by_side(visit: Visit) -> None:
    """The page as somebody else sees it is beside this one, with a connection of its own."""
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


async def test_a_second_window_is_somebody_else(visit: Visit) -> None:
    """Who is not here yet; the new window is in the same project."""
    alice = await visit("Alice")
    await alice.play("""
        const opening = page.context().waitForEvent('page');
        await page.getByRole('link', { name: 'Open as Bob' }).click();
        await (await opening).locator('[data-state=connected]').waitFor();
        await until(async () => await names() === 'Alice (you), Bob', 'two');
        await page.getByRole('link', { name: 'Open as Carol' }).waitFor();
    """)


async def test_by_keyboard_alone(two: tuple[Visitor, Visitor]) -> None:
    """Cards move and open, lines are drawn, and the theme changes, without a pointer; the focus is never lost."""
    alice, bob = two
    await alice.play("""
        const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);
        const tabTo = async (locator) => {
          for (let tries = 0; tries < 80; tries++) {
            if (await locator.count() && await isFocused(locator)) return;
            await page.keyboard.press('Tab');
          }
          throw new Error('the focus never came there');
        };
        await tabTo(card('Choose the colours'));
        await page.keyboard.press('ArrowRight');
        await until(() => isFocused(column('IN_PROGRESS').locator('.card', { hasText: 'Choose the colours' })));
        await page.keyboard.press('Enter');
        await page.getByRole('dialog').waitFor();
        await page.keyboard.press('Escape');
        await until(() => isFocused(card('Choose the colours')));
        await page.keyboard.press('ArrowUp');
        await until(() => isFocused(card('Talk to five customers')));
        await tabTo(paper);
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Space');
        for (let step = 0; step < 3; step++) await page.keyboard.press('ArrowRight');
        await page.keyboard.press('Space');
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Shift+Tab');
        await tabTo(page.getByRole('button', { name: /theme/ }));
        await page.keyboard.press('Enter');
        await page.locator('[data-theme=dark]').waitFor();
    """)
    await bob.play("""
        await column('IN_PROGRESS').locator('.card', { hasText: 'Choose the colours' }).waitFor();
        await until(async () => (await strokes.first().getAttribute('d'))?.split('Q').length === 4, 'three steps');
    """)


async def test_the_focus_is_seen(visit: Visit) -> None:
    """Wherever it is, forwards and backwards, there is a ring around it, and the top of the page does not cover it."""
    alice = await visit("Alice", viewport={"width": 1100, "height": 420})
    hidden = await alice.play("""
        const hidden = [];
        for (const key of [...Array(70).fill('Tab'), ...Array(70).fill('Shift+Tab')]) {
          await page.keyboard.press(key);
          hidden.push(await page.evaluate(() => {
            const element = document.activeElement;
            if (element === document.body) return '';
            const ringed = element.matches('textarea') ? element.closest('.editor') : element;
            const { bottom } = document.querySelector('.top').getBoundingClientRect();
            const isCovered = !element.closest('.top') && element.getBoundingClientRect().bottom - 20 < bottom;
            const isRinged = getComputedStyle(ringed).outlineStyle !== 'none';
            return isCovered || !isRinged ? `${element.outerHTML.slice(0, 80)} ${isCovered}` : '';
          }));
        }
        return hidden.filter(Boolean);
    """)
    assert hidden == []


LOOKS = {"light": "light", "dark": "dark"}
DEVICES = {"desk": DESK, "phone": PHONE, "small phone": {**PHONE, "viewport": {"width": 320, "height": 568}}}


@pytest.mark.parametrize("scheme", LOOKS)
@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
async def test_it_is_for_everyone(visit: Visit, scheme: str, device: dict[str, Any]) -> None:
    """axe finds nothing wrong, not with the dialog open either; nothing is wider than the screen."""
    alice, _ = await visit("Alice", colorScheme=scheme, **device), await visit("Bob")
    await alice.play("await until(async () => await here.count() === 2);")
    assert await alice.audit() == []
    width = await alice.play("return page.evaluate('document.documentElement.scrollWidth');")
    assert width == device["viewport"]["width"]
    await alice.play("await card('Find a name').click(); await page.getByRole('dialog').waitFor();")
    assert await alice.audit() == []
    assert alice.console == []


async def test_a_card_is_dragged_by_touch_from_its_grip(visit: Visit) -> None:
    """And a touch elsewhere on it opens it, so that the page can be scrolled over the board."""
    alice = await visit("Alice", **PHONE)
    await alice.play("""
        await card('Find a name').tap();
        await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).tap();
        await page.getByRole('dialog').waitFor({ state: 'detached' });
        const client = await page.context().newCDPSession(page);
        const [x, y] = await middle(card('Find a name').locator('.grip'));
        const target = await column('IN_PROGRESS').boundingBox();
        const touch = (type, points) => client.send('Input.dispatchTouchEvent', { type, touchPoints: points });
        await touch('touchStart', [{ x, y }]);
        await touch('touchMove', [{ x: x + 4, y: y - 30 }]);
        await touch('touchMove', [{ x: target.x + 60, y: target.y + 40 }]);
        await touch('touchEnd', []);
        await column('IN_PROGRESS').locator('.card', { hasText: 'Find a name' }).waitFor();
    """)


async def test_there_is_none_in_production(chromium: NodeProcess, start_server: StartServer) -> None:
    """The start tells no address, and the path is 404."""
    server = start_server(SYNKORA_ENV="production")
    visitor = Visitor(chromium)
    await visitor.load(server)
    assert await visitor.play("return page.locator('body').textContent();") == "Not Found"
    assert not any("Playground" in line for line in server.stdout)
    await visitor.close()
