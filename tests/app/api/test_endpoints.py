"""What each endpoint does."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.app.api.backend import Backend
from tests.collaboration.site import MemoryClient, Site, turn
from tests.support.page import recovery_of

from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.ports import new_event

MOVE = {"event": "task:move", "data": {"taskId": "t1", "status": "DONE"}}
CREATE = {"event": "task:create", "data": {"task": {"id": "t1"}}}
EVENTS = "/projects/p/events"


def received(client: MemoryClient) -> list[list[Any]]:
    """The events since the last call, each with its position at the end."""
    return client.take_events()


# Publishing


async def test_an_event_reaches_the_members(backend: Backend) -> None:
    """With its position, which is also the answer. Users in other projects get nothing."""
    alice, bob = await backend.site.meet("Alice", "Bob", project="p")
    (carol,) = await backend.site.meet("Carol", project="other")
    answer = await backend.ask("POST", EVENTS, MOVE)
    await turn()
    (position,) = answer["positions"]
    assert received(alice) == received(bob) == [["task:move", {"taskId": "t1", "status": "DONE"}, position]]
    assert received(carol) == []


async def test_several_events_keep_their_order(backend: Backend) -> None:
    (alice,) = await backend.site.meet("Alice", project="p")
    answer = await backend.ask("POST", EVENTS, [CREATE, MOVE, CREATE])
    await turn()
    events = received(alice)
    assert [event[0] for event in events] == ["task:create", "task:move", "task:create"]
    assert events[0][1] == {"id": "t1"}
    assert [event[-1] for event in events] == answer["positions"]


async def test_others_have_their_turns_while_a_list_is_published(backend: Backend) -> None:
    """Each event may go to thousands of members."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await backend.ask("POST", EVENTS, [CREATE] * 100)
    counting.cancel()
    assert turns >= 100


async def test_the_client_that_made_the_change_is_left_out(backend: Backend) -> None:
    alice, bob = await backend.site.meet("Alice", "Bob", project="p")
    await backend.ask("POST", EVENTS, {**MOVE, "except": alice.id})
    await turn()
    assert received(alice) == []
    assert len(received(bob)) == 1


async def test_a_repeated_request_publishes_nothing_again(backend: Backend) -> None:
    """It gets the same positions. The key counts for one project."""
    alice, bob = await backend.site.meet("Alice", "Bob", project="p")
    (carol,) = await backend.site.meet("Carol", project="other")
    first = await backend.ask("POST", EVENTS, [MOVE, CREATE], **{"Idempotency-Key": "save-1"})
    await backend.ask("POST", EVENTS, MOVE)
    again = await backend.ask("POST", EVENTS, [MOVE, CREATE], **{"Idempotency-Key": "save-1"})
    other = await backend.ask("POST", "/projects/other/events", MOVE, **{"Idempotency-Key": "save-1"})
    await turn()
    assert first == again
    assert [event[0] for event in received(alice)] == ["task:move", "task:create", "task:move"]
    assert len(received(bob)) == 3
    assert [event[-1] for event in received(carol)] == other["positions"]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "save-1"}], ids=["without a key", "with a key"])
async def test_an_event_that_cannot_be_kept_yet_or_any_more_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """The files are not loaded yet, or are closed: clients that return would miss the event."""
    backend = Backend(Site(recovery=EmbeddedStore(tmp_path)))

    async def is_refused() -> None:
        status, detail = await backend.problem("POST", EVENTS, json=MOVE, headers=headers)
        assert (status, detail) == (503, "events cannot be kept now: send the request again, with its Idempotency-Key")

    await is_refused()
    async with backend.site.server.lifespan():
        assert len((await backend.ask("POST", EVENTS, MOVE, **headers))["positions"]) == 1
    await is_refused()


async def test_one_wrong_event_of_a_list_publishes_none(backend: Backend) -> None:
    (alice,) = await backend.site.meet("Alice", project="p")
    status, detail = await backend.problem("POST", EVENTS, json=[MOVE, {"event": "task:rename", "data": {}}])
    await turn()
    assert status == 422
    assert detail.startswith("[1] event: task:rename is not one of task:create, task:update")
    assert received(alice) == []


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ({"event": "canvas:cursor", "data": {}}, "[0] event: canvas:cursor says what its sender does"),
        ({"event": "task:move", "data": {"task": 1, "taskId": "t"}}, "[0] data: task is not a field of task:move"),
        ({"event": "task:move", "data": {"status": "DONE"}}, "[0] data: taskId is missing"),
        ({"event": "task:create", "data": {}}, "[0] data: task is missing"),
        ({"event": "task:move", "data": []}, "[0] data: an object is expected"),
        ({"event": "task:move"}, "Object missing required field data"),
        ({"event": 1, "data": {}}, "Expected str, got int"),
        ({**MOVE, "to": "p"}, "Object contains unknown field to"),
        ({**MOVE, "except": ""}, "Expected str of length >= 1"),
        ([], "a list has 1 to 100 events"),
        ([MOVE] * 101, "a list has 1 to 100 events"),
        ("task:move", "Expected object | array, got str"),
    ],
)
async def test_a_wrong_event_is_refused_with_the_reason(backend: Backend, event: Any, detail: str) -> None:
    found = await backend.problem("POST", EVENTS, json=event)
    assert found[0] == 422
    assert detail in found[1]


