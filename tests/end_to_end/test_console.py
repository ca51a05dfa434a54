"""The console in a real browser: what operators see is what clients did, and what operators do reaches clients."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.end_to_end.clients import WAYS, Refused
from tests.end_to_end.console import TOKEN, Operator
from tests.end_to_end.node_process import NodeProcess
from tests.end_to_end.people import ALICE, BOB, CAROL, SECRET, Person
from tests.end_to_end.playground import DESK, PHONE, Visitor
from tests.end_to_end.raw import RawClient
from tests.end_to_end.server_process import ServerProcess
from tests.end_to_end.session import PROJECT, Connect, StartServer, join
from tests.end_to_end.slow import SlowWebSocket, enter
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.asyncio(loop_scope="session")

Watch = Callable[..., Awaitable[Operator]]
REDIS_PASSWORD = "the-password-of-redis-7d1e"


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    """A server in development, as `make run` starts it, with nobody on it."""
    return start_server()


@pytest.fixture
def redis() -> Any:
    """A Redis of the test's own."""
    with running_redis(password=REDIS_PASSWORD) as redis:
        yield redis


@pytest_asyncio.fixture(loop_scope="session")
async def watch(chromium: NodeProcess, server: ServerProcess) -> AsyncIterator[Watch]:
    """Opens the page at a view."""
    operators: list[Operator] = []

    async def watch(view: str = "Overview", *, server: ServerProcess = server, **options: Any) -> Operator:
        operator = Operator(chromium)
        operators.append(operator)
        await operator.watch(server, view, **options)
        return operator

    yield watch
    for operator in operators:
        await operator.close()


