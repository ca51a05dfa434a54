"""The tables of connections, users and projects."""

import asyncio

from tests.end_to_end.console.operators import Watch
from tests.support.real_clients import WAYS, Connect, join
from tests.support.server_process import ServerProcess
from tests.support.users import ALICE, BOB, CAROL, PROJECT, User


async def test_a_search_finds_the_one(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """By name, id, address or project, in any case. The table shows the number of rows.

    A word of three letters may stand in a random id.
    """
    alice, bob = await connect_by(ALICE, url=server.url), await connect_by(BOB, url=server.url, way=WAYS["js-polling"])
    carol = await connect_by(CAROL, url=server.url)
    await join(alice)
    await join(carol, project="Website")
    operator = await watch("Connections")
    for words, name in {"ALICE": "Alice", "user-bob": "Bob", bob.id: "Bob", "website": "Carol"}.items():
        await operator.play(f"""
            await page.getByLabel('Search connections').fill({words!r});
            await shows(() => found.textContent(), '1 of 3 connections');
            await row({name!r}).waitFor();
        """)
    await operator.play("""
        await page.getByLabel('Search connections').fill('');
        await shows(() => found.textContent(), '3 connections');
        await page.getByRole('combobox', { name: 'Transport' }).selectOption('Polling');
        await shows(() => found.textContent(), '1 of 3 connections');
        await row('Bob').locator('td', { hasText: /^127\\.0\\.0\\.1$/ }).waitFor();
        await page.getByRole('combobox', { name: 'Transport' }).selectOption('Any');
        await page.getByLabel('Search connections').fill('nobody');
        await page.getByText('None of the connections is like that.').waitFor();
    """)
    assert operator.console == []


async def test_names_cannot_turn_a_sentence_round(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Invisible characters of names and ids are escaped as in the log, and each name is isolated from the text around
    it.
    """
    eve = await connect_by(User("user\u200b", "\u202eevE\u2066"), url=server.url)
    for project in (" ", "\u3164", "שלום"):
        await eve.emit("join-project", project)
    operator = await watch("Connections")
    await operator.play(r"""
        await until(async () => /^\\u202eevE\\u2066 user\\u200b/.test(await row('user').textContent()), 'the name');
        await shows(() => row('user').locator('.projects').textContent(), '\\x20, \\u3164 +1');
        await row('user').getByRole('button', { name: 'Disconnect' }).click();
        await shows(() => dialog.getByRole('heading').textContent(), 'Disconnect \\u202eevE\\u2066?');
        await dialog.getByRole('button', { name: 'Cancel' }).click();
        await show('Projects');
        await row('שלום').locator('bdi', { hasText: 'שלום' }).first().waitFor();
        await row('\\u3164').getByRole('button', { name: 'Notice' }).click();
        await shows(() => dialog.getByRole('heading').textContent(), 'Notice to \\u3164');
    """)
    assert operator.console == []


async def test_of_many_projects_the_first_are_shown(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    alice = await connect_by(ALICE, url=server.url)
    for number in range(7):
        await alice.emit("join-project", f"p{number}")
    operator = await watch("Connections")
    await operator.play("""
        const projects = row('Alice').locator('.projects');
        await shows(() => projects.textContent(), 'p0, p1 +5');
        await shows(() => projects.getAttribute('title'), 'p0\\np1\\np2\\np3\\np4\\n+2');
    """)
    assert operator.console == []


async def test_300_connections_are_paged_through(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """A click on the column's heading sorts: each row appears once, in order. A second click reverses the order."""
    users = [User(f"user-{number:03}", f"User {number:03}") for number in range(300)]
    await asyncio.gather(*(connect_by(user, url=server.url) for user in users))
    operator = await watch("Connections")
    names = await operator.play("""
        const heading = page.getByRole('columnheader', { name: 'User' });
        await heading.getByRole('button').click();
        await page.locator('th[aria-sort=ascending]', { hasText: 'User' }).waitFor();
        await row('User 000').waitFor();
        const names = [];
        for (let from = 0; from < 300; from += 50) {
          await page.getByText(`${from + 1}–${from + 50} of 300`).waitFor();
          await row(`User ${String(from).padStart(3, '0')}`).waitFor();
          names.push(...await rows.locator('.who strong').allTextContents());
          if (from < 250) await button('Next').click();
        }
        if (await button('Next').isEnabled()) throw new Error('there is no next page');
        await heading.getByRole('button').click();
        await page.locator('th[aria-sort=descending]', { hasText: 'User' }).waitFor();
        await until(async () => await rows.locator('.who strong').first().textContent() === 'User 299');
        return names;
    """)
    assert names == [user.name for user in users]
    assert operator.console == []


async def test_projects_lead_to_their_connections(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Each with its users and connections, the largest first."""
    alice, again = [await connect_by(ALICE, url=server.url) for _ in range(2)]
    await join(alice)
    await join(again, alice)
    await join(await connect_by(BOB, url=server.url), project="another")
    operator = await watch("Projects")
    await operator.play(f"""
        await shows(() => found.textContent(), '2 projects');
        await page.getByRole('columnheader', {{ name: 'Connections' }}).getByRole('button').click();
        await until(async () => (await rows.first().textContent()).startsWith('{PROJECT}12'));
        await row('another').getByRole('button', {{ name: 'connections of another' }}).click();
        await shows(() => found.textContent(), '1 of 3 connections');
        await row('Bob').waitFor();
        await page.getByRole('button', {{ name: 'Project another' }}).click();
        await shows(() => found.textContent(), '3 connections');
    """)
    assert operator.console == []


async def test_the_overviews_cards_are_one_grid(server: ServerProcess, watch: Watch) -> None:
    """All cards have one width, those of a row one height, and their plots begin at one height."""
    operator = await watch("Overview")
    await operator.play("await figure('Connections').locator('.u-over').waitFor();")
    cards = await operator.play("""
        return await page.locator('.charts .chart').evaluateAll((all) => all.map((card) => {
            const box = card.getBoundingClientRect();
            const plot = card.querySelector('.u-over, .uplot, canvas');
            return [box.top, box.width, box.height, plot === null ? null : plot.getBoundingClientRect().top].map(
                (length) => length === null ? null : Math.round(length));
        }));
    """)
    assert len(cards) > 3
    assert len({width for _, width, _, _ in cards}) == 1
    for top in {card[0] for card in cards}:
        row = [card for card in cards if card[0] == top]
        assert len({height for _, _, height, _ in row}) == 1
        assert len({plot for _, _, _, plot in row if plot is not None}) == 1
    assert len({card[0] for card in cards}) < len(cards)  # on a desk, a row has several


async def test_a_project_is_opened(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Its members with their traffic. Its address opens it again."""
    alice, again, bob = [await connect_by(user, url=server.url) for user in (ALICE, ALICE, BOB)]
    for client in (alice, again, bob):
        await client.emit("join-project", "a/b c")
    operator = await watch("Projects")
    await operator.play("""
        await page.getByRole('link', { name: 'a/b c' }).click();
        await page.getByRole('heading', { name: 'Project a/b c' }).waitFor();
        await shows(() => found.textContent(), '2 users, 3 connections');
        await until(async () => /^Alice user-alice22/.test(await row('Alice').textContent()), 'two connections');
        await page.getByText('Together they send 0 events a second').waitFor();
    """)
    for _ in range(30):
        await bob.emit("canvas:cursor", {"projectId": "a/b c", "position": 1})
    await bob.emit("task:create", {"projectId": "a/b c", "task": {"id": "1"}})
    await operator.play("""
        await until(async () => /^Bob user-bob132[1-9]/.test(await row('Bob').textContent()), 'a rate');
        await page.getByText('Kept for clients that return: 1 event, 26 B.').waitFor();
        await page.reload();
        await page.getByRole('heading', { name: 'Project a/b c' }).waitFor();
        await page.getByRole('button', { name: 'Notice' }).click();
        await shows(() => dialog.getByRole('heading').textContent(), 'Notice to a/b c');
        await dialog.getByRole('button', { name: 'Cancel' }).click();
        await page.getByRole('button', { name: 'Connections', exact: true }).click();
        await shows(() => found.textContent(), '3 connections');
        await page.goBack();
        await page.getByRole('link', { name: 'All projects' }).click();
        await shows(() => found.textContent(), '1 project');
    """)
    assert operator.console == []
