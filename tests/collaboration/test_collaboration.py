"""Synkora's events on a namespace, as its clients see them."""

import json
from typing import Any

import pytest
from tests.collaboration.site import PAGE, SECRET, Site, every_event, token_of, turn
from tests.support.clients import WebSocket, socketio, websocket
from tests.support.logs import capture_logs
from tests.support.servers import until
from tests.support.users import TIME

from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.draining import SHUTDOWN_MESSAGE
from synkora.collaboration.events import CATALOGUE, Event
from synkora.collaboration.local_presence import LocalPresence
from synkora.engine.close_reasons import Reason
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring
from synkora.sockets.server import SocketServer

PROJECT = "proj_456"


async def join(client: WebSocket, project: str = PROJECT) -> None:
    """Join a project, and consume the events about the own join."""
    await client.emit("join-project", project)
    assert (await client.event())[0] == "users:active"
    assert (await client.event())[0] == "users:count"


async def error_of(client: WebSocket) -> dict[str, str]:
    """The payload of the next event, an `error`."""
    name, answer = await client.event()
    assert name == "error"
    error: dict[str, str] = answer
    return error


async def test_connected_follows_the_reply_to_connect(running: Site) -> None:
    """It has the client's socket id, its user and the time."""
    async with websocket(running.address) as client:
        sid = await client.connect(auth={"token": token_of("Alice")})
        name, details = await client.event()
        assert TIME.fullmatch(details.pop("timestamp"))
        assert (name, details) == ("connected", {"socketId": sid, "userId": "alice"})


async def test_ping_is_answered_to_its_sender(running: Site) -> None:
    """`pong` has the server's time. Arguments of `ping` are ignored."""
    async with socketio(running.address, {"token": token_of("Alice")}) as client:
        await client.event()
        extras: list[tuple[Any, ...]] = [(), (None,), ({"a": 1}, [])]
        for extra in extras:
            await client.emit("ping", *extra)
            name, answer = await client.event()
            assert name == "pong"
            assert answer.keys() == {"timestamp"}
            assert TIME.fullmatch(answer["timestamp"])


@pytest.mark.parametrize("event", ["join-project", "leave-project"])
@pytest.mark.parametrize(
    ("project", "message"),
    [
        ((), "Project ID is required"),
        ((None,), "Project ID is required"),
        (("",), "Project ID is required"),
        ((7,), "Project ID is required"),
        ((True,), "Project ID is required"),
        ((["p"],), "Project ID is required"),
        (({"projectId": "p"},), "Project ID is required"),
        (("x" * 300,), "Project ID is longer than 200 characters"),
    ],
)
async def test_a_bad_project_id_is_answered(running: Site, event: str, project: tuple[Any, ...], message: str) -> None:
    """The sender gets an `error`, and the connection stays open."""
    async with socketio(running.address, {"token": token_of("Alice")}) as client:
        await client.event()
        await client.emit(event, *project)
        assert await error_of(client) == {"message": message, "event": event}
        await join(client)


@pytest.mark.parametrize("event", [event for event in CATALOGUE if event.volatile], ids=lambda event: event.name)
async def test_a_project_that_was_not_joined_gets_no_cursors(site: Site, event: Event) -> None:
    """The event of a user without access, or of a former member, is refused and not relayed."""
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    bob.emit("leave-project", PROJECT)
    (carol,) = await site.meet("Carol")
    alice.take()
    for client in (bob, carol):
        client.emit(event.name, {"projectId": PROJECT})
    await turn()
    refusal = {"message": f"{event.name}: join the project first", "event": event.name}
    assert bob.take_events() == carol.take_events() == [["error", refusal]]
    assert alice.take_events() == []


@every_event
async def test_an_event_is_relayed_once_encoded(site: Site, event: Event) -> None:
    """All other members get one message object, volatile if the row says so. The sender gets none."""
    alice, bob, carol = await site.meet("Alice", "Bob", "Carol", project=PROJECT)
    await site.meet("Dave", project="another")
    for client in (alice, bob):
        client.take()
    await alice.act(event.name, {"projectId": PROJECT})
    (to_bob,), (to_carol,) = bob.take(), carol.take()
    assert to_bob is to_carol
    assert json.loads(to_bob.packet[2:])[0] == event.name
    assert to_bob.volatile is event.volatile
    assert alice.take() == []


async def test_attachments_are_passed_on(site: Site) -> None:
    """Binary data within the app's data is relayed with its placeholders."""
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    alice.take()
    changes = {"image": {"_placeholder": True, "num": 0}}
    alice.send("451-" + json.dumps(["canvas:update", {"projectId": PROJECT, "changes": changes}]))
    alice.session.receive_binary(alice.transport, b"\x00\xff")
    await turn()
    message = next(message for write in bob.transport.writes for message in write if message.attachments)
    assert message.packet == b'451-["canvas:update",' + json.dumps(changes).encode() + b"]"
    assert message.attachments == (b"\x00\xff",)


async def test_an_event_is_acknowledged(running: Site) -> None:
    """Without arguments, after the event was accepted. A refused event has no ack."""
    async with socketio(running.address, {"token": token_of("Alice")}) as client:
        await client.event()
        await client.send(f'427["join-project","{PROJECT}"]')
        assert await client.receive() == "437[]"
        await client.receive_many(2)
        await client.send(f'428["task:create",{{"projectId":"{PROJECT}"}}]')
        assert await client.receive() == "438[]"
        await client.send('429["canvas:cursor",{"projectId":"elsewhere"}]')
        assert (await error_of(client))["event"] == "canvas:cursor"
        await client.emit("ping")
        assert (await client.event())[0] == "pong"


