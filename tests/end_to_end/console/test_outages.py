"""When the server is away, or has no console."""

import asyncio

from tests.end_to_end.console.operators import Watch
from tests.support.real_clients import Connect
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE


async def test_clients_survive_an_announced_restart(
    server: ServerProcess, start_server: StartServer, connect_by: Connect, watch: Watch
) -> None:
    """The data stays visible with a note that it is old. Then updates continue, and the charts have both parts."""
    alice = await connect_by(ALICE, url=server.url)
    operator = await watch()
    await operator.play("await shows(() => newest('Connections'), '1');")
    await alice.close()
    await operator.play("""
        for (const view of ['Projects', 'Connections']) {
          await show(view);
          await page.getByText(`There are no ${view.toLowerCase()} now.`).waitFor();
        }
    """)
    assert await asyncio.to_thread(server.stop) == 0
    await operator.play("""
        await status.getByText(/^No answer for [0-9]+ s$/).waitFor();
        await page.getByText('The server does not answer. What you see is what came last').waitFor();
        await page.locator('.instances').getByText('does not answer').waitFor();
        const isClaimed = (words) => page.getByText(words).count();
        if (await isClaimed('healthy')) throw new Error('it is not known how the server is');
        await show('Projects');
        await page.locator('.empty').getByText('The server does not answer.').waitFor();
        if (await isClaimed('There are no projects now')) throw new Error('the list is not loaded');
        await show('Connections');
        await shows(() => found.textContent(), '0 connections, as it was last');
        await show('Overview');
        await figure('Connections').waitFor();
    """)
    start_server(WS_PORT=str(server.port))
    await operator.play("""
        await status.getByText('Live').waitFor();
        await page.getByText('The server does not answer.').waitFor({ state: 'detached' });
        await shows(() => newest('Connections'), '0');
        await says('Connections', 'WebSocket: 0 now, between 0 and 1');
    """)


async def test_a_missing_console_is_reported(server: ServerProcess, start_server: StartServer, watch: Watch) -> None:
    operator = await watch()
    assert await asyncio.to_thread(server.stop) == 0
    start_server(WS_PORT=str(server.port), SYNKORA_ENV="production")
    await operator.play("""
        await page.getByText('This server has no console: set CONSOLE_TOKEN, and start it again.').waitFor();
        await status.getByText(/^Refused for /).waitFor();
    """)
