"""Socket.IO's own admin UI from npm, with this server."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.app.admin_ui.admins import Admin, visitor
from tests.end_to_end.admin_ui import ON, TOKEN, AdminPage, serving_ui
from tests.support.clients import websocket
from tests.support.node_process import NodeProcess
from tests.support.real_clients import WAYS, Connect, join
from tests.support.redis_server import running_redis
from tests.support.server_process import ServerProcess, StartServer
from tests.support.servers import Address
from tests.support.users import ALICE, BOB, PROJECT

PATH = "/socket.io/"


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving_ui() as origin:
        yield origin


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: NodeProcess, origin: str) -> AsyncIterator[AdminPage]:
    page = AdminPage(chromium)
    await page.open(origin)
    yield page
    await page.close()


@pytest.fixture
def watched(start_server: StartServer, origin: str) -> ServerProcess:
    return start_server(**ON, ALLOWED_ORIGINS=origin)


async def test_the_ui_shows_clients_and_rooms_and_disconnects(
    watched: ServerProcess, page: AdminPage, connect_by: Connect
) -> None:
    """Clients by transport, the rooms and the user of one, and its disconnection.

    A reloaded page is still signed in.
    """
    alice = await connect_by(ALICE, url=watched.url)
    bob = await connect_by(BOB, url=watched.url, way=WAYS["js-polling"])
    await join(alice)
    await page.sign_in(watched)
    await page.play("""
        await count('Clients', 'WebSocket').filter({ hasText: '2' }).waitFor();  // Alice and this page
        await count('Clients', 'HTTP long-polling').filter({ hasText: '1' }).waitFor();
        await count('Servers', 'HEALTHY').first().filter({ hasText: '1' }).waitFor();
        await page.reload();
        await count('Clients', 'WebSocket').filter({ hasText: '2' }).waitFor();
        await visit('Sockets');
    """)
    await page.play(f"await row('{bob.id}').waitFor(); await row('{alice.id}').click();")
    await page.play(f"""
        await card('Rooms').locator('tr', {{ hasText: '{PROJECT}' }}).waitFor();
        await card('Details').getByText('{ALICE.id}').waitFor();
        await card('Details').locator('tr', {{ hasText: 'Status' }}).last().getByRole('button').click();
    """)
    assert await alice.changes.next() == ["disconnect", "io server disconnect"]
    await page.play(f"""
        await card('Details').getByText('DISCONNECTED').last().waitFor();
        await visit('Sockets');
        await row('{bob.id}').waitFor();
        await gone('{alice.id}');
    """)


async def test_a_wrong_password_is_distinguished_from_a_right_one(watched: ServerProcess, page: AdminPage) -> None:
    """The form shows a message, and accepts another attempt."""
    await page.sign_in(watched, "a wrong password")
    await page.play("await page.getByText('Invalid credentials').waitFor();")
    await page.sign_in(watched)
    await page.play("await count('Clients', 'WebSocket').filter({ hasText: '1' }).waitFor();")


async def test_it_is_off_by_default(start_server: StartServer, page: AdminPage, origin: str) -> None:
    """With only the console, the server has no such namespace."""
    await page.sign_in(start_server(CONSOLE_TOKEN=TOKEN, ALLOWED_ORIGINS=origin))
    await page.play("await page.getByText('Invalid namespace').waitFor();")


async def test_a_page_of_an_origin_that_is_not_allowed_does_not_connect(
    start_server: StartServer, page: AdminPage
) -> None:
    """ALLOWED_ORIGINS must contain the UI's origin."""
    server = start_server(**ON)
    await page.sign_in(server)
    await page.play("await page.getByText('Error: ').waitFor();")
    assert not any("Admin UI" in line for line in server.stdout)


