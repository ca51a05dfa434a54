"""The consoles of two servers that share a Redis: each shows and reaches both."""

import asyncio
import json
import signal
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from tests.end_to_end.console.api import TOKEN, ConsoleApi
from tests.end_to_end.console.operators import REDIS_PASSWORD
from tests.support.real_clients import WAYS, Client, Connect, Refused
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, BOB, CAROL, SECRET

from synkora.app.console.concurrency_limit import MOST_RUNNING, MOST_WAITING


class World(NamedTuple):
    """Two servers and their consoles: Alice and Carol on the first, Bob and Alice's other window on the second.

    Alice, twice, and Bob are in the project p1, Carol is in p2.
    """

    servers: tuple[ServerProcess, ServerProcess]
    consoles: tuple[ConsoleApi, ConsoleApi]
    alice: Client
    carol: Client
    bob: Client
    other_alice: Client


@pytest_asyncio.fixture(loop_scope="session")
async def world(redis: RedisServer, start_server: StartServer, connect_by: Connect) -> World:
    first, second = (start_server(REDIS_URL=redis.url, CONSOLE_TOKEN=TOKEN) for _ in range(2))
    clients = []
    for user, server, way, project in (
        (ALICE, first, "js-websocket", "p1"),
        (CAROL, first, "js-polling", "p2"),
        (BOB, second, "js-polling", "p1"),
        (ALICE, second, "js-websocket", "p1"),
    ):
        client = await connect_by(user, url=server.url, way=WAYS[way])
        await client.emit("join-project", project)
        clients.append(client)
    consoles = (ConsoleApi(first), ConsoleApi(second))
    for console in consoles:
        await console.until("projects", lambda table: [row["users"] for row in table["rows"]] == [2, 1])
    return World((first, second), consoles, *clients)


async def heard(client: Client, name: str) -> Any:
    while True:
        event, *args = await client.next()
        if event == name:
            return args[0]


def newest(overview: dict[str, Any]) -> dict[str, Any]:
    """The newest sample of each instance that has one, by the port in the instance's name."""
    return {
        instance["name"].split()[0].rpartition(":")[2]: instance["samples"][-1]
        for instance in overview["instances"]
        if instance["samples"]
    }


async def test_figures_of_both(world: World) -> None:
    """Each console has the samples of both: connections by transport, users, events and Redis."""
    await world.alice.emit("task:create", {"projectId": "p1", "task": 1})
    await heard(world.bob, "task:create")
    ports = [str(server.port) for server in world.servers]

    def is_complete(overview: dict[str, Any]) -> bool:
        samples = newest(overview)
        if samples.keys() != set(ports) or samples[ports[1]]["signedIn"] < 2:
            return False
        return bool(samples[ports[0]]["events"].get("task:create") == 1)

    for console, own in zip(world.consoles, ports, strict=True):
        overview = await console.until("overview", is_complete)
        samples = newest(overview)
        for port in ports:
            assert samples[port]["connections"] == {"websocket": 1, "polling": 1}
            assert (samples[port]["signedIn"], samples[port]["users"]) == (2, 2)
            assert samples[port]["redis"]["isUp"] is True
            assert samples[port]["redis"]["published"] > 0
        assert (samples[ports[0]]["projects"], samples[ports[1]]["projects"]) == (2, 1)
        this = [instance for instance in overview["instances"] if instance["isThis"]]
        assert [instance["name"].split()[0].rpartition(":")[2] for instance in this] == [own]
        assert {instance["status"] for instance in overview["instances"]} == {"healthy"}


async def test_tables_of_both(world: World) -> None:
    """Both consoles have the same rows: sorted, searched, filtered and paged over all instances."""
    for console in world.consoles:
        table = await console.ask("connections", sort="user", order="desc")
        assert (table["total"], table["matched"]) == (4, 4)
        assert [row["userName"] for row in table["rows"]] == ["Carol", "Bob", "Alice", "Alice"]
        rows = {row["socketId"]: row for row in table["rows"]}
        assert rows[world.bob.id]["transport"] == "polling"
        assert rows[world.bob.id]["projects"] == ["p1"]
        assert rows[world.bob.id]["address"] == "127.0.0.1"
        assert rows[world.alice.id]["instance"] != rows[world.other_alice.id]["instance"]
        pages = [await console.ask("connections", sort="since", offset=offset, limit=1) for offset in range(5)]
        assert [row["socketId"] for page in pages for row in page["rows"]] == [
            world.alice.id,
            world.carol.id,
            world.bob.id,
            world.other_alice.id,
        ]
        found = await console.ask("connections", search="ALICE", transport="websocket")
        assert (found["total"], found["matched"]) == (4, 2)
        there = rows[world.bob.id]["instance"]
        found = await console.ask("connections", instance=there)
        assert {row["socketId"] for row in found["rows"]} == {world.bob.id, world.other_alice.id}
        (bob,) = (await console.ask("connections", search=world.bob.id))["rows"]
        assert bob == rows[world.bob.id]


