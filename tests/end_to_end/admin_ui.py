"""Socket.IO's own admin UI in a real browser, on its own origin."""

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.node_process import NodeProcess
from tests.support.server_process import ServerProcess
from tests.support.users import CLIENTS

TOKEN = "the-token-of-the-console-81bd"
ON = {"ADMIN_UI": "true", "CONSOLE_TOKEN": TOKEN}

#: What a test's lines of Playwright find on the page.
_WORDS = """
const card = (title) => page.locator('.v-card', { has: page.locator('.v-card__title', { hasText: title }) });
const count = (title, label) => card(title).locator('tr', { hasText: label }).locator('h2');
const row = (text) => page.locator('tbody tr', { hasText: text }).first(); // two pages are there while one slides in
const gone = async (text) => {
  while (await row(text).count()) await page.waitForTimeout(50);
};
const visit = (name) => page.getByRole('navigation').getByRole('link', { name }).click();
const signIn = async (url, password) => {
  await page.getByLabel('Server URL').fill(url);
  await page.getByLabel('Username').fill('ann');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Connect' }).click();
};
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@contextmanager
def serving_ui() -> Iterator[str]:
    """The UI's files on a free port of the loopback address; the origin of its page."""
    files = CLIENTS / "node_modules/@socket.io/admin-ui/ui/dist"
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(files))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class AdminPage:
    """The UI in its own browser, which can reach only this machine."""

    def __init__(self, chromium: NodeProcess) -> None:
        self._chromium = chromium
        self._name = chromium.listen(lambda _: None)

    async def open(self, origin: str) -> None:
        options = {"viewport": {"width": 1440, "height": 900}}
        await self._chromium.ask("open", name=self._name, url="about:blank", options=options)
        await self.play(f"""
            await page.context().route(url => url.hostname !== '127.0.0.1', route => route.abort());
            await page.goto({json.dumps(origin)});
        """)

    async def sign_in(self, server: ServerProcess, password: str = TOKEN) -> None:
        await self.play(f"await signIn({json.dumps(server.url)}, {json.dumps(password)});")

    async def play(self, lines: str) -> Any:
        return await self._chromium.ask("play", name=self._name, lines=_WORDS + lines)

    async def close(self) -> None:
        await self._chromium.ask("close", name=self._name)
