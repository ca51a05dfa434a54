"""The document, the table, and the page's state."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from tests.end_to_end.bystanders import MALLORY
from tests.end_to_end.playground.visitors import Visitor
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Client, Connect
from tests.support.server_process import ServerProcess


async def test_the_document_is_one(two: tuple[Visitor, Visitor]) -> None:
    """Text, preview, and typing users with their positions. Other users' cursors stay."""
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
    """Text makes no element and no script, and links do nothing but lead somewhere."""
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


@pytest_asyncio.fixture(loop_scope="session")
async def beside(
    chromium: NodeProcess, development: ServerProcess, connect_by: Connect, project: str
) -> AsyncIterator[tuple[Visitor, Client]]:
    """Alice on the page, and a raw client in her project that sends whatever the test wants."""
    alice = Visitor(chromium)
    await alice.open(development, "Alice", project)
    mallory = await connect_by(MALLORY, url=development.url)
    await mallory.emit("join-project", project)
    await alice.play("await until(async () => await here.count() === 2, 'two');")
    yield alice, mallory
    assert alice.console == []
    await alice.close()


TOO_COMPLEX = {
    "deep": ">" * 700 + "x",
    "deeper": ">" * 19_000 + "x",
    "lists": "\n".join(" " * 2 * depth + "- a" for depth in range(120)),
    "slow": "_a__" * 5_000,
    "slow with links": "[a](" * 5_000,
    "wide table": "|a" * 1_500 + "|\n" + "|-" * 1_500 + "|\n" + "|\n" * 6_000,
    "many": "`a" * 10_000,
}


async def test_no_text_ends_the_preview(
    chromium: NodeProcess, development: ServerProcess, beside: tuple[Visitor, Client], project: str
) -> None:
    """The page keeps working with deep or slow text. The next text is formatted, also for a new member."""
    alice, mallory = beside
    for kind, text in TOO_COMPLEX.items():
        await mallory.emit("markdown:update", {"projectId": project, "fileId": "notes", "content": text})
        await alice.play(f"await preview.getByText({text[:8]!r}).first().waitFor();")
        bob = Visitor(chromium)
        await bob.open(development, "Bob", project)
        await bob.play(f"await until(async () => await text.inputValue() === {text[:20_000]!r}, '{kind}');")
        content = f"# After {kind} it **goes** on"
        await mallory.emit("markdown:update", {"projectId": project, "fileId": "notes", "content": content})
        for visitor in (alice, bob):
            await visitor.play(f"await preview.getByRole('heading', {{ name: 'After {kind} it goes on' }}).waitFor();")
            assert visitor.console == [], kind
        await bob.close()
    await alice.close()


async def test_values_of_none_do_nothing(beside: tuple[Visitor, Client], project: str) -> None:
    """A status named like an object's property, ids that are no text, invalid times: no card is lost, and nothing
    fails.
    """
    alice, mallory = beside
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


async def test_a_page_keeps_only_so_much(beside: tuple[Visitor, Client], project: str) -> None:
    """The first 500 cards stay. A deleted one makes room."""
    alice, mallory = beside
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


async def test_the_sheet_is_one(two: tuple[Visitor, Visitor]) -> None:
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