async def test_projects_of_both(world: World) -> None:
    """A project on two instances is one row with both instances. Each user counts once."""
    for console in world.consoles:
        table = await console.ask("projects", sort="connections", order="desc")
        assert (table["total"], table["matched"]) == (2, 2)
        first, second = table["rows"]
        assert (first["projectId"], first["users"], first["connections"]) == ("p1", 2, 3)
        assert (second["projectId"], second["users"], second["connections"]) == ("p2", 1, 1)
        assert (len(first["instances"]), len(second["instances"])) == (2, 1)
        found = await console.ask("projects", search="P2")
        assert (found["total"], found["matched"], len(found["rows"])) == (2, 1, 1)
        project = await console.ask("project", projectId="p1")
        assert (project["total"], project["connections"], project["unanswered"]) == (2, 3, [])
        assert {user["userName"]: user["connections"] for user in project["users"]} == {"Alice": 2, "Bob": 1}


async def test_a_client_is_disconnected_from_either_console(world: World) -> None:
    """It gets DISCONNECT, on any instance. A second call finds no connection."""
    for client, console in ((world.bob, world.consoles[0]), (world.carol, world.consoles[0])):
        assert await console.act("disconnect", socketId=client.id) == {"disconnected": True, "unanswered": []}
        assert (await client.changes.next())[:2] == ["disconnect", "io server disconnect"]
        assert await console.act("disconnect", socketId=client.id) == {"disconnected": False, "unanswered": []}
    table = await world.consoles[1].until("connections", lambda table: table["total"] == 2)
    assert {row["userName"] for row in table["rows"]} == {"Alice"}
    assert f"✗ Disconnected from the console: {world.bob.id}, by 127.0.0.1" in world.servers[0].stdout


async def test_a_user_is_blocked_on_both(
    world: World, redis: RedisServer, start_server: StartServer, connect_by: Connect
) -> None:
    """And on an instance that starts later, until an operator lifts the block in either console."""
    answer = await world.consoles[1].act("block", userId=ALICE.id, seconds=600)
    assert answer == {"disconnected": 2, "unanswered": []}
    for client in (world.alice, world.other_alice):
        assert (await client.changes.next())[:2] == ["disconnect", "io server disconnect"]
    third = start_server(REDIS_URL=redis.url, CONSOLE_TOKEN=TOKEN)
    await ConsoleApi(third).until("blocks", lambda answer: [block["name"] for block in answer["blocks"]] == [ALICE.id])
    for server in (*world.servers, third):
        with pytest.raises(Refused, match="Blocked by the operators of this server"):
            await connect_by(ALICE, url=server.url)
    assert await ConsoleApi(third).act("unblock", userId=ALICE.id) == {"unblocked": True, "unanswered": []}
    for server in (*world.servers, third):
        await connect_by(ALICE, url=server.url)


async def test_a_notice_reaches_a_project_on_both(world: World) -> None:
    """Only its members get notice and time, and the operator gets their number."""
    words = "The server restarts at noon: Größe ✓"
    assert await world.consoles[1].act("notice", projectId="p1", message=words) == {"recipients": 3, "unanswered": []}
    for client in (world.alice, world.bob, world.other_alice):
        notice = await heard(client, "server:notice")
        assert notice["message"] == words
        assert notice["timestamp"].endswith("Z")
    await world.carol.emit("ping")
    await heard(world.carol, "pong")
    assert not [event for event in world.carol.events.items if event[0] == "server:notice"]
    assert not [line for line in world.servers[1].stdout if words in line]
    assert await world.consoles[0].act("notice", projectId="p3", message=words) == {"recipients": 0, "unanswered": []}


