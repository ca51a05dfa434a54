"""Three instances behind HAProxy and behind Caddy, by deploy/haproxy/haproxy.cfg and deploy/caddy/Caddyfile."""

import re
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.docs.documents import ROOT, blocks
from tests.end_to_end.behind_nginx import BEHIND_PROXY, HANDSHAKE, client_of, knows, ports_of
from tests.end_to_end.web_app import WebApp
from tests.support.certificates import make_certificate
from tests.support.processes import PATIENCE
from tests.support.proxies import CADDY, HAPROXY, INSTANCES, NOBODY, Kind, running_proxy
from tests.support.real_clients import WAYS, Connect, Way, exchange_large_message, join
from tests.support.redis_server import RedisServer, running_redis
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB

_SID = re.compile(r'0\{"sid":"(?P<sid>[\w.-]+)"')


def opened_session(answer: httpx.Response) -> str:
    """The id of a new session."""
    found = _SID.match(answer.text)
    assert found is not None, answer.text
    return found["sid"]


@pytest.fixture(params=[HAPROXY, CADDY], ids=["haproxy", "caddy"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServerProcess]]:
    """Three instances with one Redis."""
    folder = tmp_path_factory.mktemp("instances")
    with running_redis() as redis:
        instances = [ServerProcess(folder, **BEHIND_PROXY, REDIS_URL=redis.url) for _ in INSTANCES]
        yield instances
        for instance in instances:
            assert instance.stop() == 0, instance.output
            assert instance.stderr == []


async def test_clients_reach_the_instance_that_opened_their_session(
    kind: Kind, instances: list[ServerProcess], connect_by: Connect
) -> None:
    """By polling, by WebSocket or by both, at the first attempt."""
    ways = [WAYS["js-polling"]] * 3 + [WAYS["js-upgrade"]] * 3 + [WAYS["js-websocket"]] * 3
    with running_proxy(kind, ports_of(instances)) as address:
        clients = [await connect_by(ALICE, url=f"http://{address}", way=way) for way in ways]
        for client in clients:
            await client.hears_nothing()
            assert [change[0] for change in client.changes.items] == ["connect"]
        for client in clients:
            await client.close()
        for instance in instances:
            await expect_health(instance, connections=0)


@pytest.mark.parametrize("way", [WAYS["js-polling"], WAYS["js-websocket"]], ids=["polling", "websocket"])
async def test_large_messages_go_through(
    kind: Kind, instances: list[ServerProcess], connect_by: Connect, way: Way
) -> None:
    with running_proxy(kind, ports_of(instances)) as address:
        alice = await connect_by(ALICE, url=f"http://{address}", way=way)
        bob = await connect_by(BOB, url=f"http://{address}", way=way)
        await exchange_large_message(alice, bob)


async def test_another_instance_accepts_the_client_that_one_refuses(
    kind: Kind, start_server: StartServer, connect_by: Connect, redis: RedisServer
) -> None:
    """With a dead and a full instance, a client connects at once or at the second attempt. Connected clients stay."""
    full, free = (start_server(**BEHIND_PROXY, REDIS_URL=redis.url, LIMIT_CLIENTS=limit) for limit in ("1", "0"))
    with running_proxy(kind, [NOBODY, full.port, free.port]) as address:
        async with client_of(f"http://{address}") as http:
            sids = []
            for _ in range(6):
                answer = await http.get("", params=HANDSHAKE)
                if answer.status_code == 503:
                    assert kind is CADDY  # which forwards one refusal, and then avoids the instance
                    continue
                sids.append(opened_session(answer))
                assert await knows(http, sids[-1])
            of_each = Counter(sid.partition(".")[0] for sid in sids)
            assert sorted(of_each.values()) in ([1, 4], [1, 5])
        for _ in range(3):
            client = await connect_by(ALICE, url=f"http://{address}", way=WAYS["js-websocket"])
            assert len(client.changes.items) == 1
            await client.close()


