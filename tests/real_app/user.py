"""A user in a browser, at work on the app's board."""

import json
from typing import Any, Final

from tests.end_to_end.playground.visitors import UNTIL, Visitor
from tests.real_app.stack import PROJECT, Stack
from tests.support.node_process import NodeProcess

_SCREEN: Final = {"width": 1900, "height": 1200}

#: What the app's pages are to Playwright.
_WORDS: Final = """
const titled = (title) => page.getByRole('heading', { name: title, exact: true });
const cards = (title) => page.locator('.cursor-pointer', { has: titled(title) });
const card = (title) => cards(title).first();
const column = (name) => page.locator('.flex-col', { has: titled(name) }).last();
const inColumn = (title, name) => column(name).locator(titled(title));
const live = () => page.getByText('Live', { exact: true }).waitFor();
const offline = () => page.getByText('Offline', { exact: true }).waitFor();
const create = async (title) => {
  await page.getByRole('button', { name: 'New Task' }).click();
  await page.getByLabel('Title *').fill(title);
  await page.getByRole('button', { name: 'Create Task' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
};
const rename = async (title, other) => {
  await card(title).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Title *').fill(other);
  await page.getByRole('button', { name: 'Save Changes' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
};
const remove = async (title) => {
  page.once('dialog', (dialog) => dialog.accept());
  await card(title).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Edit' }).click();
  await page.getByRole('dialog').locator('form button').filter({ hasText: /^$/ }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
};
const drag = async (title, name) => {
  const from = await card(title).boundingBox();
  const to = await column(name).boundingBox();
  await page.mouse.move(from.x + 40, from.y + 20);
  await page.mouse.down();
  await page.mouse.move(from.x + 60, from.y + 30, { steps: 4 });
  await page.mouse.move(to.x + 60, to.y + 200, { steps: 12 });
  await page.mouse.up();
  await inColumn(title, name).waitFor();
};
"""


class User(Visitor):
    """A user with this name and address, and their own browser."""

    words = UNTIL + _WORDS

    def __init__(self, chromium: NodeProcess, stack: Stack, email: str) -> None:
        super().__init__(chromium)
        self.email = email
        self._stack = stack

    async def sign_in(self) -> None:
        """Sign in as the app's page does, and open the board.

        The sign-in page draws by WebGL, which uses a whole processor without a graphics card.
        """
        # The app's service worker would answer some requests out of its cache.
        await self._go("about:blank", serviceWorkers="block", viewport=_SCREEN)
        origin, given = self._stack.origin, {"email": self.email, "password": self._stack.password}
        signed_in = await self.play(f"""
            const {{ csrfToken }} = await (await page.request.get('{origin}/api/auth/csrf')).json();
            const form = {{ ...{json.dumps(given)}, csrfToken, json: 'true' }};
            await page.request.post('{origin}/api/auth/callback/credentials', {{ form }});
            return (await (await page.request.get('{origin}/api/auth/session')).json()).user?.email;
        """)
        assert signed_in == self.email, f"{self.email} is not signed in"
        await self.open_board()

    async def open_board(self) -> None:
        await self.play(f"await page.goto('{self._stack.origin}/projects/{PROJECT}/kanban'); await live();")

    async def until_told(self, words: str) -> None:
        """Wait until the page's console has this text."""
        await self.play("0;")  # fails with the console's text if the page has crashed
        for _ in range(1200):
            if any(words in line for line in self.console):
                return
            await self.play("await page.waitForTimeout(100);")
        raise AssertionError(f"the page of {self.email} was not told: {words}\n{self.console}")

    async def sees(self, *titles: str) -> list[Any]:
        return [await self.play(f"return cards('{title}').count();") for title in titles]