async def test_the_logs_of_both(world: World) -> None:
    """Lines come in the order of their times, once, optionally of one instance or level."""
    console = world.consoles[0]
    page = await console.ask("log")
    joined = [entry for entry in page["entries"] if entry["event"] == "project_joined"]
    assert [entry["text"] for entry in joined] == [
        "✓ Alice joined project p1",
        "✓ Carol joined project p2",
        "✓ Bob joined project p1",
        "✓ Alice joined project p1",
    ]
    assert len({entry["instance"] for entry in joined}) == 2
    assert [entry["at"] for entry in page["entries"]] == sorted(entry["at"] for entry in page["entries"])
    await world.carol.emit("leave-project", "p2")
    news = await console.until("log", lambda page: page["entries"], after=page["cursor"])
    assert [entry["text"] for entry in news["entries"]] == ["✓ Carol left project p2"]
    one = await console.ask("log", instance=joined[-1]["instance"])
    assert {entry["instance"] for entry in one["entries"]} == {joined[-1]["instance"]}
    serious = await console.ask("log", level="error")
    assert serious["entries"] == []


async def test_an_instance_that_is_silent(world: World) -> None:
    """It is marked as silent, and the others' figures are shown. It is back as soon as it answers again."""
    console, frozen = world.consoles[0], world.servers[1]
    await console.until("overview", lambda overview: len(newest(overview)) == 2)
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        overview = await console.ask("overview")
        silent = [instance for instance in overview["instances"] if instance["unanswered"]]
        assert [instance["samples"] for instance in silent] == [[]]
        assert f":{frozen.port} " in silent[0]["name"]
        assert newest(overview).keys() == {str(world.servers[0].port)}
        table = await console.ask("connections")
        assert {row["userName"] for row in table["rows"]} == {"Alice", "Carol"}
        assert table["unanswered"] == [silent[0]["id"]]
        done = await console.act("disconnect", socketId=world.bob.id)
        assert done == {"disconnected": False, "unanswered": [silent[0]["id"]]}
        done = await console.act("notice", projectId="p1", message="x")
        assert done == {"recipients": 1, "unanswered": [silent[0]["id"]]}
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    await console.until("overview", lambda overview: len(newest(overview)) == 2)


async def test_many_tables_do_not_delay_other_requests(world: World) -> None:
    """With the maximum of waiting tables, each has the rows of both, and a client of the other instance is reached."""
    console = world.consoles[0]
    asked = MOST_RUNNING + MOST_WAITING
    tables = [asyncio.create_task(console.ask("connections", search="a", sort="user")) for _ in range(asked)]
    done = await console.act("disconnect", socketId="nobody")
    assert done == {"disconnected": False, "unanswered": []}
    for table in await asyncio.gather(*tables):
        assert (table["total"], table["unanswered"]) == (4, [])


async def test_without_redis_each_shows_itself(world: World, redis: RedisServer) -> None:
    """The console continues with its own instance, names the problem, and shows both instances afterwards."""
    console = world.consoles[0]
    redis.kill()

    def is_apart(overview: dict[str, Any]) -> bool:
        (this,) = [instance for instance in overview["instances"] if not instance["unanswered"]]
        return bool(this["status"] == "degraded" and this["reason"])

    await console.until("overview", is_apart)
    table = await console.ask("connections")
    assert {row["userName"] for row in table["rows"]} == {"Alice", "Carol"}
    redis.start()
    await console.until("connections", lambda table: table["total"] == 4)


async def test_no_secret_is_shown(world: World) -> None:
    """The settings are listed, and no answer of the console contains a secret, token or password."""
    console = world.consoles[0]
    settings = {row["variable"]: row for row in (await console.ask("settings"))["settings"]}
    for secret in ("NEXTAUTH_SECRET", "CONSOLE_TOKEN"):
        assert (settings[secret]["value"], settings[secret]["isDefault"]) == ("set", False)
    assert "***@127.0.0.1" in settings["REDIS_URL"]["value"]
    for path in ("overview", "connections", "projects", "log"):
        await console.ask(path)
    told = "\n".join(console.told)
    for secret in (SECRET, TOKEN, REDIS_PASSWORD):
        assert secret not in told
        assert json.dumps(secret)[1:-1] not in told
