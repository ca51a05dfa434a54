"""The page on every device, by keyboard, and with assistive technology."""

from typing import Any

import pytest
from tests.end_to_end.playground.visitors import DESK, PHONE, Visit, Visitor
from tests.support.node_process import NodeProcess
from tests.support.server_process import StartServer


async def test_by_keyboard_alone(two: tuple[Visitor, Visitor]) -> None:
    """Cards move and open, lines are drawn, and the theme changes, without a pointer. The focus is never lost."""
    alice, bob = two
    await alice.play("""
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
    """In both directions, the focused element has a ring, and the top of the page does not cover it."""
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
    """axe finds no error, also with the open dialog. Nothing is wider than the screen."""
    alice, _ = await visit("Alice", colorScheme=scheme, **device), await visit("Bob")
    await alice.play("await until(async () => await here.count() === 2);")
    assert await alice.audit() == []
    width = await alice.play("return page.evaluate('document.documentElement.scrollWidth');")
    assert width == device["viewport"]["width"]
    await alice.play("await card('Find a name').click(); await page.getByRole('dialog').waitFor();")
    assert await alice.audit() == []
    assert alice.console == []


async def test_a_card_is_dragged_by_touch_from_its_grip(visit: Visit) -> None:
    """A touch elsewhere on the card opens it, so that the page can be scrolled over the board."""
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


async def test_it_does_not_exist_in_production(chromium: NodeProcess, start_server: StartServer) -> None:
    """The start prints no address, and the path is 404."""
    server = start_server(SYNKORA_ENV="production")
    visitor = Visitor(chromium)
    await visitor.load(server)
    assert await visitor.play("return page.locator('body').textContent();") == "Not Found"
    assert not any("Playground" in line for line in server.stdout)
    await visitor.close()
