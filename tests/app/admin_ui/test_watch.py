"""What admins get while they watch."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.app.admin_ui.admins import AdminSite, admin, admin_site
from tests.collaboration.site import token_of
from tests.support.clients import Polling, WebSocket, socketio
from tests.support.logs import capture_logs
from tests.support.servers import until

from synkora.app.admin_ui import watch
from synkora.app.admin_ui.messages import SocketDescription
from synkora.app.admin_ui.own_answers import AdminUiInstance
from synkora.sockets.socket import Socket

FIGURES = ["DISCONNECT", "MDISCONNECT", "AGGREGATED_EVENTS"]
TABLES = [*FIGURES, "ALL_EVENTS"]


@pytest_asyncio.fixture
async def site() -> AsyncIterator[AdminSite]:
    async with admin_site() as site:
        yield site


def by_id(sockets: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {socket["id"]: socket for socket in sockets}


async def enter(client: WebSocket, project: str = "p") -> str:
    sid: str = (await client.event())[1]["socketId"]
    await client.emit("join-project", project)
    await client.event()
    return sid


async def test_an_admin_first_gets_the_current_sockets(site: AdminSite) -> None:
    """The supported features come first, then all sockets with rooms and users, admins included, and the statistics."""
    async with socketio(site.address, {"token": token_of("Alice")}) as alice, Polling(site.address):
        sid = await enter(alice)
        async with admin(site.address) as someone:
            assert (await someone.event())[0] == "session"
            assert await someone.event() == ["config", {"supportedFeatures": TABLES}]
            name, sockets = await someone.event()
            assert name == "all_sockets"
            name, stats = await someone.event()
            assert name == "server_stats"
    assert len(sockets) == 2
    described = by_id(sockets)[sid]
    assert described["nsp"] == "/"
    assert described["transport"] == "websocket"
    assert set(described["rooms"]) == {sid, "p"}
    assert described["data"] == {"userId": "alice", "userName": "Alice"}
    assert described["handshake"]["address"] == "127.0.0.1"
    assert (stats["clientsCount"], stats["pollingClientsCount"]) == (3, 1)
    assert stats["namespaces"] == [{"name": "/", "socketsCount": 1}, {"name": "/admin", "socketsCount": 1}]
    assert stats["aggregatedEvents"] == []


async def test_secrets_are_not_sent(site: AdminSite) -> None:
    """No field contains a token, a cookie or a session id."""
    token, cookie = token_of("Alice"), "next-auth.session-token=" + token_of("Alice", image="cookie")
    headers = {"authorization": f"Bearer {token}", "cookie": cookie, "x-secret": "hush", "user-agent": "a browser"}
    async with Polling(site.address, headers, opens=False) as polling:
        await polling.http.get(site.address.url(token=token))
        await polling.open()
        await polling.post("40" + '{"token":"' + token + '"}')
        await until(lambda: site.collaboration.connections == 1)
        async with admin(site.address) as someone:
            (sockets,) = await someone.told("all_sockets")
    (described,) = [socket for socket in sockets if socket["nsp"] == "/"]
    assert described["handshake"]["headers"]["user-agent"] == "a browser"
    assert described["handshake"]["url"] == "/socket.io/?EIO=4&transport=polling"
    for secret in (token, cookie, "hush", polling.sid, polling.sid[:12]):
        assert secret not in str(sockets)


async def test_changes_are_sent(site: AdminSite) -> None:
    async with admin(site.address) as someone:
        await someone.told("all_sockets")
        async with Polling(site.address) as alice:
            await alice.post("40" + '{"token":"' + token_of("Alice") + '"}')
            connected, _ = await someone.told("socket_connected")
            assert connected["transport"] == "polling"
            sid = connected["id"]
            await alice.post('42["join-project","p"]')
            assert (await someone.told("room_joined"))[:3] == ["/", "p", sid]
            await alice.post('42["leave-project","p"]')
            assert (await someone.told("room_left"))[:3] == ["/", "p", sid]
            await alice.post("41")
            assert (await someone.told("socket_disconnected"))[:2] == ["/", sid]


async def test_growth_is_sent(site: AdminSite) -> None:
    """Connections, messages and bytes since the last reading."""
    async with admin(site.address) as someone:
        await someone.told("server_stats")
        async with socketio(site.address, {"token": token_of("Alice")}) as alice:
            await alice.event()
        grown: dict[str, int] = {}
        while not grown.keys() >= {"rawConnection", "rawDisconnection", "bytesIn", "bytesOut"}:
            (stats,) = await someone.told("server_stats")
            for each in stats["aggregatedEvents"]:
                assert abs(each["timestamp"] / 1000 - time.time()) < 60
                grown[each["type"]] = grown.get(each["type"], 0) + each["count"]
        assert (grown["rawConnection"], grown["rawDisconnection"]) == (1, 1)


async def test_a_later_admin_gets_the_known_state(site: AdminSite) -> None:
    async with socketio(site.address, {"token": token_of("Alice")}) as alice, admin(site.address) as first:
        sid = await enter(alice)
        await first.told("server_stats")
        await first.told("server_stats")  # a whole look after the join
        async with admin(site.address) as second:
            assert await second.told("config") == [{"supportedFeatures": TABLES}]
            name, sockets = await second.event()
            assert name == "all_sockets"
            assert set(by_id(sockets)[sid]["rooms"]) == {sid, "p"}
            await alice.emit("join-project", "q")
            assert (await second.told("room_joined"))[:3] == ["/", "q", sid]


async def test_too_many_sockets_are_not_sent(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The UI then shows only statistics, and tables again when there are fewer sockets."""
    monkeypatch.setattr(watch, "MOST_SOCKETS", 3)
    async with admin(site.address) as someone:
        await someone.told("all_sockets")
        clients = await site.meet("Alice", "Bob", "Carol")
        assert await someone.told("config") == [{"supportedFeatures": FIGURES}]
        assert await someone.told("all_sockets") == [[]]
        names = {(await someone.event())[0] for _ in range(5)}
        assert names == {"server_stats"}
        async with admin(site.address) as late:
            assert await late.told("config") == [{"supportedFeatures": FIGURES}]
            assert await late.told("all_sockets") == [[]]
        clients[0].send("41")
        assert await someone.told("config") == [{"supportedFeatures": TABLES}]
        (sockets,) = await someone.told("all_sockets")
        assert len(sockets) == 3


