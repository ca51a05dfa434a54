"""Users on the playground's page, each in their own browser."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.node_process import NodeProcess
from tests.support.server_process import ServerProcess

DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "hasTouch": True,
    "isMobile": True,
    "deviceScaleFactor": 2,
}

#: Waits for what Playwright's own locators cannot wait for, and goes through a page by keyboard.
UNTIL = """
const until = async (condition, what) => {
  const end = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it never came to this: ${what ?? condition}`);
    await page.waitForTimeout(50);
  }
};
const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);
const tabTo = async (locator) => {
  for (let tries = 0; tries < 80; tries++) {
    if (await locator.count() && await isFocused(locator)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error('the focus never came there');
};
"""

#: What a test's lines of Playwright find on the page.
_WORDS = """
const card = (title) => page.locator('.card', { hasText: title });
const column = (status) => page.locator(`[data-status=${status}]`);
const paper = page.locator('.canvas > svg');
const strokes = page.locator('.canvas > svg > path');
const text = page.getByLabel('Text of the document');
const preview = page.getByRole('region', { name: 'Preview' });
const cell = (name) => page.getByLabel(name, { exact: true });
const here = page.getByRole('list', { name: 'Who is here' }).getByRole('listitem');
const status = page.locator('.status');
const names = async () => (await here.locator('.unseen').allTextContents()).sort().join(', ');
const drag = async (from, to) => {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move((from[0] + to[0]) / 2, (from[1] + to[1]) / 2, { steps: 4 });
  await page.mouse.move(...to, { steps: 4 });
  await page.mouse.up();
};
const middle = async (locator) => {
  await locator.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await locator.boundingBox();
  return [x + width / 2, y + height / 2];
};
const lift = async (what, to) => {
  await page.mouse.move(...await middle(what));
  await page.mouse.down();
  await page.mouse.move(...await middle(to), { steps: 4 });
};
"""


class Visitor:
    """A user on the page; `console` has the browser console's messages, `words` the messages in `play`."""

    words = UNTIL + _WORDS

    def __init__(self, chromium: NodeProcess) -> None:
        self.console: list[str] = []
        self._chromium = chromium
        self._name = chromium.listen(lambda message: self.console.append(message["console"]))

    async def open(self, server: ServerProcess, name: str, project: str, **options: Any) -> None:
        """Open the page as a user. `options` are those of Playwright's browser contexts."""
        await self.load(server, f"?as={name}&project={project}", **options)
        await self.play("await page.locator('[data-state=connected]').waitFor();")
        await self.play("await here.first().waitFor();")

    async def load(self, server: ServerProcess, query: str = "", **options: Any) -> None:
        await self._go(f"http://localhost:{server.port}/playground{query}", **options)

    async def _go(self, url: str, **options: Any) -> None:
        await self._chromium.ask("open", name=self._name, url=url, options={**DESK, **options})

    async def play(self, lines: str) -> Any:
        try:
            return await self._chromium.ask("play", name=self._name, lines=self.words + lines)
        except AssertionError as error:
            raise AssertionError(f"{error}\nin: {lines.strip()}\nconsole: {self.console}") from None

    async def audit(self) -> list[str]:
        """axe's findings on the page."""
        found: list[str] = await self._chromium.ask("audit", name=self._name)
        return found

    async def close(self) -> None:
        await self._chromium.ask("close", name=self._name)


Visit = Callable[..., Awaitable[Visitor]]
