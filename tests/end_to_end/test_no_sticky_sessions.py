"""Sessions behind balancers without a rule about sessions: each request, or each connection, goes to the next."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.end_to_end.behind_nginx import HANDSHAKE, client_of, knows
from tests.end_to_end.site import calm
from tests.support.balancer import tcp_balancer
from tests.support.certificates import make_certificate
from tests.support.real_clients import WAYS, Client, Connect, exchange_large_message
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB

UNKNOWN = {"code": 1, "message": "Session ID unknown"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
REAL = ("js-polling", "js-upgrade", "js-websocket") * 3
_SHARED = {"TRUSTED_PROXIES": "127.0.0.1", "SHUTDOWN_TIMEOUT": "1", "LOG_LEVEL": "info"}


@pytest.fixture(params=["machines", "workers"])
def instances(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> Iterator[list[ServerProcess]]:
    """Three instances, each as if on its own machine, or all as workers of one machine."""
    variables = {**_SHARED, "REDIS_URL": redis.url}
    if request.param == "workers":
        folder = tmp_path / "workers"
        folder.mkdir(mode=0o700)
        variables["SYNKORA_WORKERS_DIR"] = str(folder)
    instances = [ServerProcess(tmp_path, **variables) for _ in range(3)]
    yield instances
    for instance in instances:
        if instance.process.poll() is None:
            assert instance.stop() == 0, instance.output
        assert instance.stderr == []


@pytest_asyncio.fixture(loop_scope="session")
async def address(instances: list[ServerProcess]) -> AsyncIterator[str]:
    async with tcp_balancer([instance.port for instance in instances]) as balancer:
        yield balancer.url


async def opened(url: str) -> str:
    """The id of a new session at one instance."""
    async with client_of(url) as http:
        answer = await http.get("", params=HANDSHAKE)
        assert answer.status_code == 200, answer.text
        return str(answer.text.partition('"sid":"')[2].partition('"')[0])


async def test_every_instance_answers_every_request(instances: list[ServerProcess]) -> None:
    """Polls and posts of a session, over any number of connections, kept or not."""
    for owner in instances:
        sid = await opened(owner.url)
        for instance in instances:
            async with client_of(instance.url) as http:
                for _ in range(3):
                    assert await knows(http, sid)


async def test_clients_of_every_kind(address: str, instances: list[ServerProcess], connect_by: Connect) -> None:
    """Each connects at the first attempt, and messages of the largest size reach it."""
    for way in WAYS.values():
        alice = await connect_by(ALICE, url=address, way=way)
        bob = await connect_by(BOB, url=address, way=way)
        await exchange_large_message(alice, bob)
        for client in (alice, bob):
            assert client.changes.items[0][0] == "connect"
            assert len(client.changes.items) <= 2  # the disconnect
    for instance in instances:
        await expect_health(instance, connections=0)


async def test_a_client_that_leaves_ends_its_session(instances: list[ServerProcess]) -> None:
    """The owner notices that a forwarded poll's client has disconnected."""
    owner, other = instances[:2]
    sid = await opened(owner.url)
    async with client_of(other.url) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get("", params={**HANDSHAKE, "sid": sid}, timeout=0.5)
    async with client_of(owner.url) as http:
        while await knows(http, sid):
            await asyncio.sleep(0.02)


async def test_sessions_of_a_killed_instance_are_unknown_at_once(instances: list[ServerProcess]) -> None:
    """By polling, posting and WebSocket, before the others know that it has ended, and after."""
    dead, *others = instances
    sid = await opened(dead.url)
    async with client_of(others[0].url) as http:  # so that it has a connection to the owner
        assert await knows(http, sid)
    dead.kill()
    for _ in range(2):
        for other in others:
            async with client_of(other.url) as http:
                async with asyncio.timeout(2):
                    answer = await http.get("", params={**HANDSHAKE, "sid": sid})
                    assert (answer.status_code, answer.json()) == (400, UNKNOWN)
                    assert not await knows(http, sid)
                    answer = await http.get(
                        "", params={**HANDSHAKE, "transport": "websocket", "sid": sid}, headers=UPGRADE
                    )
                    assert (answer.status_code, answer.json()) == (400, UNKNOWN)