async def test_an_unknown_event_is_answered(running: Site) -> None:
    """Its sender gets an error, also for events that only the server sends."""
    async with socketio(running.address, {"token": token_of("Alice")}) as client:
        await client.event()
        for event in ("tasks:create", "connected", "users:active", "user:left", "server:shutdown", "error", "pong"):
            await client.emit(event, {"projectId": PROJECT})
            assert await error_of(client) == {"message": f"Unknown event: {event}", "event": event}


async def test_connected_members_are_counted(running: Site) -> None:
    """`connections` counts only signed-in clients. Every count is 0 after the last leave."""
    async with socketio(running.address, {"token": token_of("Alice")}) as alice, websocket(running.address) as bob:
        await alice.event()
        await join(alice)
        await bob.send("40")
        await bob.receive()
        assert (running.collaboration.connections, running.collaboration.presence.project_count) == (1, 1)
    await until(lambda: running.collaboration.connections == 0)
    assert running.collaboration.presence.project_count == 0


async def test_the_shutdown_is_announced_to_every_member(running: Site) -> None:
    async with (
        socketio(running.address, {"token": token_of("Alice")}) as alice,
        socketio(running.address, {"token": token_of("Bob")}) as bob,
    ):
        for client in (alice, bob):
            await client.event()
        await join(alice)
        running.collaboration.announce_shutdown()
        for client in (alice, bob):
            assert await client.event() == ["server:shutdown", {"message": SHUTDOWN_MESSAGE}]


async def test_joins_and_leaves_are_logged(site: Site) -> None:
    """Connects, joins, leaves and disconnects are logged with user and project, edits at level debug, cursors not at
    all.
    """
    with capture_logs() as logs:
        (alice,) = await site.meet("Alice", project=PROJECT)
        for event in CATALOGUE:
            alice.emit(event.name, {"projectId": PROJECT})
        alice.emit("leave-project", PROJECT)
        alice.session.close(Reason.PING_TIMEOUT)
        await turn()
    user = {"socketId": alice.id, "userName": "Alice", "userId": "alice"}
    assert logs[-1].pop("duration") >= 0
    relayed = (
        "Task created",
        "Task updated",
        "Task deleted",
        "Task moved",
        "Markdown updated",
        "Cell updated",
        "Cells updated",
    )
    assert all((entry["event"] == "relayed") is (entry["log_level"] == "debug") for entry in logs)
    assert [{key: value for key, value in entry.items() if key != "log_level"} for entry in logs] == [
        {"event": "client_connected", **user},
        {"event": "project_joined", "projectId": PROJECT, **user},
        *({"event": "relayed", "what": what, "projectId": PROJECT, **user} for what in relayed),
        {"event": "project_left", "projectId": PROJECT, **user},
        {"event": "client_disconnected", "reason": "ping timeout", **user},
    ]


async def test_a_refused_sign_in_is_counted_without_the_token(site: Site) -> None:
    """The count has the reason, without data of the client. Failures are not logged one by one."""
    with capture_logs() as logs:
        client = site.come("Alice")
        client.send("41")
        client.send('40{"token":"s3cret-but-wrong"}')
        await turn()
    (tally,) = site.server.incidents.take()
    assert (tally.kind, tally.label) == ("sign-in refused", "Authentication failed (auth.token: malformed)")
    assert "s3cret" not in str(logs)


async def test_presence_may_be_kept_elsewhere() -> None:
    """The given implementation of presence is used."""
    server = SocketServer(origins=[PAGE])
    presence = LocalPresence()
    collaboration = Collaboration(server.of("/"), Authenticator(Keyring(SECRET)), presence=presence)
    assert collaboration.presence is presence


async def test_leaves_during_shutdown_are_not_announced(site: Site) -> None:
    """Everyone leaves at the same time: N announcements to N members would be useless and quadratic."""
    clients = await site.meet("Alice", "Bob", "Carol", project=PROJECT)
    site.collaboration.announce_shutdown()
    site.server._registry.close()
    await turn()
    for client in clients:
        assert [event[0] for event in client.take_events()] == ["server:shutdown"]


async def test_an_operator_ends_a_connection() -> None:
    """The client gets DISCONNECT. A second call finds no connection, and others stay."""
    site = Site()
    alice, bob = await site.meet("Alice", "Bob")
    assert site.collaboration.disconnect(alice.id)
    await turn()
    assert alice.transport.packets[-1] == b"41"
    assert alice.transport.closed_with is not None
    assert list(site.collaboration.members) == [bob.id]
    assert not site.collaboration.disconnect(alice.id)


async def test_an_operator_has_something_to_say() -> None:
    """Every member of the project gets the notice and its time. Other clients do not."""
    site = Site()
    alice, bob = await site.meet("Alice", "Bob", project=PROJECT)
    (carol,) = await site.meet("Carol", project="another")
    assert site.collaboration.count_here(PROJECT) == 2
    assert site.collaboration.count_here("nowhere") == 0
    site.collaboration.post_notice(PROJECT, "At noon ✓")
    await turn()
    for client in (alice, bob):
        ((name, notice),) = client.take_events()
        assert TIME.fullmatch(notice.pop("timestamp"))
        assert (name, notice) == ("server:notice", {"message": "At noon ✓"})
    assert carol.take_events() == []


async def test_events_of_a_connection_are_counted() -> None:
    """Refused events as well, each for its sender."""
    site = Site()
    alice, bob = await site.meet("Alice", "Bob")
    for event in (("ping",), ("unheard-of",), ("task:create", {"projectId": "p"})):
        alice.emit(*event)
    members = site.collaboration.members
    assert [members[client.id].received for client in (alice, bob)] == [3, 0]
