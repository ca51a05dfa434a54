"""The charts of the overview show the clients' actions."""

import re
import signal

import httpx
import pytest_asyncio
from tests.end_to_end.console.operators import Watch
from tests.end_to_end.raw import RawClient, RawWebSocket, enter
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS, Connect, join
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, BOB, PROJECT


async def metric(server: ServerProcess, name: str) -> int:
    """The value of a metric without labels in `/metrics`."""
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        found = re.search(rf"^{name} ([0-9.e+]+)$", (await http.get("/metrics")).text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def test_the_figures_count_the_clients_actions(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Connections by transport, users, projects, events by kind, deliveries, bytes and refusals, all of them exact."""
    operator = await watch()
    alice, again = [await connect_by(ALICE, url=server.url) for _ in range(2)]
    bob = await connect_by(BOB, url=server.url, way=WAYS["js-polling"])
    for client in (alice, again, bob):
        await client.emit("join-project", PROJECT)
    await bob.emit("join-project", "another")
    for number in range(40):
        await alice.emit("canvas:cursor", {"projectId": PROJECT, "position": number})
    for number in range(7):
        await bob.emit("task:create", {"projectId": PROJECT, "task": number})
    for _ in range(3):
        await bob.emit("join-project")
    await operator.play("""
        await shows(() => newest('Connections'), '3');
        await shows(() => line('Connections', 'WebSocket'), '2');
        await shows(() => line('Connections', 'polling'), '1');
        await shows(() => line('Users', 'users'), '2');
        await shows(() => line('Users', 'projects'), '2');
        await says('Events in', 'canvas:cursor: 0/s now');
        await says('Events in', '40 in all');
        await says('Events in', 'task:create: 0/s now');
        await says('Events in', '7 in all');
        await says('Refusals', 'refused events: 0/s now');
        await says('Refusals', '3 in all');
        await shows(() => newest('Refusals'), '0/s');
    """)
    events = await operator.play("return inWords('Events in');")
    assert re.search(r"canvas:cursor: [^.]*?between 0/s and [0-9.]+/s, 40 in all", events)
    assert re.search(r"task:create: .*?between 0/s and [0-9.]+/s, 7 in all", events)
    for chart, name in {
        "Messages out": "synkora_deliveries_total",
        "Traffic": "synkora_sent_bytes_total",
    }.items():
        await operator.play(f"await says({chart!r}, '{await metric(server, name):,} in all');")
    await bob.close()
    await operator.play("await shows(() => newest('Connections'), '2');")
    assert operator.console == []


async def test_the_charts_point_at_one_time(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    operator = await watch()
    await operator.play("await shows(() => newest('Connections'), '0');")
    await connect_by(ALICE, url=server.url)
    await operator.play("""
        await shows(() => newest('Connections'), '1');
        const slider = page.getByRole('slider', { name: 'Time of the values' });
        await slider.press('Home');
        await shows(() => newest('Connections'), '0');
        await shows(() => line('Users', 'users'), '0');
        const told = await slider.getAttribute('aria-valuetext');
        if (!/^[0-9:]{8}$/.test(told)) throw new Error(`no time: ${told}`);
        await slider.press('End');
        await shows(() => newest('Connections'), '1');
        const { x, y, width, height } = await figure('Memory').locator('.u-over').boundingBox();
        await page.mouse.move(x + 5, y + height / 2);
        await shows(() => newest('Connections'), '0');
        await page.mouse.move(5, 5);
        await shows(() => newest('Connections'), '1');
    """)
    assert operator.console == []


@pytest_asyncio.fixture(loop_scope="session")
async def instances(
    redis: RedisServer, start_server: StartServer, connect_by: Connect
) -> tuple[ServerProcess, ServerProcess]:
    """Two instances, with Alice on the first and Bob on the second, both in the project."""
    first, second = (start_server(REDIS_URL=redis.url) for _ in range(2))
    alice, bob = await connect_by(ALICE, url=first.url), await connect_by(BOB, url=second.url)
    for client in (alice, bob):
        await client.emit("join-project", PROJECT)
    return first, second


async def test_one_of_several_instances(instances: tuple[ServerProcess, ServerProcess], watch: Watch) -> None:
    """All instances together first, then the chosen one, in charts and tables. A dead one is reported."""
    first, second = instances
    operator = await watch(server=first)
    await operator.play(f"""
        const instance = (port) => page.getByRole('button', {{ name: new RegExp(`:${{port}} `) }});
        await button('All 2 instances').waitFor();
        await shows(() => newest('Connections'), '2');
        await figure('Redis round trip').waitFor();
        await instance({second.port}).click();
        await shows(() => newest('Connections'), '1');
        await show('Connections');
        await shows(() => found.textContent(), '1 connection');
        await row('Bob').waitFor();
        await button('All 2 instances').click();
        await shows(() => found.textContent(), '2 connections');
        await row('Alice').getByText(':{first.port} ').waitFor();
        await row('Bob').getByText(':{second.port} ').waitFor();
    """)
    second.signal(signal.SIGSTOP)
    try:
        await operator.play("""
            await page.locator('.instances').getByText('does not answer').waitFor();
            await show('Overview');
            await shows(() => newest('Connections'), '1');
        """)
    finally:
        second.signal(signal.SIGCONT)
    assert operator.console == []
    second.kill()


async def test_an_instance_that_does_not_answer_is_named(
    instances: tuple[ServerProcess, ServerProcess], watch: Watch
) -> None:
    """Wherever its data or its part of an action may be missing."""
    first, second = instances
    operator = await watch("Connections", server=first)
    await operator.play("await row('Bob').getByRole('button', { name: 'Disconnect' }).click();")
    second.signal(signal.SIGSTOP)
    try:
        await operator.play(f"""
            await dialog.getByRole('button', {{ name: 'Disconnect' }}).click();
            await outcome.getByText(/Bob .* may still be connected: .*:{second.port} .* has not answered/).waitFor();
            await page.getByText(/There may be more: .*:{second.port} .* has not answered/).waitFor();
            await show('Projects');
            await row('{PROJECT}').getByRole('button', {{ name: 'Notice' }}).click();
            await dialog.getByLabel('Message for everybody in the project').fill('At noon');
            await dialog.getByRole('button', {{ name: 'Post' }}).click();
            await outcome.getByText(/has reached 1 connection .*, and perhaps others: .*:{second.port} /).waitFor();
        """)
    finally:
        second.signal(signal.SIGCONT)
    assert operator.console == []
    second.kill()


async def test_slow_consumers_are_shown(start_server: StartServer, connect_by: Connect, watch: Watch) -> None:
    """Their number, their backlog and their losses, and in the table each of them."""
    server = start_server(LIMIT_VOLATILE_RATE="0")
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    slow = await RawWebSocket.open(server, slow=True)
    await enter(RawClient(slow), BOB, PROJECT)
    operator = await watch(server=server)
    for _ in range(300):
        await alice.emit("canvas:cursor", {"projectId": PROJECT, "position": "x" * 10_000})
    await alice.emit("ping")
    while (await alice.next())[0] != "pong":  # the server has handled them
        pass
    await operator.play("""
        await shows(() => line('Slow clients', 'slow clients'), '1');
        await until(async () => await newest('Unsent data') !== '0 B', 'what waits');
    """)
    dropped = await metric(server, "synkora_deliveries_dropped_total")
    assert dropped > 0
    await operator.play(f"""
        await says('Slow clients', 'messages dropped/s: ');
        await says('Slow clients', '{dropped:,} in all');
        await show('Connections');
        await page.getByRole('columnheader', {{ name: 'Unsent' }}).getByRole('button').click();
        await page.locator('th[aria-sort=descending]', {{ hasText: 'Unsent' }}).waitFor();
        await until(async () => /^Bob/.test(await rows.first().textContent()), 'Bob is the first');
        await rows.first().locator('td', {{ hasText: /^[0-9.]+ [kM]B$/ }}).waitFor();
    """)
    await slow.close()
    assert operator.console == []