async def test_a_killed_instance_ends_the_connections_of_its_clients(
    instances: list[ServerProcess], connect_by: Connect
) -> None:
    """Its clients reconnect immediately, whichever instance they are connected to."""
    owner = instances[0]
    async with tcp_balancer([instance.port for instance in instances]) as balancer:
        clients = [await connect_by(ALICE, url=balancer.url, way=WAYS[way]) for way in REAL]
        owned = [client for client in clients if f"connected: {client.id} " in owner.output]
        assert owned
        owner.kill()
        balancer.targets.remove(owner.port)
        # Clients of other instances may have been connected through it.
        await calm(
            lambda: (
                all(changes_of(each) in (STAYED, RETURNED) for each in clients)
                and all(changes_of(each) == RETURNED for each in owned)
            ),
            lambda: [changes_of(each) for each in clients],
        )


async def test_limits_count_the_address_of_the_client(instances: list[ServerProcess], redis: RedisServer) -> None:
    """As the instance that owns the session sees it: from trusted proxies, not from clients or other instances."""
    owner, other = instances[:2]
    sid = await opened(owner.url)
    async with client_of(other.url) as http:
        answer = await http.post(
            "", params={**HANDSHAKE, "sid": sid}, content="7", headers={"X-Forwarded-For": "192.0.2.9"}
        )
    assert answer.status_code == 400
    await expect_health(owner, connections=0)


STAYED = ["connect"]
RETURNED = ["connect", "disconnect", "connect"]


def changes_of(client: Client) -> list[str]:
    return [change[0] for change in client.changes.items if change[0] != "connect_error"]


FORGED = (
    f"1800000000.000 {'0' * 24} http 192.0.2.1 {'0' * 64}",
    "",
    "1",
    f"1800000000.000 {'0' * 24} http 192.0.2.1",
)


@pytest.mark.parametrize("value", FORGED, ids=["forged", "empty", "short", "unsigned"])
async def test_a_forwarding_header_of_a_client_is_refused(instances: list[ServerProcess], value: str) -> None:
    owner, other, _ = instances
    sid = await opened(owner.url)
    for instance in (owner, other):
        for params in (HANDSHAKE, {**HANDSHAKE, "sid": sid}, {**HANDSHAKE, "sid": "a.unknown"}):
            async with client_of(instance.url) as http:
                for headers in ({}, UPGRADE):
                    answer = await http.get("", params=params, headers={"x-synkora-forwarded": value, **headers})
                    assert answer.status_code == 421, answer.text
    async with client_of(other.url) as http:
        assert await knows(http, sid)


async def test_workers_of_one_server(start_server: StartServer, connect_by: Connect) -> None:
    """Each connection goes to any of three workers. Clients connect at the first attempt, whatever their transports."""
    server = start_server(WS_WORKERS="3")
    clients = [await connect_by(ALICE, url=server.url, way=way) for way in [*WAYS.values()] * 3]
    for client in clients:
        await client.hears_nothing()
        assert changes_of(client) == STAYED
        await client.close()
    await expect_health(server, connections=0)


async def test_workers_with_tls(start_server: StartServer, tmp_path: Path) -> None:
    """Requests over new connections, at whichever worker they arrive."""
    certfile, keyfile = make_certificate(tmp_path, "server")
    server = start_server(WS_WORKERS="3", SSL_CERTFILE=str(certfile), SSL_KEYFILE=str(keyfile))
    url, trust = server.url.replace("http:", "https:"), ssl.create_default_context(cafile=certfile)
    async with client_of(url, verify=trust) as http:
        sid = str((await http.get("", params=HANDSHAKE)).text.partition('"sid":"')[2].partition('"')[0])
    for _ in range(12):
        async with client_of(url, verify=trust) as http:
            assert await knows(http, sid)