async def metric(server: ServerProcess, name: str) -> int:
    """What `/metrics` says of something that has no labels."""
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        found = re.search(rf"^{name} ([0-9.e+]+)$", (await http.get("/metrics")).text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


# Figures


async def test_the_figures_are_what_clients_did(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
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
        await shows(() => line('People', 'users'), '2');
        await shows(() => line('People', 'projects'), '2');
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
    """By pointer or by keyboard, all of them show what was then; and what is now when nobody points any more."""
    operator = await watch()
    await operator.play("await shows(() => newest('Connections'), '0');")
    await connect_by(ALICE, url=server.url)
    await operator.play("""
        await shows(() => newest('Connections'), '1');
        const slider = page.getByRole('slider', { name: 'Time of the values' });
        await slider.press('Home');
        await shows(() => newest('Connections'), '0');
        await shows(() => line('People', 'users'), '0');
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


async def test_one_of_several_instances(
    redis: RedisServer, start_server: StartServer, connect_by: Connect, watch: Watch
) -> None:
    """All together at first, then the one that is chosen, in charts and tables; one that dies is told."""
    first, second = (start_server(REDIS_URL=redis.url) for _ in range(2))
    alice, bob = await connect_by(ALICE, url=first.url), await connect_by(BOB, url=second.url)
    for client in (alice, bob):
        await client.emit("join-project", PROJECT)
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
    redis: RedisServer, start_server: StartServer, connect_by: Connect, watch: Watch
) -> None:
    """Wherever something of it may be missing, or may not have been done: in tables, and after actions."""
    first, second = (start_server(REDIS_URL=redis.url) for _ in range(2))
    alice, bob = await connect_by(ALICE, url=first.url), await connect_by(BOB, url=second.url)
    for client in (alice, bob):
        await client.emit("join-project", PROJECT)
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
            await dialog.getByLabel('What everybody in the project is told').fill('At noon');
            await dialog.getByRole('button', {{ name: 'Post' }}).click();
            await outcome.getByText(/has reached 1 connection .*, and perhaps others: .*:{second.port} /).waitFor();
        """)
    finally:
        second.signal(signal.SIGCONT)
    assert operator.console == []
    second.kill()


async def test_who_does_not_read_is_seen(start_server: StartServer, connect_by: Connect, watch: Watch) -> None:
    """How many they are, what waits for them, what they have lost, and in the table who it is."""
    server = start_server(LIMIT_VOLATILE_RATE="0")
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    slow = await SlowWebSocket.open(server)
    await enter(RawClient(slow), BOB, PROJECT)
    operator = await watch(server=server)
    for _ in range(300):
        await alice.emit("canvas:cursor", {"projectId": PROJECT, "position": "x" * 10_000})
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


# Tables


async def test_a_search_finds_the_one(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """By name, id, address or project, whatever the case; and the table says how many there are."""
    alice, bob = await connect_by(ALICE, url=server.url), await connect_by(BOB, url=server.url, way=WAYS["js-polling"])
    carol = await connect_by(CAROL, url=server.url)
    await join(alice)
    await join(carol, project="Website")
    operator = await watch("Connections")
    for words, name in {"ALI": "Alice", "user-bob": "Bob", bob.id: "Bob", "website": "Carol"}.items():
        await operator.play(f"""
            await page.getByLabel('Search connections').fill({words!r});
            await shows(() => found.textContent(), '1 of 3 connections');
            await row({name!r}).waitFor();
        """)
    await operator.play("""
        await page.getByLabel('Search connections').fill('');
        await shows(() => found.textContent(), '3 connections');
        await page.getByRole('combobox', { name: 'Transport' }).selectOption('Polling');
        await shows(() => found.textContent(), '1 of 3 connections');
        await row('Bob').locator('td', { hasText: /^127\\.0\\.0\\.1$/ }).waitFor();
        await page.getByRole('combobox', { name: 'Transport' }).selectOption('Any');
        await page.getByLabel('Search connections').fill('nobody');
        await page.getByText('None of the connections is like that.').waitFor();
    """)
    assert operator.console == []


async def test_names_cannot_turn_a_sentence_round(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """What cannot be seen of a name or an id is shown as the log shows it, each name apart from the words around it."""
    eve = await connect_by(Person("user\u200b", "\u202eevE\u2066"), url=server.url)
    for project in (" ", "\u3164", "שלום"):
        await eve.emit("join-project", project)
    operator = await watch("Connections")
    await operator.play(r"""
        await until(async () => /^\\u202eevE\\u2066 user\\u200b/.test(await row('user').textContent()), 'the name');
        await shows(() => row('user').locator('.projects').textContent(), '\\x20, \\u3164 +1');
        await row('user').getByRole('button', { name: 'Disconnect' }).click();
        await shows(() => dialog.getByRole('heading').textContent(), 'Disconnect \\u202eevE\\u2066?');
        await dialog.getByRole('button', { name: 'Cancel' }).click();
        await show('Projects');
        await row('שלום').locator('bdi', { hasText: 'שלום' }).first().waitFor();
        await row('\\u3164').getByRole('button', { name: 'Notice' }).click();
        await shows(() => dialog.getByRole('heading').textContent(), 'Notice to \\u3164');
    """)
    assert operator.console == []


async def test_of_many_projects_the_first_are_shown(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """With how many more there are."""
    alice = await connect_by(ALICE, url=server.url)
    for number in range(7):
        await alice.emit("join-project", f"p{number}")
    operator = await watch("Connections")
    await operator.play("""
        const projects = row('Alice').locator('.projects');
        await shows(() => projects.textContent(), 'p0, p1 +5');
        await shows(() => projects.getAttribute('title'), 'p0\\np1\\np2\\np3\\np4\\n+2');
    """)
    assert operator.console == []


async def test_300_connections_are_paged_through(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Sorted by a click on the column's heading, each is there once, in its order; again, and the order is reversed."""
    people = [Person(f"user-{number:03}", f"Person {number:03}") for number in range(300)]
    await asyncio.gather(*(connect_by(person, url=server.url) for person in people))
    operator = await watch("Connections")
    names = await operator.play("""
        const heading = page.getByRole('columnheader', { name: 'User' });
        await heading.getByRole('button').click();
        await page.locator('th[aria-sort=ascending]', { hasText: 'User' }).waitFor();
        await row('Person 000').waitFor();
        const names = [];
        for (let from = 0; from < 300; from += 50) {
          await page.getByText(`${from + 1}–${from + 50} of 300`).waitFor();
          await row(`Person ${String(from).padStart(3, '0')}`).waitFor();
          names.push(...await rows.locator('.who strong').allTextContents());
          if (from < 250) await button('Next').click();
        }
        if (await button('Next').isEnabled()) throw new Error('there is no next page');
        await heading.getByRole('button').click();
        await page.locator('th[aria-sort=descending]', { hasText: 'User' }).waitFor();
        await until(async () => await rows.locator('.who strong').first().textContent() === 'Person 299');
        return names;
    """)
    assert names == [person.name for person in people]
    assert operator.console == []


async def test_projects_lead_to_their_connections(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Each with its users and connections, the largest first."""
    alice, again, bob = [await connect_by(person, url=server.url) for person in (ALICE, ALICE, BOB)]
    await join(alice)
    await join(again, alice)
    await join(bob, project="another")
    operator = await watch("Projects")
    await operator.play(f"""
        await shows(() => found.textContent(), '2 projects');
        await page.getByRole('columnheader', {{ name: 'Connections' }}).getByRole('button').click();
        await until(async () => (await rows.first().textContent()).startsWith('{PROJECT}12'));
        await row('another').getByRole('button', {{ name: 'connections of another' }}).click();
        await shows(() => found.textContent(), '1 of 3 connections');
        await row('Bob').waitFor();
        await page.getByRole('button', {{ name: 'Project another' }}).click();
        await shows(() => found.textContent(), '3 connections');
    """)
    assert operator.console == []


async def test_the_overviews_cards_are_one_grid(server: ServerProcess, watch: Watch) -> None:
    """All cards have one width, those of a row one height, and their plots begin at one height."""
    operator = await watch("Overview")
    await operator.play("await figure('Connections').locator('.u-over').waitFor();")
    cards = await operator.play("""
        return await page.locator('.charts .chart').evaluateAll((all) => all.map((card) => {
            const box = card.getBoundingClientRect();
            const plot = card.querySelector('.u-over, .uplot, canvas');
            return [box.top, box.width, box.height, plot === null ? null : plot.getBoundingClientRect().top].map(
                (length) => length === null ? null : Math.round(length));
        }));
    """)
    assert len(cards) > 3
    assert len({width for _, width, _, _ in cards}) == 1
    for top in {card[0] for card in cards}:
        row = [card for card in cards if card[0] == top]
        assert len({height for _, _, height, _ in row}) == 1
        assert len({plot for _, _, _, plot in row if plot is not None}) == 1
    assert len({card[0] for card in cards}) < len(cards)  # on a desk, a row has several


async def test_a_project_is_opened(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Who is in it, and how much each sends; its address leads to it again."""
    alice, again, bob = [await connect_by(person, url=server.url) for person in (ALICE, ALICE, BOB)]
    for client in (alice, again, bob):
        await client.emit("join-project", "a/b c")
    operator = await watch("Projects")
    await operator.play("""
        await page.getByRole('link', { name: 'a/b c' }).click();
        await page.getByRole('heading', { name: 'Project a/b c' }).waitFor();
        await shows(() => found.textContent(), '2 users, 3 connections');
        await until(async () => /^Alice user-alice22/.test(await row('Alice').textContent()), 'two connections');
        await page.getByText('Together they send 0 events a second').waitFor();
    """)
    for _ in range(30):
        await bob.emit("canvas:cursor", {"projectId": "a/b c", "position": 1})
    await operator.play("""
        await until(async () => /^Bob user-bob131[1-9]/.test(await row('Bob').textContent()), 'a rate');
        await page.reload();
        await page.getByRole('heading', { name: 'Project a/b c' }).waitFor();
        await page.getByRole('button', { name: 'Notice' }).click();
        await shows(() => dialog.getByRole('heading').textContent(), 'Notice to a/b c');
        await dialog.getByRole('button', { name: 'Cancel' }).click();
        await page.getByRole('button', { name: 'Connections', exact: true }).click();
        await shows(() => found.textContent(), '3 connections');
        await page.goBack();
        await page.getByRole('link', { name: 'All projects' }).click();
        await shows(() => found.textContent(), '1 project');
    """)
    assert operator.console == []


# Actions


async def test_a_user_is_kept_out(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """With all their connections, for the time that is chosen; until somebody lifts it."""
    alice, again, bob = [await connect_by(person, url=server.url) for person in (ALICE, ALICE, BOB)]
    operator = await watch("Connections")
    await operator.play("""
        await row('Alice').first().getByRole('button', { name: 'Disconnect' }).click();
        await dialog.getByLabel('All connections of Alice').check();
        await dialog.getByLabel('Keep out for').selectOption('1 hour');
        await dialog.getByRole('button', { name: 'Block' }).click();
        await outcome.getByText('2 connections of Alice ended, and blocked for 1 hour.').waitFor();
        await page.locator('.blocks').getByText(/^for 59 min/).waitFor();
        await shows(() => found.textContent(), '1 connection');
    """)
    for client in (alice, again):
        assert await client.changes.next() == ["disconnect", "io server disconnect"]
    with pytest.raises(Refused, match="Blocked by the operators"):
        await connect_by(ALICE, url=server.url)
    await operator.play("""
        await page.getByRole('button', { name: 'Lift the block of user-alice' }).click();
        await outcome.getByText('user-alice is no longer blocked.').waitFor();
        await page.locator('.blocks').waitFor({ state: 'detached' });
    """)
    await connect_by(ALICE, url=server.url)
    await bob.hears_nothing()
    assert operator.console == []


async def test_a_client_is_disconnected(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Once it has been confirmed: the client learns who did it, and its row goes."""
    alice, bob = [await connect_by(person, url=server.url) for person in (ALICE, BOB)]
    operator = await watch("Connections")
    await operator.play("""
        await row('Alice').getByRole('button', { name: 'Disconnect' }).click();
        await dialog.getByText('Disconnect Alice?').waitFor();
        await dialog.getByRole('button', { name: 'Cancel' }).click();
        await dialog.waitFor({ state: 'detached' });
    """)
    await alice.hears_nothing()
    await operator.play("""
        await row('Alice').getByRole('button', { name: 'Disconnect' }).click();
        await dialog.getByRole('button', { name: 'Disconnect' }).click();
        await outcome.getByText(/^Alice .* has been disconnected/).waitFor();
        await shows(() => found.textContent(), '1 connection');
        await row('Alice').waitFor({ state: 'detached' });
    """)
    assert await alice.changes.next() == ["disconnect", "io server disconnect"]
    await bob.hears_nothing()
    assert operator.console == []


async def test_a_notice_reaches_the_project_and_nobody_else(
    server: ServerProcess, connect_by: Connect, watch: Watch
) -> None:
    """With the words as they were written; the page counts characters, and says how many connections it has reached."""
    alice, bob, carol = [await connect_by(person, url=server.url) for person in (ALICE, BOB, CAROL)]
    await join(alice)
    await join(bob, alice)
    await join(carol, project="another")
    operator = await watch("Projects")
    await operator.play(f"""
        await row('{PROJECT}').getByRole('button', {{ name: 'Notice' }}).click();
        const text = dialog.getByLabel('What everybody in the project is told');
        const post = dialog.getByRole('button', {{ name: 'Post' }});
        if (await post.isEnabled()) throw new Error('there is nothing to post');
        await text.fill('🎉'.repeat(501));
        await dialog.getByText('501 of 500 characters: too many').waitFor();
        if (await post.isEnabled()) throw new Error('it is too long');
        await text.fill('Größe: “ok” <b>&</b>');
        await dialog.getByText('20 of 500 characters').waitFor();
        await post.click();
        await outcome.getByText('The notice has reached 2 connections in {PROJECT}.').waitFor();
    """)
    for client in (alice, bob):
        notice = await client.expect("server:notice")
        assert notice["message"] == "Größe: “ok” <b>&</b>"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", notice["timestamp"])
    await carol.hears_nothing()
    assert operator.console == []


async def test_a_notice_is_shown_in_the_playground(server: ServerProcess, chromium: NodeProcess, watch: Watch) -> None:
    """As text, until it is dismissed."""
    alice = Visitor(chromium)
    await alice.open(server, "Alice", "launch")
    operator = await watch("Projects")
    await operator.play("""
        await row('launch').getByRole('button', { name: 'Notice' }).click();
        await dialog.getByLabel('What everybody in the project is told').fill('Back in <b>5</b> minutes');
        await dialog.getByRole('button', { name: 'Post' }).click();
        await outcome.getByText('The notice has reached 1 connection in launch.').waitFor();
    """)
    await alice.play("""
        await page.getByText('From the server: Back in <b>5</b> minutes').waitFor();
        await page.getByRole('button', { name: 'Dismiss' }).click();
        await page.getByText('From the server').waitFor({ state: 'detached' });
    """)
    assert alice.console == operator.console == []
    await alice.close()


# The log and the settings


async def test_the_log_is_shown_as_it_is_written(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """By level, by what is searched for, and not while it is paused."""
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
    """Who has scrolled up stays there, and gets to the end again by a button."""
    server = start_server(LIMIT_OTHER_RATE="1000")
    operator = await watch("Log", server=server)
    alice = await connect_by(ALICE, url=server.url)

    async def write(name: str) -> None:
        for number in range(60):
            await alice.emit("join-project", f"{name}-{number}")
            await alice.emit("leave-project", f"{name}-{number}")

    await write("first")
    await operator.play("""
        await lines.filter({ hasText: 'first-59' }).last().waitFor();
        await until(isAtEnd, 'the end');
        await page.getByRole('log').press('Home');
        await until(async () => await scrolled() === 0, 'the beginning');
        await button('To the end').waitFor();
    """)
    await write("second")
    await operator.play("""
        await lines.filter({ hasText: 'second-59' }).last().waitFor();
        if (await scrolled() !== 0) throw new Error('it has moved');
        await button('To the end').click();
        await until(isAtEnd, 'the end');
        await button('To the end').waitFor({ state: 'detached' });
    """)
    assert operator.console == []


async def test_secrets_are_nowhere_on_the_page(redis: RedisServer, start_server: StartServer, watch: Watch) -> None:
    """Settings are told with their values, and of secrets only that they are set."""
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


# Signing in


async def test_signing_in_and_out(start_server: StartServer, chromium: NodeProcess) -> None:
    """A wrong token is refused in words; the right one holds for the tab, until one signs out."""
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
    """The server has been started again with another: the page asks for it."""
    server = start_server(CONSOLE_TOKEN=TOKEN)
    operator = await watch("Connections", server=server)
    assert await asyncio.to_thread(server.stop) == 0
    start_server(CONSOLE_TOKEN="another-token-of-the-console", WS_PORT=str(server.port))
    await operator.play("await page.getByRole('alert').getByText('CONSOLE_TOKEN').waitFor();")
    assert await operator.play("return page.evaluate('sessionStorage.length');") == 0


async def test_who_tries_tokens_is_told_to_wait(start_server: StartServer, chromium: NodeProcess) -> None:
    """Ten wrong ones, and the right one is not looked at either."""
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


async def test_there_is_none_in_production_without_a_token(start_server: StartServer, chromium: NodeProcess) -> None:
    """The path is 404; with a token there is one, which asks for it."""
    operator = Operator(chromium)
    await operator.load(start_server(SYNKORA_ENV="production"))
    assert await operator.play("return page.locator('body').textContent();") == "Not Found"
    await operator.watch(start_server(SYNKORA_ENV="production", CONSOLE_TOKEN=TOKEN))
    await operator.close()


# When the server is away


async def test_a_restart_is_told_and_lived_through(
    server: ServerProcess, start_server: StartServer, connect_by: Connect, watch: Watch
) -> None:
    """What was there stays to be seen, with words that nothing new comes; then it goes on, and the charts have both."""
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
        if (await isClaimed('There are no projects now')) throw new Error('it is not known what there is');
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


async def test_a_console_that_is_gone_is_told(server: ServerProcess, start_server: StartServer, watch: Watch) -> None:
    """In words that say what to do about it."""
    operator = await watch()
    assert await asyncio.to_thread(server.stop) == 0
    start_server(WS_PORT=str(server.port), SYNKORA_ENV="production")
    await operator.play("""
        await page.getByText('This server has no console: set CONSOLE_TOKEN, and start it again.').waitFor();
        await status.getByText(/^Refused for /).waitFor();
    """)


# For everyone

DEVICES = {"desk": DESK, "phone": PHONE, "small phone": {**PHONE, "viewport": {"width": 320, "height": 568}}}


@pytest_asyncio.fixture(loop_scope="session")
async def busy(server: ServerProcess, connect_by: Connect) -> ServerProcess:
    """A server with somebody on it, of long names too."""
    alice = await connect_by(Person("user-" + "long" * 12, "Alexandra Wilhelmina " * 3), url=server.url)
    bob = await connect_by(BOB, url=server.url, way=WAYS["js-polling"])
    await join(alice, project="project-with-a-name-as-long-as-it-can-sensibly-be-and-longer-still")
    await join(bob)
    return server


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
async def test_it_is_for_everyone(busy: ServerProcess, watch: Watch, scheme: str, device: dict[str, Any]) -> None:
    """In no view, and in no dialog, does axe find anything wrong; nothing is wider than the screen."""
    operator = await watch(colorScheme=scheme, **device)
    dialogs = {"Connections": "Disconnect Bob", "Projects": f"Notice to {PROJECT}"}
    for view in ("Overview", "Connections", "Projects", "Log", "Settings"):
        await operator.play(f"await show({view!r}); await page.getByRole('heading', {{ level: 2 }}).first().waitFor();")
        if opener := dialogs.get(view):
            await operator.play(f"await page.getByRole('button', {{ name: {opener!r} }}).waitFor();")
        assert await operator.audit() == [], view
        width = await operator.play("return page.evaluate('document.documentElement.scrollWidth');")
        assert width == device["viewport"]["width"], view
        if opener:
            await operator.play(f"await page.getByRole('button', {{ name: {opener!r} }}).click();")
            await operator.play("await dialog.waitFor();")
            assert await operator.audit() == [], opener
            await operator.play("await page.keyboard.press('Escape'); await dialog.waitFor({ state: 'detached' });")
    assert operator.console == []


#: The words of tables that stand in more than one line, but for those that no line could hold.
_BROKEN = r"""
const broken = () => page.locator('.rows').evaluate((rows) => {
  const walker = document.createTreeWalker(rows, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    for (const { 0: word, index } of walker.currentNode.data.matchAll(/[\w.,:]+/g)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, index);
      range.setEnd(walker.currentNode, index + word.length);
      const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
      if (lines.size > 1 && word.length <= 16) found.push(word);
    }
  }
  return found.join(' ');
});
"""
WIDTHS = {"320": (320, 568), "390": (390, 844), "820": (820, 1180), "1239": (1239, 800), "1240": (1240, 800)}


@pytest.mark.parametrize("size", WIDTHS.values(), ids=list(WIDTHS))
async def test_no_table_is_cut(busy: ServerProcess, watch: Watch, size: tuple[int, int]) -> None:
    """Nor is any word of it broken, as long as a line could hold it."""
    operator = await watch("Connections", viewport={"width": size[0], "height": size[1]})
    for view in ("Connections", "Projects", "Settings"):
        await operator.play(
            _BROKEN
            + f"""
            await show({view!r});
            await rows.first().waitFor();
            const cut = await page.locator('.rows').evaluate((rows) => rows.scrollWidth - rows.clientWidth);
            if (cut > 0) throw new Error(`{view}: ${{cut}} pixels are cut`);
            const words = await broken();
            if (words) throw new Error(`{view}: ${{words}} are broken`);
        """
        )
    assert operator.console == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_form_to_sign_in_is_for_everyone(
    start_server: StartServer, chromium: NodeProcess, scheme: str
) -> None:
    """axe finds nothing wrong with it, and the field has the focus."""
    operator = Operator(chromium)
    await operator.load(start_server(CONSOLE_TOKEN=TOKEN), colorScheme=scheme, **PHONE)
    await operator.play("""
        await page.getByLabel('Token').waitFor();
        await until(() => page.getByLabel('Token').evaluate((field) => field === document.activeElement), 'the focus');
        await page.keyboard.type('wrong-token-for-axe');
        await page.keyboard.press('Enter');
        await page.getByRole('alert').getByText('CONSOLE_TOKEN').waitFor();
    """)
    assert await operator.audit() == []
    await operator.close()


async def test_by_keyboard_alone(busy: ServerProcess, watch: Watch) -> None:
    """Views, sorting, and a dialog which gives the focus back to where it was."""
    operator = await watch()
    await operator.play("""
        const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);
        const tabTo = async (locator) => {
          for (let tries = 0; tries < 80; tries++) {
            if (await locator.count() && await isFocused(locator)) return;
            await page.keyboard.press('Tab');
          }
          throw new Error('the focus never came there');
        };
        await tabTo(page.getByRole('link', { name: 'Connections' }));
        await page.keyboard.press('Enter');
        await row('Bob').waitFor();
        await tabTo(page.getByRole('columnheader', { name: 'User' }).getByRole('button'));
        await page.keyboard.press('Enter');
        await page.locator('th[aria-sort=ascending]', { hasText: 'User' }).waitFor();
        const opener = page.getByRole('button', { name: 'Disconnect Bob' });
        await tabTo(opener);
        await page.keyboard.press('Enter');
        await dialog.waitFor();
        await until(() => isFocused(dialog.getByRole('button', { name: 'Cancel' })), 'the harmless button');
        await page.keyboard.press('Escape');
        await dialog.waitFor({ state: 'detached' });
        await until(() => isFocused(opener), 'the focus is back');
        await tabTo(page.getByRole('button', { name: /theme/ })).catch(() => page.keyboard.press('Home'));
    """)
    assert operator.console == []
