"""The live log, and the settings in force."""

import asyncio

import httpx
from tests.end_to_end.console.operators import REDIS_PASSWORD, TOKEN, Watch
from tests.support.processes import PATIENCE
from tests.support.real_clients import Connect, join
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, PROJECT, SECRET


async def test_the_log_is_shown_as_it_is_written(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """By level, by search text, and not while paused."""
    operator = await watch("Log")
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    await operator.play(f"""
        await lines.filter({{ hasText: 'Client connected: {alice.id} (User: Alice)' }}).waitFor();
        await lines.filter({{ hasText: 'Alice joined project {PROJECT}' }}).waitFor();
        await page.getByLabel('Search what is shown').fill('CLIENT CONNECTED: {alice.id}');
        await until(async () => await lines.count() === 1, 'one line');
        await page.getByLabel('Search what is shown').fill('');
        await until(async () => await lines.count() > 1, 'all lines');
        await page.getByLabel('Level').selectOption('Errors');
        await page.getByText('No line yet.').waitFor();
        await page.getByLabel('Level').selectOption('Info and above');
        await lines.filter({{ hasText: 'Client connected: {alice.id}' }}).waitFor();
        await button('Pause').click();
        await found.getByText('paused').waitFor();
    """)
    await alice.close()
    await asyncio.to_thread(server.line, lambda line: "disconnected" in line)
    await operator.play("""
        if (await lines.filter({ hasText: 'disconnected' }).count()) throw new Error('it is paused');
        await button('Pause').click();
        await lines.filter({ hasText: 'Client disconnected' }).waitFor();
    """)
    assert operator.console == []


async def test_the_log_follows_its_end_until_it_is_scrolled(
    start_server: StartServer, connect_by: Connect, watch: Watch
) -> None:
    server = start_server(LIMIT_OTHER_RATE="1000")
    operator = await watch("Log", server=server)
    alice = await connect_by(ALICE, url=server.url)

    async def write(name: str) -> None:
        for number in range(40):
            await alice.emit("join-project", f"{name}-{number}")
            await alice.emit("leave-project", f"{name}-{number}")

    await write("first")
    await operator.play("""
        await lines.filter({ hasText: 'first-39' }).last().waitFor();
        await until(isAtEnd, 'the end');
        await page.getByRole('log').press('Home');
        await until(async () => await scrolled() === 0, 'the beginning');
        await button('To the end').waitFor();
    """)
    await write("second")
    await operator.play("""
        await lines.filter({ hasText: 'second-39' }).last().waitFor();
        if (await scrolled() !== 0) throw new Error('it has moved');
        await button('To the end').click();
        await until(isAtEnd, 'the end');
        await button('To the end').waitFor({ state: 'detached' });
    """)
    assert operator.console == []


async def test_secrets_are_nowhere_on_the_page(redis: RedisServer, start_server: StartServer, watch: Watch) -> None:
    """Settings are shown with their values, secrets only as set or not set."""
    secrets = {
        "NEXTAUTH_SECRET_PREVIOUS": "an-older-secret-of-the-tests-77aa01",
        "METRICS_TOKEN": "the-token-of-metrics-2f4e",
    }
    server = start_server(REDIS_URL=redis.url, CONSOLE_TOKEN=TOKEN, LIMIT_PROJECTS="17", **secrets)
    operator = await watch("Settings", server=server)
    await operator.play("""
        await row('REDIS_URL').getByText('***').waitFor();
        for (const secret of ['NEXTAUTH_SECRET', 'NEXTAUTH_SECRET_PREVIOUS', 'METRICS_TOKEN', 'CONSOLE_TOKEN']) {
          const cells = rows.filter({ has: page.getByText(secret, { exact: true }) }).locator('td');
          await shows(() => cells.nth(1).textContent(), 'set');
        }
        await row('LIMIT_PROJECTS').getByText('17', { exact: true }).waitFor();
        await page.getByLabel('Search settings').fill('limit_projects');
        await until(async () => await rows.count() === 1);
        await page.getByLabel('Search settings').fill('');
        await until(async () => await rows.count() > 20);
    """)
    seen = []
    for view in ("Settings", "Log", "Projects", "Connections", "Overview"):
        await operator.play(f"await show({view!r}); await page.getByRole('heading', {{ level: 2 }}).first().waitFor();")
        seen.append(await operator.play("return page.content();"))
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        http.headers["authorization"] = f"Bearer {TOKEN}"
        for path in ("overview", "connections", "projects", "log", "settings"):
            answer = await http.get(f"/console/api/{path}")
            assert answer.status_code == 200
            seen.append(answer.text)
    for secret in (SECRET, TOKEN, REDIS_PASSWORD, *secrets.values()):
        assert not [text for text in seen if secret in text]