async def test_many_changes_are_sent_as_one(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_MOST_CHANGES", 0)  # a look may come between two of them
    async with admin(site.address) as someone:
        await someone.told("all_sockets")
        await site.meet("Alice", "Bob", "Carol")
        names: set[str | None] = set()
        while names != {"Alice", "Bob", "Carol", None}:
            name, *told = await someone.event()
            assert name in {"all_sockets", "server_stats"}
            if name == "all_sockets":
                names = {socket["data"].get("userName") for socket in told[0]}


async def test_it_is_idle_without_admins(site: AdminSite) -> None:
    """No task remains after the last admin. The next admin starts a new one."""
    before = asyncio.all_tasks()

    def ours() -> list[str]:
        new = asyncio.all_tasks() - before
        return [name for task in new if "look" in (name := getattr(task.get_coro(), "__qualname__", ""))]

    async with admin(site.address) as first, admin(site.address) as second:
        await first.told("server_stats")
        await second.told("server_stats")
        assert len(ours()) == 1
        await first.client.connection.close()
        for _ in range(3):
            await second.told("server_stats")
    await until(lambda: not ours())
    async with admin(site.address) as again:
        assert [(await again.event())[0] for _ in range(4)] == ["session", "config", "all_sockets", "server_stats"]


async def test_a_look_that_fails_is_not_the_last(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is logged, and the next reading sends everything."""
    describe, failures = AdminUiInstance._describe, [ZeroDivisionError("a fault of ours")]

    def fail_once(instance: AdminUiInstance, socket: Socket, rooms: list[str]) -> SocketDescription:
        if failures:
            raise failures.pop()
        return describe(instance, socket, rooms)

    with capture_logs() as logged:
        async with admin(site.address) as someone:
            await someone.told("all_sockets")
            monkeypatch.setattr(AdminUiInstance, "_describe", fail_once)
            (sockets_told,) = await someone.told("all_sockets")
            assert len(sockets_told) == 1
            await someone.told("server_stats")
    assert [entry["event"] for entry in logged].count("admin_ui_look_failed") == 1
