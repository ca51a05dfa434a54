"""The compared servers do the same work."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bench.servers import SECRET, Server, bun, node, prepare_peers, python_socketio, running, synkora
from bench.workloads import cores
from tests.support.clients import WebSocket, socketio, websocket
from tests.support.positions import without_position
from tests.support.servers import Address

from synkora.collaboration.events import CATALOGUE, Event
from synkora.identity.tokens import sign

SERVERS = {"synkora": synkora, "Node.js": node, "Bun": bun, "python-socketio": python_socketio}


def token(**claims: Any) -> str:
    return sign(claims, SECRET, expires_in=3600)


def started(name: str, folder: Path, **variables: str) -> Iterator[Address]:
    if name != "synkora":
        said: list[str] = []
        assert prepare_peers([name], said.append) == {name}, said
    server: Server = SERVERS[name]()
    variables["PRESENCE_GRACE"] = "0"  # members of one test have left before the next
    with running(server.with_variables(**variables), folder, cores()[0]) as (_, port):
        yield Address(port, "/socket.io/")


@pytest.fixture(scope="module", params=list(SERVERS))
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    yield from started(request.param, tmp_path_factory.mktemp("peer"))


@pytest.fixture(params=list(SERVERS))
def strict(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """Each of the servers, with a limit on events that are not the app's."""
    yield from started(request.param, tmp_path, LIMIT_OTHER_RATE="1")


class User:
    def __init__(self, name: str, client: WebSocket, sid: str) -> None:
        self.name = name
        self.client = client
        self.sid = sid
        self.id = f"user-{name}"

    async def emit(self, *event: object) -> None:
        await self.client.emit(*event)

    async def next(self, *names: str) -> Any:
        while (event := without_position(await self.client.event()))[0] not in names:
            pass
        assert len(event) == 2
        return event[1]

    async def join(self, *others: "User") -> Any:
        """Join the project; the others get the announcement. Returns the list of users."""
        await self.emit("join-project", "p")
        for other in others:
            assert (await other.next("user:joined"))["socketId"] == self.sid
        present = await self.next("users:active")
        for user in (self, *others):
            assert await user.next("users:count") == {"count": 1 + len(others)}
        return present


@asynccontextmanager
async def user(address: Address, name: str) -> AsyncIterator[User]:
    auth = {"token": token(id=f"user-{name}", name=name, picture=f"https://example.com/{name}.png")}
    async with websocket(address) as client:
        someone = User(name, client, await client.connect(auth=auth))
        connected = await someone.next("connected")
        assert (connected["socketId"], connected["userId"]) == (someone.sid, someone.id)
        yield someone


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (None, "Authentication required"),
        ({"token": "no.such.token"}, "Authentication failed"),
        (
            {"token": sign({"id": "mallory"}, "another secret, just as long as theirs", expires_in=60)},
            "Authentication failed",
        ),
        ({"token": token(name="Nobody")}, "Invalid token"),
    ],
)
async def test_a_client_that_does_not_sign_in_is_refused(address: Address, auth: object, message: str) -> None:
    """The token is verified, and names a user."""
    async with websocket(address) as client:
        await client.send("40" + ("" if auth is None else json.dumps(auth)))
        answer = await client.receive()
        assert isinstance(answer, str)
        assert answer.startswith("44")
        assert json.loads(answer[2:])["message"] == message


async def test_presence_is_announced(address: Address) -> None:
    """A new member gets the list, the others the announcement. After a leave, the remaining members get the list."""
    async with user(address, "alice") as alice, user(address, "bob") as bob:
        assert (await alice.join())["count"] == 1
        present = await bob.join(alice)
        assert present["count"] == 2
        assert [(user["userId"], user["userName"], user["userImage"]) for user in present["users"]] == [
            (someone.id, someone.name, f"https://example.com/{someone.name}.png") for someone in (alice, bob)
        ]
        await bob.emit("leave-project", "p")
        await left_alone(alice, bob)
        await bob.join(alice)
        await bob.client.connection.close()
        await left_alone(alice, bob)


async def left_alone(alice: User, bob: User) -> None:
    """Wait until Alice has learned that Bob has left, and has the list."""
    assert (await alice.next("user:left"))["socketId"] == bob.sid
    assert [user["userId"] for user in (await alice.next("users:active"))["users"]] == [alice.id]
    assert await alice.next("users:count") == {"count": 1}


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.name)
async def test_events_are_relayed(address: Address, event: Event) -> None:
    """Every event of the app reaches the other member, as the catalogue says."""
    forwarded = {name: {"some": [name]} for name in ((event.whole,) if event.whole else event.fields)}
    async with user(address, "alice") as alice, user(address, "bob") as bob:
        await alice.join()
        await bob.join(alice)
        await alice.emit(event.name, {"projectId": "p", **forwarded})
        sender = {"socketId": alice.sid, "userId": alice.id, "userName": alice.name}
        signed = {name: sender[name] for name in event.sender} | forwarded
        assert await bob.next(event.name) == (forwarded[event.whole] if event.whole else signed)


async def test_invalid_events_are_refused(address: Address) -> None:
    """Payload and membership are checked, and the connection stays open."""
    async with user(address, "alice") as alice:
        await alice.emit("task:create")
        await alice.emit("task:create", {"task": {}})
        await alice.emit("canvas:cursor", {"projectId": "elsewhere", "position": {}})
        await alice.emit("join-project")
        messages = [(await alice.next("error"))["message"] for _ in range(4)]
        assert messages[1:] == [
            "Project ID is required",
            "canvas:cursor: join the project first",
            "Project ID is required",
        ]
        await alice.emit("ping")
        assert "timestamp" in await alice.next("pong")


async def test_limits_are_checked(strict: Address) -> None:
    async with socketio(strict, {"token": token(id="mallory")}) as mallory:
        someone = User("mallory", mallory, "")
        for _ in range(20):
            await someone.emit("ping")
        assert "Too many events" in (await someone.next("error"))["message"]
