"""How sessions find their instance through the files of deploy/nginx/, with the real nginx and real servers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.behind_nginx import BEHIND_PROXY, HANDSHAKE, client_of, knows, ports_of
from tests.support.nginx import CONFIGURATION, INSTANCES, WITH_NODEJS, running_nginx
from tests.support.node_process import NodeProcess
from tests.support.real_clients import WAYS, Client, Connect, Way, exchange_large_message
from tests.support.redis_server import running_redis
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB

_SID = re.compile(r'0\{"sid":"(?P<sid>[\w.-]+)"')


@pytest.fixture(scope="module", params=[CONFIGURATION, WITH_NODEJS], ids=["simple", "with-nodejs"])
def configuration(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def shared(configuration: Path) -> Iterator[dict[str, str]]:
    """Settings of all instances. Those behind the other file are not connected: only the right one can answer."""
    if configuration == WITH_NODEJS:
        yield BEHIND_PROXY
        return
    with running_redis() as redis:
        yield {**BEHIND_PROXY, "REDIS_URL": redis.url}


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory, shared: dict[str, str]) -> Iterator[list[ServerProcess]]:
    folder = tmp_path_factory.mktemp("instances")
    instances = [ServerProcess(folder, **shared) for _ in INSTANCES]
    yield instances
    for instance in instances:
        assert instance.stop() == 0, instance.output
        assert instance.stderr == []


def sid_in(handshake: str) -> str:
    found = _SID.match(handshake)
    assert found is not None, handshake
    return found["sid"]


async def test_clients_reach_the_instance_that_opened_their_session(
    instances: list[ServerProcess], configuration: Path, connect_by: Connect, way: Way
) -> None:
    """With every transport and without cookies, at the first attempt."""
    with running_nginx(ports_of(instances), configuration=configuration) as nginx:
        clients = [await connect_by(ALICE, url=nginx.url, way=way) for _ in range(6)]
        for client in clients:
            await client.hears_nothing()
            assert client.changes.items == [["connect", client.id, *client.changes.items[0][2:]]]
        if configuration == WITH_NODEJS:  # otherwise the requests of sessions take turns, too
            for instance in instances:
                await expect_health(instance, connections=2)
        for client in clients:
            await client.close()
        for instance in instances:
            await expect_health(instance, connections=0)


async def test_an_id_leads_to_the_instance_of_its_session(instances: list[ServerProcess], configuration: Path) -> None:
    """An id with another instance, or of none, is unknown."""
    with running_nginx(ports_of(instances), configuration=configuration) as nginx:
        async with client_of(nginx.url) as http:
            sids = [sid_in((await http.get("", params=HANDSHAKE)).text) for _ in INSTANCES]
            owners = {sid.partition(".")[0] for sid in sids}
            assert len(owners) == len(INSTANCES)
            for sid in sids:
                owner, _, rest = sid.partition(".")
                assert [each for each in owners if await knows(http, f"{each}.{rest}")] == [owner]
                assert not await knows(http, f"{owner}.")
                if configuration == CONFIGURATION:  # with the other file, it goes to the next instance
                    assert not await knows(http, f"z.{rest}")


async def test_messages_are_not_changed(start_server: StartServer, configuration: Path, connect_by: Connect) -> None:
    """Messages that look like a handshake, and of WS_MAX_PAYLOAD bytes, also over polling."""
    server = start_server(**BEHIND_PROXY)
    with running_nginx([server.port], configuration=configuration) as nginx:
        alice = await connect_by(ALICE, url=nginx.url, way=WAYS["js-polling"])
        bob = await connect_by(BOB, url=nginx.url, way=WAYS["js-polling"])
        await exchange_large_message(alice, bob)


async def test_another_instance_accepts_the_client_that_one_refuses(
    start_server: StartServer, configuration: Path, shared: dict[str, str]
) -> None:
    """A client does not notice one dead and one full instance. Its session is found later."""
    gone, full, free = (start_server(**shared, LIMIT_CLIENTS=limit) for limit in ("1", "1", "0"))
    gone.kill()
    with running_nginx(ports_of([gone, full, free]), configuration=configuration) as nginx:
        async with client_of(nginx.url) as http:
            for _ in range(6):
                assert await knows(http, sid_in((await http.get("", params=HANDSHAKE)).text))
            async with client_of(full.url) as direct:
                assert (await direct.get("", params=HANDSHAKE)).status_code == 503


async def test_a_session_of_a_dead_instance_is_refused(
    start_server: StartServer, configuration: Path, shared: dict[str, str]
) -> None:
    """The client gets the refusal without delay, and opens another session."""
    instances = [start_server(**shared) for _ in range(2)]
    with running_nginx(ports_of(instances), configuration=configuration) as nginx:
        async with client_of(nginx.url) as http:
            async with client_of(instances[0].url) as direct:
                sid = sid_in((await direct.get("", params=HANDSHAKE)).text)
            if configuration == WITH_NODEJS:
                sid = f"a.{sid}"
            assert await knows(http, sid)
            instances[0].kill()
            status = 502 if configuration == WITH_NODEJS else 400
            for _ in range(2):
                assert (await http.get("", params={**HANDSHAKE, "sid": sid})).status_code == status
            assert (await http.get("", params=HANDSHAKE)).status_code == 200


@pytest.mark.parametrize("way", [WAYS["js-polling"], WAYS["js-upgrade"]], ids=["polling", "upgrade"])
async def test_nodejs_instances_are_balanced_alike(start_server: StartServer, node: NodeProcess, way: Way) -> None:
    """Unchanged servers on Node.js beside one of ours: their sessions are found, too."""
    nodejs = await NodeProcess.start("remote-server.mjs")
    try:
        with running_redis() as redis:
            ours = start_server(**BEHIND_PROXY)
            others = [await nodejs.ask("serve", name=name, url=redis.url) for name in ("one", "two")]
            with running_nginx([ours.port, *others], configuration=WITH_NODEJS) as nginx:
                clients = [Client("Alice", way, node) for _ in range(6)]
                for client in clients:
                    await client.connect(nginx.url, {"token": ALICE.token, "name": "Alice"})
                    if way.upgrades:
                        await client.upgraded()
                await expect_health(ours, connections=2)
                for client in clients:
                    assert len(client.changes.items) == 1
                    await client.close()
    finally:
        await nodejs.stop()