async def test_a_session_of_a_dead_instance_is_refused(
    kind: Kind, start_server: StartServer, redis: RedisServer
) -> None:
    """Its client gets an error immediately and opens a new session, as with an unknown id."""
    instances = [start_server(**BEHIND_PROXY, REDIS_URL=redis.url) for _ in INSTANCES]
    with running_proxy(kind, ports_of(instances)) as address:
        async with client_of(f"http://{address}") as http:
            async with client_of(instances[0].url) as direct:
                dead = opened_session(await direct.get("", params=HANDSHAKE))
            assert await knows(http, dead)
            instances[0].kill()
            for sid in (dead, "z.unknown", "unknown", "a."):
                status = (await http.get("", params={**HANDSHAKE, "sid": sid})).status_code
                assert status in (400, 502, 503), sid
            assert (await http.get("", params=HANDSHAKE)).status_code == 200


async def test_public_paths_and_client_addresses(kind: Kind, start_server: StartServer) -> None:
    """Paths other than Socket.IO's are the web app's. Clients have their own addresses, whatever their headers. Pages
    of the public origin are accepted.
    """
    server = start_server(**BEHIND_PROXY, LIMIT_CONNECTIONS_PER_ADDRESS="2")
    async with WebApp().running() as app:
        with running_proxy(kind, [server.port, NOBODY, NOBODY], app=app.port) as address:
            async with httpx.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE, trust_env=False) as http:
                paths = ("/", "/health", "/ready", "/metrics", "/console", "/playground", "/socket.io/../health")
                for path in (*paths, "/socket.io/%2e%2e/health", "//health", "/socket.io/health"):
                    answer = await http.get(path)
                    assert "<title>A project</title>" in answer.text, path

            async def knock(client: str, **headers: str) -> int:
                transport = httpx.AsyncHTTPTransport(local_address=client)
                async with client_of(f"http://{address}", transport=transport) as http:
                    return (await http.get("", params=HANDSHAKE, headers=headers)).status_code

            assert await knock("127.0.0.2", Origin=f"http://{address}") == 200
            assert await knock("127.0.0.2", Origin="https://example.com") == 403
            assert await knock("127.0.0.2") == 200
            assert await knock("127.0.0.2", **{"X-Forwarded-For": "192.0.2.1"}) == 429
            assert await knock("127.0.0.3") == 200


async def test_with_tls(kind: Kind, start_server: StartServer, tmp_path: Path) -> None:
    """With a certificate, a page of that https origin opens a session and polls it."""
    certfile, keyfile = make_certificate(tmp_path, "server")
    both = tmp_path / "both.pem"
    both.write_text(certfile.read_text() + keyfile.read_text())

    def with_certificate(text: str, address: str) -> str:
        if kind is CADDY:
            own = text.replace("admin off", "admin off\n\tauto_https disable_redirects\n\tskip_install_trust")
            return own.replace(f"http://{address} {{", f"https://{address} {{\n\ttls {certfile} {keyfile}")
        text = text.replace(f"    bind {address}\n", "")
        return text.replace("# bind :443 ssl crt /etc/ssl/app.example.com.pem", f"bind {address} ssl crt {both}")

    server = start_server(**BEHIND_PROXY)
    with running_proxy(kind, [server.port, NOBODY, NOBODY], change=with_certificate) as address:
        url = f"https://{address}"
        async with client_of(url, verify=ssl.create_default_context(cafile=certfile)) as http:
            opened = await http.get("", params=HANDSHAKE, headers={"Origin": url})
            assert opened.status_code == 200, opened.text
            assert await knows(http, opened_session(opened))


@pytest.mark.parametrize("way", [WAYS["js-polling"], WAYS["js-upgrade"]], ids=["polling", "upgrade"])
async def test_caddy_before_one_instance(start_server: StartServer, connect_by: Connect, way: Way) -> None:
    """The configuration of docs/deploying.md is complete."""
    (block,) = blocks(ROOT / "docs" / "deploying.md", "caddyfile")
    server = start_server(**BEHIND_PROXY)

    def alone(text: str, address: str) -> str:
        own = text[: text.index("#")]
        lines = block.text.replace("app.example.com", f"http://{address}").replace(":3001", f":{server.port}")
        return own + lines

    with running_proxy(CADDY, [NOBODY] * 3, change=alone) as address:
        client = await connect_by(ALICE, url=f"http://{address}", way=way)
        await join(client)
        await client.close()
        await expect_health(server, connections=0)