async def test_without_recovery_events_have_no_position() -> None:
    backend = Backend(Site())
    alice, bob = await backend.site.meet("Alice", "Bob", project="p")
    assert await backend.ask("POST", EVENTS, {**MOVE, "except": alice.id}) == {"positions": [None]}
    await turn()
    assert received(alice) == []
    assert received(bob) == [["task:move", {"taskId": "t1", "status": "DONE"}]]
    status, detail = await backend.problem("GET", EVENTS)
    assert (status, detail) == (503, "RECOVERY is false, so no events are kept")


# Reading


async def test_what_is_kept_is_read_from_a_position(backend: Backend) -> None:
    """Events of members and of the backend, in the form in which they are published. The next position goes on."""
    (alice,) = await backend.site.meet("Alice", project="p")
    start = await backend.ask("GET", EVENTS)
    assert start["events"] == []
    assert start["more"] is False
    alice.emit("task:create", {"projectId": "p", "task": {"id": "t2"}})
    alice.emit("task:create", {"projectId": "other", "task": {"id": "t3"}})
    await backend.ask("POST", EVENTS, MOVE)
    found = await backend.ask("GET", f"{EVENTS}?since={start['position']}")
    assert [(event["event"], event["data"]) for event in found["events"]] == [
        ("task:create", {"task": {"id": "t2"}}),
        ("task:move", {"taskId": "t1", "status": "DONE"}),
    ]
    assert (await backend.ask("GET", f"{EVENTS}?since={found['position']}"))["events"] == []


async def test_much_is_read_in_parts(backend: Backend) -> None:
    position = (await backend.ask("GET", EVENTS))["position"]
    published = await backend.ask("POST", EVENTS, [CREATE] * 5)
    read: list[str] = []
    more = True
    while more:
        part = await backend.ask("GET", f"{EVENTS}?since={position}&limit=2")
        assert len(part["events"]) <= 2
        read += [event["position"] for event in part["events"]]
        position, more = part["position"], part["more"]
    assert read == published["positions"]


async def test_an_event_that_is_nested_too_deeply_is_named_by_its_position_alone(backend: Backend) -> None:
    """A member's may be nested to the limit at its arrival. It made each read of the project fail."""
    position = (await backend.ask("GET", EVENTS))["position"]
    log = recovery_of(backend.site.server).log
    log.append(new_event(b'["task:move",%b%b]' % (b"[" * 10_000, b"]" * 10_000), ("p",)))
    await backend.ask("POST", EVENTS, MOVE)
    found = await backend.ask("GET", f"{EVENTS}?since={position}")
    assert [(event["event"], event["data"] is None) for event in found["events"]] == [("", True), ("task:move", False)]
    assert found["events"][0]["position"] != found["events"][1]["position"] == found["position"]


async def test_events_of_an_emitter_are_read_with_any_number_of_arguments(backend: Backend) -> None:
    """One of them made each read of the project fail."""
    position = (await backend.ask("GET", EVENTS))["position"]
    for arguments in ((), (1,), (1, [2])):
        backend.site.server.to("p").emit("task:create", *arguments)
    backend.site.server.to("p").emit("another", {"a": "b"})
    found = (await backend.ask("GET", f"{EVENTS}?since={position}"))["events"]
    assert [(event["event"], event["data"]) for event in found] == [
        ("task:create", []),
        ("task:create", {"task": 1}),
        ("task:create", [1, [2]]),
        ("another", {"a": "b"}),
    ]


async def test_attachments_are_read_in_base64(backend: Backend) -> None:
    (alice,) = await backend.site.meet("Alice", project="p")
    position = (await backend.ask("GET", EVENTS))["position"]
    alice.send('451-["canvas:update",{"projectId":"p","changes":{"_placeholder":true,"num":0}}]')
    alice.session.receive_binary(alice.transport, b"\x00\xff")
    (event,) = (await backend.ask("GET", f"{EVENTS}?since={position}"))["events"]
    assert event["data"] == {"changes": {"_placeholder": True, "num": 0}}
    assert event["attachments"] == ["AP8="]


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("since=abc.1", 410, "the log has begun again since"),
        ("since=now", 422, "since: this is not a position"),
        ("since=", 422, "since: this is not a position"),
        ("limit=0", 422, "limit: Expected int >= 1"),
        ("limit=x", 422, "limit: Expected int, got str"),
        ("after=abc.1", 422, "after: there is no such parameter"),
    ],
)
async def test_a_wrong_position_is_refused(backend: Backend, query: str, status: int, detail: str) -> None:
    found = await backend.problem("GET", f"{EVENTS}?{query}")
    assert found[0] == status
    assert found[1].startswith(detail)


# Presence