async def test_every_instance_is_shown(
    start_server: StartServer, page: AdminPage, origin: str, connect_by: Connect
) -> None:
    with running_redis() as redis:
        given = {**ON, "ALLOWED_ORIGINS": origin, "REDIS_URL": redis.url}
        first, second = start_server(**given), start_server(**given)
        alice = await connect_by(ALICE, url=first.url)
        bob = await connect_by(BOB, url=second.url)
        await page.sign_in(first)
        await page.play(f"""
            await count('Servers', 'HEALTHY').first().filter({{ hasText: '2' }}).waitFor();
            await count('Clients', 'WebSocket').filter({{ hasText: '3' }}).waitFor();
            await visit('Sockets');
            await row('{alice.id}').waitFor();
            await row('{bob.id}').getByRole('button').click();
            await visit('Rooms');
            await gone('{bob.id}');
            await visit('Servers');
            await row('#{first.process.pid}').waitFor();
            await row('#{second.process.pid}').waitFor();
        """)
        assert await bob.changes.next() == ["disconnect", "io server disconnect"]
        for server in (first, second):
            assert server.stop() == 0, server.output


@pytest_asyncio.fixture(loop_scope="session")
async def node_server() -> AsyncIterator[NodeProcess]:
    node = await NodeProcess.start("remote-admin.mjs")
    yield node
    await node.stop()


async def test_a_server_of_nodes_is_shown_beside_ours(start_server: StartServer, node_server: NodeProcess) -> None:
    """Its statistics are sent to all admins. Its missing answers do not delay others for long."""
    with running_redis() as redis:
        server = start_server(**ON, REDIS_URL=redis.url)
        await node_server.ask("serve", password=TOKEN, redis=redis.url)
        async with visitor(Address(server.port, PATH)) as admin:
            assert "sid" in await admin.sign_in(password=TOKEN)
            pids = [(await admin.told("server_stats"))[0]["pid"] for _ in range(6)]
        assert pids.count(server.process.pid) >= 1
        assert len(set(pids)) == 2
        assert server.stop() == 0, server.output


async def test_answers_have_the_shape_of_nodes(watched: ServerProcess, node_server: NodeProcess) -> None:
    """The UI gets every field that it gets from Node.js, with the same type, and no other.

    Names within `data`, headers and parameters, which an application or a browser chooses, are not compared.
    """
    original = Address(await node_server.ask("serve", password=TOKEN), PATH)
    ours, theirs = await seen(Address(watched.port, PATH), {"token": ALICE.token}), await seen(original, {})
    assert ours.keys() == theirs.keys() - {"event_received"}
    for name, found in ours.items():
        assert found == theirs[name], name


async def seen(address: Address, auth: dict[str, str]) -> dict[str, Any]:
    """The shapes of an admin's events while a user connects, joins and leaves."""
    told: dict[str, Any] = {}
    async with visitor(address) as stranger:
        told["invalid"] = await stranger.sign_in(username="ann", password="wrong")
    async with websocket(address) as first, visitor(address) as admin:
        await first.connect(auth=auth)
        assert "sid" in await admin.sign_in(username="ann", password=TOKEN)
        while not told.keys() >= {"session", "config", "all_sockets", "server_stats"}:
            await take(admin, told)
        async with websocket(address) as second:
            sid = await second.connect(auth=auth)
            while "socket_connected" not in told:
                await take(admin, told)
            await second.emit("join-project", "p")
            while (await take(admin, told))[:4] != ["room_joined", "/", "p", sid]:
                pass
        while not told.keys() >= {"socket_disconnected", "room_left"} or not grown(told["server_stats"]):
            await take(admin, told)
    return {name: each if name == "invalid" else list(map(shape, each)) for name, each in told.items()}


async def take(admin: Admin, told: dict[str, Any]) -> list[Any]:
    """Return the next event, and add it to the received ones."""
    event = await admin.event()
    if event[0] != "server_stats" or not grown(told.get("server_stats")):
        told[event[0]] = event[1:]
    return event


def grown(stats: list[Any] | None) -> bool:
    return stats is not None and any(each["type"] == "bytesIn" for each in stats[0]["aggregatedEvents"])


def shape(value: Any, key: str = "") -> Any:
    """The names and the types of a value. For a list, those of its first item."""
    if key in {"data", "headers", "query"}:
        return type(value).__name__
    if isinstance(value, dict):
        # Node.js adds the reason of a connection's end, which the UI does not use.
        return {name: shape(item, name) for name, item in value.items() if name != "subType"}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if type(value) in {int, float} else type(value).__name__
