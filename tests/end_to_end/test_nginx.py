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

_SID = re.compile(r'0\{"sid":"(?P<name>[a-z]+)\.(?P<rest>[\w-]+)"')


@pytest.fixture(scope="module", params=[CONFIGURATION, WITH_NODEJS], ids=["simple", "with-nodejs"])
def configuration(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def names(configuration: Path) -> list[dict[str, str]]:
    """The setting by which each instance names its sessions. With the other file, nginx names them."""
    return [{"WS_INSTANCE": name} if configuration == CONFIGURATION else {} for name in INSTANCES]


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory, names: list[dict[str, str]]) -> Iterator[list[ServerProcess]]:
    """Three unconnected instances, so that only the right one can answer."""
    folder = tmp_path_factory.mktemp("instances")
    instances = [ServerProcess(folder, **BEHIND_PROXY, **name) for name in names]
    yield instances
    for instance in instances:
        assert instance.stop() == 0, instance.output
        assert instance.stderr == []


async def test_clients_stay_with_the_instance_that_opened_their_session(
    instances: list[ServerProcess], configuration: Path, connect_by: Connect, way: Way
) -> None:
    """With every transport and without cookies, at the first attempt, spread over all instances."""
    with running_nginx(ports_of(instances), configuration=configuration) as nginx:
        clients = [await connect_by(ALICE, url=nginx.url, way=way) for _ in range(6)]
        for client in clients:
            await client.hears_nothing()
            assert client.changes.items == [["connect", client.id, *client.changes.items[0][2:]]]
        for instance in instances:
            await expect_health(instance, connections=2)
        for client in clients:
            await client.close()


async def test_an_id_names_the_instance_of_its_session(instances: list[ServerProcess], configuration: Path) -> None:
    """No other instance knows it. The name of an unknown instance is answered like an unknown id."""
    with running_nginx(ports_of(instances), configuration=configuration) as nginx:
        async with client_of(nginx.url) as http:
            found_names = set()
            for _ in INSTANCES:
                handshake = await http.get("", params=HANDSHAKE)
                found = _SID.match(handshake.text)
                assert found is not None, handshake.text
                found_names.add(found["name"])
                known = [name for name in INSTANCES if await knows(http, f"{name}.{found['rest']}")]
                assert known == [found["name"]]
                assert not await knows(http, f"z.{found['rest']}")
                assert not await knows(http, f"{found['name']}.")
            assert found_names == set(INSTANCES)


async def test_messages_are_not_changed(start_server: StartServer, configuration: Path, connect_by: Connect) -> None:
    """Messages that look like a handshake, and of WS_MAX_PAYLOAD bytes, also over polling."""
    server = start_server(**BEHIND_PROXY)
    with running_nginx([server.port], configuration=configuration) as nginx:
        alice = await connect_by(ALICE, url=nginx.url, way=WAYS["js-polling"])
        bob = await connect_by(BOB, url=nginx.url, way=WAYS["js-polling"])
        await exchange_large_message(alice, bob)


async def test_another_instance_accepts_the_client_that_one_refuses(
    start_server: StartServer, configuration: Path, names: list[dict[str, str]]
) -> None:
    """A client does not notice one dead and one full instance. Its session is found later."""
    limits = ("1", "1", "0")
    gone, full, free = (
        start_server(**BEHIND_PROXY, **name, LIMIT_CLIENTS=limit) for name, limit in zip(names, limits, strict=True)
    )
    gone.kill()
    with running_nginx(ports_of([gone, full, free]), configuration=configuration) as nginx:
        async with client_of(nginx.url) as http:
            for _ in range(6):
                found = _SID.match((await http.get("", params=HANDSHAKE)).text)
                assert found is not None
                assert await knows(http, f"{found['name']}.{found['rest']}")
            async with client_of(full.url) as direct:
                assert (await direct.get("", params=HANDSHAKE)).status_code == 503


async def test_a_session_of_a_dead_instance_is_refused(
    start_server: StartServer, configuration: Path, names: list[dict[str, str]]
) -> None:
    """The client gets the refusal without delay, and opens another session."""
    instances = [start_server(**BEHIND_PROXY, **name) for name in names[:2]]
    with running_nginx(ports_of(instances), configuration=configuration) as nginx:
        async with client_of(nginx.url) as http:
            found = _SID.match((await http.get("", params=HANDSHAKE)).text)
            assert found is not None
            instances[list(INSTANCES).index(found["name"])].kill()
            params = {**HANDSHAKE, "sid": f"{found['name']}.{found['rest']}"}
            assert (await http.get("", params=params)).status_code == 502
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
