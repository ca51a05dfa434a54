"""Takes the documents' pictures of both pages: `make screenshots`, or ARGS=FOLDER to have them elsewhere."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.end_to_end.browser import start_chromium
from tests.end_to_end.console.operators import Operator
from tests.end_to_end.office import at_work
from tests.end_to_end.playground.visitors import DESK, PHONE, Visitor
from tests.support.node_process import NodeProcess
from tests.support.redis_server import running_redis
from tests.support.server_process import ServerProcess

IMAGES: Final = Path(__file__).parent.parent.parent / "docs" / "images"

#: Draws lines on the canvas, which is 800 units wide.
_DRAW: Final = """
const draw = async (...points) => {
  const { x, y, width } = await paper.boundingBox();
  const at = ([left, top]) => [x + left * width / 800, y + top * width / 800];
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points) await page.mouse.move(...at(point), { steps: 8 });
  await page.mouse.up();
};
const round = (x, y, width, height) =>
  Array.from({ length: 40 }, (_, i) => [x + width * Math.cos(i / 6.2), y + height * Math.sin(i / 6.2)]);
"""

_ALICE: Final = """
await draw([90, 90], [330, 90], [330, 330], [90, 330], [90, 90]);
await draw([90, 130], [330, 130]);
await draw([120, 170], [290, 170]);
await draw([120, 200], [240, 200]);
await draw([120, 260], [200, 260], [200, 295], [120, 295], [120, 260]);
await drag(await middle(card('Write the launch brief')), await middle(column('IN_PROGRESS')));
await cell('B4').focus();
"""

_BOB: Final = """
await draw([335, 210], [400, 200], [460, 225], [505, 250]);
await draw([480, 250], [506, 251], [497, 226]);
await draw(...round(610, 270, 100, 62));
await draw([560, 270], [575, 255], [590, 282], [605, 256], [620, 283], [635, 257], [655, 270]);
await page.getByLabel('Title of a new card').fill('Order the cake');
await page.keyboard.press('Enter');
await cell('C3').fill('5600');
await text.focus();
await text.evaluate((area) => area.setSelectionRange(area.value.length, area.value.length));
await page.keyboard.type('- The cake is ordered');
"""

_WORKING: Final = 150  # seconds, that the console's charts have something to show

_POINT: Final = """
await page.mouse.move(...await middle(paper));
await page.mouse.move({x}, {y}, {{ steps: 3 }});
"""


async def take(folder: Path) -> None:
    """Have users work on projects, and take pictures of what they see, and of what operators see."""
    chromium = await start_chromium()
    with tempfile.TemporaryDirectory() as empty:
        try:
            await _take_playground(chromium, Path(empty), folder)
            await _take_console(chromium, Path(empty), folder)
        finally:
            await chromium.stop()


async def _take_playground(chromium: NodeProcess, empty: Path, folder: Path) -> None:
    server = ServerProcess(empty)
    try:
        await _work(chromium, server, folder)
    finally:
        server.stop()


async def _take_console(chromium: NodeProcess, empty: Path, folder: Path) -> None:
    node = await NodeProcess.start("remote-sockets.mjs")
    with running_redis() as redis:
        servers = [ServerProcess(empty, REDIS_URL=redis.url) for _ in range(2)]
        try:
            async with at_work(node, servers, _WORKING):
                await _watch(chromium, servers[0], folder)
        finally:
            await node.stop()
            for server in servers:
                server.stop()


async def _watch(chromium: NodeProcess, server: ServerProcess, folder: Path) -> None:
    looks: dict[str, dict[str, Any]] = {"light": DESK, "dark": {**DESK, "colorScheme": "dark"}, "phone": PHONE}
    for name, options in looks.items():
        operator = Operator(chromium)
        await operator.watch(server, **options)
        await operator.play("await figure('Redis messages').waitFor();")
        await _save(operator, folder / f"console-{name}.png")
        if name == "light":
            await operator.play("await show('Connections'); await rows.first().waitFor();")
            await _save(operator, folder / "console-connections.png")
        await operator.close()


async def _work(chromium: NodeProcess, server: ServerProcess, folder: Path) -> None:
    async def open_as(name: str, **options: Any) -> Visitor:
        visitor = Visitor(chromium)
        await visitor.open(server, name, "launch", **options)
        return visitor

    alice, bob = await open_as("Alice", **DESK), await open_as("Bob", colorScheme="dark", **DESK)
    carol = await open_as("Carol", **PHONE)
    await alice.play(_DRAW + _ALICE)
    await bob.play(_DRAW + _BOB)
    await carol.play("await page.locator('#canvas').scrollIntoViewIfNeeded();")
    await alice.play(_POINT.format(x=960, y=420))
    await bob.play(_POINT.format(x=1250, y=200))
    # By then the typing indicator has ended, and a ping was answered.
    await alice.play("await page.locator('.typing').first().waitFor({ state: 'detached' });")
    await bob.play("await text.press('End'); await page.keyboard.type('!');")
    await alice.play("await page.locator('#document').getByText('Bob is typing').waitFor();")
    for name, visitor in {"light": alice, "dark": bob, "phone": carol}.items():
        await _save(visitor, folder / f"playground-{name}.png")
        await visitor.close()


async def _save(visitor: Visitor, path: Path) -> None:
    await visitor.play(f"await page.screenshot({{ path: {str(path)!r}, animations: 'disabled' }});")
    sys.stdout.write(f"Made {path}\n")


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else IMAGES))
