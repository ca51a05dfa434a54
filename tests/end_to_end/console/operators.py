"""Operators on the console's page, each in their own browser."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.end_to_end.playground.visitors import UNTIL, Visitor
from tests.support.server_process import ServerProcess

TOKEN = "the-token-of-the-console-5be01c9a"
REDIS_PASSWORD = "the-password-of-redis-7d1e"

_WORDS = """
const figure = (title) => page.locator('figure', { has: page.getByRole('heading', { name: title, exact: true }) });
const newest = (title) => figure(title).locator('.newest').textContent();
const line = (title, name) => figure(title).locator('.legend li', { hasText: name }).locator('b').textContent();
const inWords = (title) => figure(title).getByRole('img').getAttribute('aria-label');
const says = (title, words) => until(async () => (await inWords(title)).includes(words), `${title}: ${words}`);
const shows = async (read, wanted) => {
  let shown;
  const isShown = async () => (shown = await read()) === wanted;
  await until(isShown, wanted).catch((error) => { throw new Error(`${error.message}, but: ${shown}`); });
};
const show = (view) => page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: view }).click();
const rows = page.locator('tbody tr');
const row = (words) => rows.filter({ hasText: words });
const found = page.locator('.panel > header p');
const status = page.locator('.status');
const dialog = page.getByRole('dialog');
const button = (name) => page.getByRole('button', { name, exact: true });
const outcome = page.locator('.outcome');
const lines = page.getByRole('log').getByRole('listitem');
const scrolled = () => page.getByRole('log').evaluate((log) => log.scrollTop);
const isAtEnd = () => page.getByRole('log').evaluate((log) =>
  log.scrollTop > 0 && log.scrollHeight - log.scrollTop - log.clientHeight < 2);
const signIn = async (token) => {
  await page.getByLabel('Token').fill(token);
  await button('Sign in').click();
};
"""


class Operator(Visitor):
    words = UNTIL + _WORDS

    async def watch(self, server: ServerProcess, view: str = "Overview", **options: Any) -> None:
        """Open the page, sign in if needed, and wait for the server's answer."""
        await self.load(server, **options)
        await self.play(f"""
            await page.locator('form, .status.good').first().waitFor();
            if (await page.getByLabel('Token').count()) await signIn({TOKEN!r});
            await status.getByText('Live').waitFor();
            await show({view!r});
        """)

    async def load(self, server: ServerProcess, query: str = "", **options: Any) -> None:
        await self._go(f"http://localhost:{server.port}/console{query}", **options)


Watch = Callable[..., Awaitable[Operator]]
