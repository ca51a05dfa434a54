"""Signing in to the console."""

import asyncio

from tests.end_to_end.console.operators import TOKEN, Operator, Watch
from tests.support.node_process import NodeProcess
from tests.support.server_process import StartServer


async def test_signing_in_and_out(start_server: StartServer, chromium: NodeProcess) -> None:
    """A wrong token is refused with a message. The valid one stays for the tab until sign-out."""
    server = start_server(CONSOLE_TOKEN=TOKEN)
    operator = Operator(chromium)
    await operator.load(server)
    await operator.play(f"""
        await page.getByLabel('Token').waitFor();
        await signIn('not-the-token-at-all');
        await page.getByText('This is not the server’s CONSOLE_TOKEN.'.replace('’', "'")).waitFor();
        await signIn({TOKEN!r});
        await status.getByText('Live').waitFor();
        await page.reload();
        await status.getByText('Live').waitFor();
        await button('Sign out').click();
        await page.getByLabel('Token').waitFor();
        await page.reload();
        await page.getByLabel('Token').waitFor();
        if (await page.evaluate('sessionStorage.length')) throw new Error('the token is still there');
    """)
    assert not [line for line in operator.console if "401" not in line]
    await operator.close()


async def test_a_token_that_is_not_the_right_one_any_more_signs_out(start_server: StartServer, watch: Watch) -> None:
    """The server was restarted with another token: the page asks for it."""
    server = start_server(CONSOLE_TOKEN=TOKEN)
    operator = await watch("Connections", server=server)
    assert await asyncio.to_thread(server.stop) == 0
    start_server(CONSOLE_TOKEN="another-token-of-the-console", WS_PORT=str(server.port))
    await operator.play("await page.getByRole('alert').getByText('CONSOLE_TOKEN').waitFor();")
    assert await operator.play("return page.evaluate('sessionStorage.length');") == 0


async def test_a_client_that_tries_tokens_has_to_wait(start_server: StartServer, chromium: NodeProcess) -> None:
    """After ten wrong tokens, the valid one is refused as well."""
    operator = Operator(chromium)
    await operator.load(start_server(CONSOLE_TOKEN=TOKEN))
    await operator.play(f"""
        for (let number = 0; number < 10; number++) {{
          const answered = page.waitForResponse((answer) => answer.url().includes('/settings'));
          await signIn(`not-the-token-${{number}}`);
          await answered;
        }}
        await signIn({TOKEN!r});
        await page.getByRole('alert').getByText('wait a minute').waitFor();
    """)
    await operator.close()


async def test_it_does_not_exist_in_production_without_a_token(
    start_server: StartServer, chromium: NodeProcess
) -> None:
    """The path is 404. With a token, the console exists and asks for it."""
    operator = Operator(chromium)
    await operator.load(start_server(SYNKORA_ENV="production"))
    assert await operator.play("return page.locator('body').textContent();") == "Not Found"
    await operator.watch(start_server(SYNKORA_ENV="production", CONSOLE_TOKEN=TOKEN))
    await operator.close()
