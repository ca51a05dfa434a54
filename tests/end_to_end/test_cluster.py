"""Two servers that share a Redis, as clients and operators see them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.end_to_end.console.api import TOKEN, ConsoleApi
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS, Client, Connect, Refused, Way, join
from tests.support.redis_server import RedisServer, running_redis
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB, CAROL, PROJECT, User

PASSWORD = "the-password-of-redis-7d1e"
AWAY = "! Redis is unavailable: "
THERE = "✓ Redis is connected: "


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis(password=PASSWORD) as redis:
        yield redis


class Pair:
    """Two servers, with Alice on the first and Bob on the second, both in the project."""

    def __init__(self, first: ServerProcess, second: ServerProcess, alice: Client, bob: Client) -> None:
        self.servers = (first, second)
        self.alice = alice
        self.bob = bob


@pytest.fixture
def servers(redis: RedisServer, start_server: StartServer) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    first, second = (start_server(REDIS_URL=redis.url, LIMIT_CONNECTIONS_PER_USER="3") for _ in range(2))
    yield first, second
    for server in (first, second):
        assert PASSWORD not in server.output


@pytest_asyncio.fixture(loop_scope="session", params=["js-upgrade", "python-upgrade"])
async def pair(
    request: pytest.FixtureRequest, servers: tuple[ServerProcess, ServerProcess], connect_by: Connect
) -> AsyncIterator[Pair]:
    """Two servers and two clients with their default transports."""
    yield await meet(servers, connect_by, WAYS[request.param])


@pytest_asyncio.fixture(loop_scope="session")
async def quick_pair(servers: tuple[ServerProcess, ServerProcess], connect_by: Connect) -> AsyncIterator[Pair]:
    """Two servers and two clients over WebSocket."""
    yield await meet(servers, connect_by, WAYS["js-websocket"])


async def meet(servers: tuple[ServerProcess, ServerProcess], connect: Connect, way: Way) -> Pair:
    """Let Alice and Bob join the project, each on their own server."""
    alice, bob = [
        await connect(user, url=server.url, way=way) for user, server in zip((ALICE, BOB), servers, strict=True)
    ]
    await join(alice)
    await bob.emit("join-project", PROJECT)
    assert await listed(bob) == {ALICE.id, BOB.id}
    assert await bob.expect("users:count") == {"count": 2}
    joined = await alice.expect("user:joined")
    assert (joined["socketId"], joined["userId"]) == (bob.id, BOB.id)
    assert await alice.expect("users:count") == {"count": 2}
    return Pair(*servers, alice, bob)


async def listed(client: Client) -> set[str]:
    """The users of the list, which must be the next event."""
    active = await client.expect("users:active")
    assert active["count"] == len(active["users"])
    return {user["userId"] for user in active["users"]}


async def expect_left(client: Client, user: User, *remaining: User) -> None:
    """Check that the next events are a user's leave and the remaining users."""
    assert (await client.expect("user:left"))["userId"] == user.id
    assert await listed(client) == {other.id for other in remaining}
    assert await client.expect("users:count") == {"count": len(remaining)}


async def readiness(server: ServerProcess) -> tuple[int, dict[str, Any]]:
    """The response of `/ready`."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        answer = await http.get(server.url + "/ready")
    return answer.status_code, answer.json()


def lines(server: ServerProcess, beginning: str) -> list[str]:
    return [line for line in server.stdout if line.startswith(beginning)]


async def relayed(sender: Client, receiver: Client, task: Any, project: str = PROJECT) -> None:
    """Check that the other's next event is the sent one."""
    await sender.emit("task:create", {"projectId": project, "task": task})
    assert await receiver.next() == ["task:create", task]


async def test_a_lone_surrogate_is_relayed_unchanged(
    servers: tuple[ServerProcess, ServerProcess], connect_by: Connect
) -> None:
    """In an event and in a name, JavaScript's escape of a cut character reaches the clients of another server."""
    half = User("user-half", "Zo\ud83d")
    alice = await connect_by(half, url=servers[0].url)
    await join(alice)
    bob = await connect_by(BOB, url=servers[1].url, way=WAYS["js-polling"])
    await bob.emit("join-project", PROJECT)
    users = (await bob.expect("users:active"))["users"]
    assert half.name in [user["userName"] for user in users]
    await bob.expect("users:count")
    for task in ("\ud83d", {"\ude00": ["\udc00", "🚀"]}):
        await relayed(alice, bob, task)


async def test_relays_reach_the_other_instance(pair: Pair) -> None:
    """Both ways, with the sender's own name, once, and not back to the sender."""
    await relayed(pair.alice, pair.bob, {"title": "Größe ✓", "size": 1.5})
    await relayed(pair.bob, pair.alice, [1, None])
    await pair.alice.emit("canvas:cursor", {"projectId": PROJECT, "position": {"x": 1}})
    assert await pair.bob.next() == ["canvas:cursor", {"socketId": pair.alice.id, "position": {"x": 1}}]
    await pair.alice.hears_nothing()
    await pair.bob.hears_nothing()


