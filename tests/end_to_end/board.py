"""Users in their own browsers, on a page that does what the web app's board does."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.access.processes import App
from tests.access.world import TEAM_PROJECT
from tests.end_to_end.guarded import token_of
from tests.end_to_end.playground.visitors import UNTIL, Visitor
from tests.support.users import CLIENTS

_VITE = CLIENTS.parent.parent / "web" / "node_modules" / "vite" / "bin" / "vite.js"

#: Helpers of the tests' lines of Playwright: elements of the page, and users' actions.
_WORDS = """
const card = (title) => page.locator('.card', { hasText: title });
const users = page.getByRole('list', { name: 'Users' }).getByRole('listitem');
const live = () => page.getByText('Live', { exact: true }).waitFor();
const offline = () => page.getByText('Offline', { exact: true }).waitFor();
const names = async () => (await users.allTextContents()).sort().join(', ');
const make = async (title) => {
  await page.getByLabel('Title of a new task').fill(title);
  await page.keyboard.press('Enter');
  await card(title).waitFor();
};
// The page sends a move only when the app has answered: moves that do not wait may be sent in another order.
const move = async (title, status) => {
  const moves = () => page.evaluate(() => window.sent.filter(([name]) => name === 'task:move').length);
  const before = await moves();
  await card(title).getByRole('combobox').selectOption(status);
  await until(async () => await moves() > before, `the move to ${status} is sent`);
};
const has = (title, status) => page.locator(`[data-status=${status}] .card`, { hasText: title }).waitFor();
const received = () => page.evaluate('window.received');
// The server has handled everything that the page has sent.
const handled = () => page.evaluate(() => new Promise((done) => socket.emit('ping').once('pong', done)));
"""


def build_page(folder: Path) -> None:
    """Build the page for development, since React's StrictMode mounts everything twice only there."""
    options = ["--mode", "development", "--logLevel", "warn", "--emptyOutDir", "--outDir", str(folder)]
    environment = {"PATH": os.environ["PATH"], "NODE_ENV": "development"}
    command = ["node", str(_VITE), "build", str(CLIENTS / "board"), *options]
    subprocess.run(command, check=True, env=environment, timeout=60)


class Colleague(Visitor):
    """A user with the app's board open."""

    words = UNTIL + _WORDS

    async def come(self, app: App, user_id: str, port: int) -> None:
        """Sign in, and open the board that connects to this port."""
        origin = app.url.replace("127.0.0.1", "localhost")
        cookie = {"name": app.cookie, "value": token_of(user_id), "url": origin, "httpOnly": True, "sameSite": "Lax"}
        board = f"{origin}/projects/{TEAM_PROJECT}?server=http://localhost:{port}"
        await self._go("about:blank")
        await self.play(f"""
            await page.context().addCookies([{json.dumps(cookie)}]);
            await page.goto({json.dumps(board)});
            await live();
            await users.first().waitFor();
        """)

    async def events(self, name: str) -> list[Any]:
        """The payloads of the events of this name since the page was loaded."""
        received = await self.play("return received();")
        return [event[1] for event in received if event[0] == name]
