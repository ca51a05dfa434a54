"""The board and the pointers: the others see each action."""

from typing import Any

import pytest
from tests.end_to_end.bystanders import MALLORY
from tests.end_to_end.playground.visitors import DESK, PHONE, Visit, Visitor
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Connect
from tests.support.server_process import ServerProcess


async def test_a_card_dragged_by_one_moves_for_the_other(two: tuple[Visitor, Visitor]) -> None:
    alice, bob = two
    await alice.play("await drag(await middle(card('Choose the colours')), await middle(column('DONE')));")
    for visitor in two:
        await visitor.play("await column('DONE').locator('.card', { hasText: 'Choose the colours' }).waitFor();")
        assert await visitor.play("return card('Choose the colours').count();") == 1
    await bob.play("await drag(await middle(card('Choose the colours')), await middle(column('TODO')));")
    await alice.play("await column('TODO').locator('.card', { hasText: 'Choose the colours' }).waitFor();")
    assert await alice.play("return page.locator('dialog').count();") == 0


async def test_a_drag_can_be_given_up(two: tuple[Visitor, Visitor]) -> None:
    """Escape, or a drop outside of the columns, leaves the card where it was."""
    alice, _ = two
    await alice.play("""
        await lift(card('Choose the colours'), column('DONE'));
        await page.keyboard.press('Escape');
        await page.mouse.up();
        await drag(await middle(card('Choose the colours')), await middle(page.getByText('Synkora playground')));
    """)
    assert await alice.play("return column('TODO').locator('.card').count();") == 2
    assert await alice.play("return page.locator('dialog').count();") == 0


async def test_a_card_that_is_dragged_can_be_moved_by_another(two: tuple[Visitor, Visitor]) -> None:
    alice, bob = two
    await alice.play("""
        await lift(card('Choose the colours'), column('DONE'));
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
    """A line is the same on every page. A pointer has its owner's name, and disappears when it leaves the canvas."""
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
    """In the same column, even if the columns are elsewhere on the screen, also during a drag."""
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
    chromium: NodeProcess, development: ServerProcess, connect_by: Connect, project: str
) -> None:
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
    """For a mouse and keys, or for touch. Other devices' hints are hidden from screen readers as well."""
    alice = await visit("Alice", **device)
    await alice.play(f"""
        const hinted = page.getByRole('button', {{ name: 'Find a name', description: {hint!r}, exact: true }});
        await hinted.waitFor();
    """)