async def test_the_users_in_a_project_are_listed_once(backend: Backend) -> None:
    await backend.site.meet("Alice", "Bob", "Alice", project="p")
    found = await backend.ask("GET", "/projects/p/presence")
    assert found["count"] == 2
    assert [(user["userId"], user["userName"]) for user in found["users"]] == [("alice", "Alice"), ("bob", "Bob")]
    assert await backend.ask("GET", "/projects/other/presence") == {"users": [], "count": 0}


# Moderation


async def test_a_user_is_removed_from_a_project(backend: Backend) -> None:
    alice, bob = await backend.site.meet("Alice", "Bob", project="p")
    assert await backend.ask("DELETE", "/projects/p/members/alice") == {"connections": 1, "unanswered": []}
    await turn()
    assert received(alice) == [["error", {"message": "You no longer have access to this project", "projectId": "p"}]]
    assert (await backend.ask("GET", "/projects/p/presence"))["count"] == 1
    assert bob.transport.closed_with is alice.transport.closed_with is None


async def test_a_client_is_disconnected(backend: Backend) -> None:
    alice, again = await backend.site.meet("Alice", "Alice")
    assert await backend.ask("DELETE", f"/sockets/{alice.id}") == {"connections": 1, "unanswered": []}
    assert await backend.ask("DELETE", "/sockets/unknown") == {"connections": 0, "unanswered": []}
    await turn()
    assert alice.transport.closed_with is not None
    assert again.transport.closed_with is None


async def test_a_user_is_disconnected(backend: Backend) -> None:
    alice, again, bob = await backend.site.meet("Alice", "Alice", "Bob")
    assert await backend.ask("DELETE", "/users/alice/connections") == {"connections": 2, "unanswered": []}
    await turn()
    assert alice.transport.closed_with is not None
    assert again.transport.closed_with is not None
    assert bob.transport.closed_with is None


@pytest.mark.parametrize(
    ("who", "kind", "name"),
    [
        ("users/alice", "user", "alice"),
        ("users/auth0%7Ca%2Fb", "user", "auth0|a/b"),
        ("addresses/192.0.2.1", "address", "192.0.2.1"),
        ("addresses/2001:db8::1", "address", "2001:db8::/64"),
        ("addresses/2001%3Adb8%3A%3A%2F64", "address", "2001:db8::/64"),
        ("addresses/%22192.0.2.1%22%20", "address", "192.0.2.1"),
    ],
)
async def test_a_block_is_set_and_lifted(backend: Backend, who: str, kind: str, name: str) -> None:
    await backend.ask("PUT", f"/blocks/{who}", {"seconds": 600})
    (block,) = (await backend.ask("GET", "/blocks"))["blocks"]
    assert (block["kind"], block["name"]) == (kind, name)
    assert 590 < block["until"] - time.time() <= 600
    assert (await backend.ask("DELETE", f"/blocks/{who}"))["connections"] == 0
    assert (await backend.ask("GET", "/blocks"))["blocks"] == []
    assert await backend.problem("DELETE", f"/blocks/{who}") == (404, f"this {kind} is not blocked")


@pytest.mark.parametrize(
    ("who", "body", "detail"),
    [
        ("addresses/localhost", {"seconds": 5}, "address: an IP address is expected"),
        ("addresses/192.0.2.1%2F24", {"seconds": 5}, "address: an IP address is expected"),
        ("users/%FF", {"seconds": 5}, "userId: this is not UTF-8, percent-encoded"),
        ("users/alice", {}, "Object missing required field seconds"),
        ("users/alice", {"seconds": 0}, "Expected float >= 1"),
        ("users/alice", {"seconds": 10**9}, "Expected float <= 604800"),
        ("users/alice", {"seconds": 5, "minutes": 1}, "Object contains unknown field minutes"),
    ],
)
async def test_a_wrong_block_is_refused(backend: Backend, who: str, body: Any, detail: str) -> None:
    status, found = await backend.problem("PUT", f"/blocks/{who}", json=body)
    assert status == 422
    assert detail in found


async def test_a_notice_reaches_the_members(backend: Backend) -> None:
    (alice,) = await backend.site.meet("Alice", project="p")
    answer = await backend.ask("POST", "/projects/p/notices", {"message": " Back in a minute "})
    assert answer == {"connections": 1, "unanswered": []}
    await turn()
    ((name, payload, _),) = received(alice)
    assert (name, payload["message"]) == ("server:notice", "Back in a minute")
    blank = await backend.problem("POST", "/projects/p/notices", json={"message": " "})
    assert blank == (422, "message: must not be blank")
    to_one = await backend.problem("POST", f"/projects/{alice.id}/notices", json={"message": "Hi"})
    assert to_one == (422, "projectId: this is the id of a socket, and a notice is for a project")


# State


async def test_the_state_of_the_instances(backend: Backend) -> None:
    await backend.site.meet("Alice", "Alice", "Bob", project="p")
    found = await backend.ask("GET", "/cluster")
    (instance,) = found["instances"]
    assert instance["id"] == backend.instance.id
    assert (instance["status"], instance["reason"]) == ("healthy", None)
    assert (instance["connections"], instance["users"], instance["projects"]) == (3, 2, 1)
    assert found["unanswered"] == []
