"""The page on every device, by keyboard, and with assistive technology."""

from typing import Any

import pytest
import pytest_asyncio
from tests.end_to_end.console.operators import TOKEN, Operator, Watch
from tests.end_to_end.playground.visitors import DESK, PHONE
from tests.support.node_process import NodeProcess
from tests.support.real_clients import WAYS, Connect, join
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import BOB, PROJECT, User

DEVICES = {"desk": DESK, "phone": PHONE, "small phone": {**PHONE, "viewport": {"width": 320, "height": 568}}}


@pytest_asyncio.fixture(loop_scope="session")
async def busy(server: ServerProcess, connect_by: Connect) -> ServerProcess:
    alice = await connect_by(User("user-" + "long" * 12, "Alexandra Wilhelmina " * 3), url=server.url)
    bob = await connect_by(BOB, url=server.url, way=WAYS["js-polling"])
    await join(alice, project="project-with-a-name-as-long-as-it-can-sensibly-be-and-longer-still")
    await join(bob)
    return server


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
async def test_it_is_for_everyone(busy: ServerProcess, watch: Watch, scheme: str, device: dict[str, Any]) -> None:
    """axe finds no error in any view or dialog, and nothing is wider than the screen."""
    operator = await watch(colorScheme=scheme, **device)
    dialogs = {"Connections": "Disconnect Bob", "Projects": f"Notice to {PROJECT}"}
    for view in ("Overview", "Connections", "Projects", "Log", "Settings"):
        await operator.play(f"await show({view!r}); await page.getByRole('heading', {{ level: 2 }}).first().waitFor();")
        if opener := dialogs.get(view):
            await operator.play(f"await page.getByRole('button', {{ name: {opener!r} }}).waitFor();")
        assert await operator.audit() == [], view
        width = await operator.play("return page.evaluate('document.documentElement.scrollWidth');")
        assert width == device["viewport"]["width"], view
        if opener:
            await operator.play(f"await page.getByRole('button', {{ name: {opener!r} }}).click();")
            await operator.play("await dialog.waitFor();")
            assert await operator.audit() == [], opener
            await operator.play("await page.keyboard.press('Escape'); await dialog.waitFor({ state: 'detached' });")
    assert operator.console == []


#: The words of tables that are broken over lines, except those longer than a line.
_BROKEN = r"""
const broken = () => page.locator('.rows').evaluate((rows) => {
  const walker = document.createTreeWalker(rows, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    for (const { 0: word, index } of walker.currentNode.data.matchAll(/[\w.,:]+/g)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, index);
      range.setEnd(walker.currentNode, index + word.length);
      const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
      if (lines.size > 1 && word.length <= 16) found.push(word);
    }
  }
  return found.join(' ');
});
"""
WIDTHS = {"320": (320, 568), "390": (390, 844), "820": (820, 1180), "1239": (1239, 800), "1240": (1240, 800)}


@pytest.mark.parametrize("size", WIDTHS.values(), ids=list(WIDTHS))
async def test_no_table_is_cut(busy: ServerProcess, watch: Watch, size: tuple[int, int]) -> None:
    """And no word is broken that would fit into a line."""
    operator = await watch("Connections", viewport={"width": size[0], "height": size[1]})
    for view in ("Connections", "Projects", "Settings"):
        await operator.play(
            _BROKEN
            + f"""
            await show({view!r});
            await rows.first().waitFor();
            const cut = await page.locator('.rows').evaluate((rows) => rows.scrollWidth - rows.clientWidth);
            if (cut > 0) throw new Error(`{view}: ${{cut}} pixels are cut`);
            const words = await broken();
            if (words) throw new Error(`{view}: ${{words}} are broken`);
        """
        )
    assert operator.console == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_form_to_sign_in_is_for_everyone(
    start_server: StartServer, chromium: NodeProcess, scheme: str
) -> None:
    """axe finds no error, and the field has the focus."""
    operator = Operator(chromium)
    await operator.load(start_server(CONSOLE_TOKEN=TOKEN), colorScheme=scheme, **PHONE)
    await operator.play("""
        await page.getByLabel('Token').waitFor();
        await until(() => page.getByLabel('Token').evaluate((field) => field === document.activeElement), 'the focus');
        await page.keyboard.type('wrong-token-for-axe');
        await page.keyboard.press('Enter');
        await page.getByRole('alert').getByText('CONSOLE_TOKEN').waitFor();
    """)
    assert await operator.audit() == []
    await operator.close()


async def test_by_keyboard_alone(busy: ServerProcess, watch: Watch) -> None:
    """Views, sorting, and a dialog that returns the focus."""
    operator = await watch()
    await operator.play("""
        await tabTo(page.getByRole('link', { name: 'Connections' }));
        await page.keyboard.press('Enter');
        await row('Bob').waitFor();
        await tabTo(page.getByRole('columnheader', { name: 'User' }).getByRole('button'));
        await page.keyboard.press('Enter');
        await page.locator('th[aria-sort=ascending]', { hasText: 'User' }).waitFor();
        const opener = page.getByRole('button', { name: 'Disconnect Bob' });
        await tabTo(opener);
        await page.keyboard.press('Enter');
        await dialog.waitFor();
        await until(() => isFocused(dialog.getByRole('button', { name: 'Cancel' })), 'the harmless button');
        await page.keyboard.press('Escape');
        await dialog.waitFor({ state: 'detached' });
        await until(() => isFocused(opener), 'the focus is back');
        await tabTo(page.getByRole('button', { name: /theme/ })).catch(() => page.keyboard.press('Home'));
    """)
    assert operator.console == []