async def test_a_project_named_like_a_socket_of_another_server_does_not_reach_it(
    redis: RedisServer, start_server: StartServer, connect_by: Connect
) -> None:
    """Edits, typing, presence and notices of a project go to its members, and never to the socket with its name."""
    first, second = (start_server(REDIS_URL=redis.url, CONSOLE_TOKEN=TOKEN) for _ in range(2))
    way = WAYS["js-websocket"]
    alice = await connect_by(ALICE, url=first.url, way=way)
    bob, carol = [await connect_by(user, url=second.url, way=way) for user in (BOB, CAROL)]
    named = alice.id
    await join(bob, project=named)
    await join(carol, bob, project=named)
    await relayed(bob, carol, "secret", project=named)
    await bob.emit("typing:start", {"projectId": named, "context": "secret"})
    assert (await carol.next())[0] == "typing:start"
    notice = {"projectId": named, "message": "secret"}
    assert await ConsoleApi(second).act("notice", **notice) == {"recipients": 2, "unanswered": []}
    for member in (bob, carol):
        assert (await member.expect("server:notice"))["message"] == "secret"
    await carol.emit("leave-project", named)
    await expect_left(bob, CAROL, BOB)
    await alice.hears_nothing()


async def test_a_stopping_server_removes_only_its_own_members(pair: Pair) -> None:
    first, second = pair.servers
    first.signal(signal.SIGTERM)
    assert (await pair.alice.expect("server:shutdown"))["message"]
    await expect_left(pair.bob, ALICE, BOB)
    assert await asyncio.to_thread(first.wait) == 0
    await pair.bob.hears_nothing()
    await expect_health(second, status="healthy", connections=1, rooms=1)


async def test_members_of_a_dead_server_leave(quick_pair: Pair) -> None:
    """Within ten seconds, once. The log has the instance's own name."""
    first, second = quick_pair.servers
    (name,) = [line.rpartition(" ")[2] for line in lines(first, "✓ One of several instances: ")]
    first.kill()
    await expect_left(quick_pair.bob, ALICE, BOB)
    await quick_pair.bob.hears_nothing()
    assert lines(second, "! Instance lost") == [f"! Instance lost without a shutdown: {name}"]


async def test_instances_continue_without_redis_and_reconnect_later(
    quick_pair: Pair, redis: RedisServer, connect_by: Connect
) -> None:
    """Health and log have the reason. Clients stay connected, and no false leave is announced.

    Edits continue within each instance. When Redis is back, the other instances get these edits.
    """
    alice, bob, servers = quick_pair.alice, quick_pair.bob, quick_pair.servers
    redis.kill()
    for server in servers:
        health = await expect_health(server, status="degraded", connections=1)
        status, ready = await readiness(server)
        assert (status, ready["status"]) == (503, "not ready")
        assert health["reason"]
        assert ready["reason"]
        await asyncio.to_thread(server.line, lambda line: line.startswith(AWAY))
    carol = await connect_by(CAROL, url=servers[0].url)
    await carol.emit("join-project", PROJECT)
    await carol.expect("users:active")
    await carol.expect("users:count")
    assert (await alice.expect("user:joined"))["socketId"] == carol.id
    assert await alice.expect("users:count") == {"count": 3}
    await relayed(carol, alice, "meanwhile")
    await bob.hears_nothing()
    redis.start()
    for server in servers:
        await expect_health(server, status="healthy")
        assert await readiness(server) == (200, {"status": "ready"})
        assert len(lines(server, THERE)) == 2
    told = [await bob.next() for _ in range(3)]
    assert ["task:create", "meanwhile"] in told
    joined, count = [event for event in told if event[0] != "task:create"]
    assert (joined[0], joined[1]["socketId"]) == ("user:joined", carol.id)
    assert count == ["users:count", {"count": 3}]
    gap = "! Clients may have missed edits of other instances while Redis was away: epoch"
    assert [lines(server, "! Clients may") for server in servers] == [[gap], [gap]]  # Redis has no memory
    await relayed(bob, alice, "again")
    assert await carol.next() == ["task:create", "again"]
    for client in (alice, bob, carol):
        await client.hears_nothing()


async def settle(pair: Pair) -> None:
    """Wait until each server has the other's earlier messages, by the order of messages."""
    await relayed(pair.alice, pair.bob, "settle")
    await relayed(pair.bob, pair.alice, "settle")


async def test_a_users_connections_are_limited_over_all_instances(quick_pair: Pair, connect_by: Connect) -> None:
    """With a limit of three, the fourth is refused on either instance. A leave makes room on both."""
    first, second = quick_pair.servers
    clients = [await connect_by(CAROL, url=server.url) for server in (first, second, first)]
    await settle(quick_pair)
    for server in (first, second):
        with pytest.raises(Refused, match="Too many connections"):
            await connect_by(CAROL, url=server.url)
    await clients[0].close()
    await expect_health(first, connections=2)
    await settle(quick_pair)
    await connect_by(CAROL, url=second.url)


async def test_deployments_with_different_prefixes_share_nothing(
    redis: RedisServer, start_server: StartServer, connect_by: Connect
) -> None:
    """Even with the same Redis and the same project ids."""
    first, second = (start_server(REDIS_URL=redis.url, REDIS_PREFIX=prefix) for prefix in ("staging", "production"))
    alice, bob = await connect_by(ALICE, url=first.url), await connect_by(BOB, url=second.url)
    for client, user in ((alice, ALICE), (bob, BOB)):
        await client.emit("join-project", PROJECT)
        assert await listed(client) == {user.id}
        assert await client.expect("users:count") == {"count": 1}
        await client.emit("task:create", {"projectId": PROJECT, "task": 1})
    names = [key.decode() for key in redis.do("KEYS", "*")] + [key.decode() for key in redis.do("PUBSUB", "CHANNELS")]
    prefixes = tuple(f"{own}{prefix}" for prefix in ("staging", "production") for own in ("", "synkora:"))
    assert [name for name in names if not name.startswith((*prefixes, "synkora:beat:"))] == []
    await alice.hears_nothing()
    await bob.hears_nothing()
