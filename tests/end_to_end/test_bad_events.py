"""Well-formed JSON with invalid content: its sender gets an `error` event, and no other client is affected."""

from typing import Any

import pytest
from tests.end_to_end.bystanders import Bystanders
from tests.end_to_end.raw import RawClient
from tests.end_to_end.relays import ROWS, VOLATILE
from tests.support.users import PROJECT

RELAYED = [row.event for row in ROWS]
REQUIRED = "Project ID is required"

# What stands behind the event's name, and what has to be in the answer.
PAYLOADS: dict[str, tuple[list[Any], str]] = {
    "no payload": ([], ""),
    "null": ([None], ""),
    "a string": (["text"], ""),
    "an array": ([[PROJECT]], ""),
    "an empty array": ([[]], ""),
    "a number": ([42], ""),
    "true": ([True], ""),
    "no project id": ([{}], REQUIRED),
    "an empty project id": ([{"projectId": ""}], REQUIRED),
    "a project id of null": ([{"projectId": None}], REQUIRED),
    "a number for a project id": ([{"projectId": 42}], ""),
    "an object for a project id": ([{"projectId": {"$ne": None}}], ""),
    "an array for a project id": ([{"projectId": [PROJECT]}], ""),
    "a project id of 300 characters": ([{"projectId": "p" * 300}], "200"),
}
PROJECT_IDS: dict[str, tuple[list[Any], str]] = {
    "no project id": ([], REQUIRED),
    "null": ([None], REQUIRED),
    "an empty string": ([""], REQUIRED),
    "a number": ([42], ""),
    "an object": ([{"projectId": PROJECT}], ""),
    "an array": ([[PROJECT]], ""),
    "300 characters": (["p" * 300], "200"),
    "201 characters": (["ü" * 201], "200"),
}


async def expect_error(client: RawClient, words: str) -> None:
    """Check that the next event is an error whose message contains these words."""
    error = await client.expect("error")
    assert isinstance(error["message"], str)
    assert error["message"].strip()
    assert words in error["message"]


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_relay_with_a_bad_payload_is_answered(mallory: RawClient, bystanders: Bystanders, payload: str) -> None:
    """Each event of the app has a message, and the connection stays open."""
    arguments, words = PAYLOADS[payload]
    for event in RELAYED:
        await mallory.emit(event, *arguments)
        await expect_error(mallory, words)
    await mallory.goes_on()
    await bystanders.notice_nothing()


async def test_a_volatile_event_needs_a_join(mallory: RawClient, bystanders: Bystanders) -> None:
    """Cursors and typing for a project that the client has not joined are refused with a message."""
    for event in VOLATILE:
        await mallory.emit(event, {"projectId": "not joined"})
        await expect_error(mallory, f"{event}: join the project first")
    await mallory.goes_on()
    await bystanders.notice_nothing()


@pytest.mark.parametrize("project_id", PROJECT_IDS)
@pytest.mark.parametrize("event", ["join-project", "leave-project"])
async def test_a_bad_project_id_is_answered(
    mallory: RawClient, bystanders: Bystanders, event: str, project_id: str
) -> None:
    """Joins and leaves take a string of 1 to 200 characters. The connection stays open."""
    arguments, words = PROJECT_IDS[project_id]
    await mallory.emit(event, *arguments)
    await expect_error(mallory, words)
    await mallory.goes_on()
    await bystanders.notice_nothing()


@pytest.mark.parametrize(
    "project_id", ["p" * 200, "ü" * 200, "🚀" * 200, "a b/c,d\n\u0000", "__proto__", "constructor"]
)
async def test_any_string_of_up_to_200_characters_is_a_project(mallory: RawClient, project_id: str) -> None:
    await mallory.join(project_id)
    await mallory.emit("task:create", {"projectId": project_id, "task": 1})
    await mallory.goes_on()
    await mallory.emit("leave-project", project_id)
    await mallory.goes_on()


@pytest.mark.parametrize("of_whom", ["alice", "bob"])
async def test_a_client_cannot_join_another_sockets_own_room(
    mallory: RawClient, bystanders: Bystanders, of_whom: str
) -> None:
    """With a project named like a socket's id, Mallory could write to, and listen to, that connection."""
    victim = getattr(bystanders, of_whom)
    await mallory.emit("join-project", victim.id)
    await mallory.carrier.receive()
    await mallory.emit("task:create", {"projectId": victim.id, "task": {"forged": True}})
    await mallory.carrier.receive()
    await bystanders.notice_nothing()


UNKNOWN = (
    "no such event",
    "",
    "__proto__",
    "toString",
    "task:created",
    "x" * 100_000,
    "\u0000\n\x1b[31m",
    "ünïcode 🚀",
)


@pytest.mark.parametrize("event", UNKNOWN, ids=range(len(UNKNOWN)))
async def test_an_unknown_event_is_answered(mallory: RawClient, bystanders: Bystanders, event: str) -> None:
    await mallory.emit(event, {"projectId": PROJECT})
    error = await mallory.expect("error")
    assert "nknown event" in error["message"]
    assert len(str(error)) < 1000
    await mallory.goes_on()
    await bystanders.notice_nothing()


async def test_events_of_the_server_are_refused_from_clients(mallory: RawClient, bystanders: Bystanders) -> None:
    for event in ("connected", "users:active", "user:left", "server:shutdown", "error", "pong"):
        await mallory.emit(event, {"projectId": PROJECT, "message": "forged"})
        await expect_error(mallory, "nknown event")
    await mallory.goes_on()
    await bystanders.notice_nothing()


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


NESTED = (
    f'["task:create",{{"projectId":"{PROJECT}","task":{nested(10_000)}}}]',
    f'["canvas:cursor",{{"projectId":"{PROJECT}","position":{nested(10_000)}}}]',
    f'["canvas:cursor",{{"projectId":"{PROJECT}","ignored":{nested(10_000)}}}]',
    f'["join-project",{nested(10_000)}]',
    f'["no such event",{nested(10_000)}]',
    f'["task:\\u0063reate",{nested(10_000)}]',
    f"[{nested(10_000)}]",
    f'["task:create",{"{" + chr(34) + "a" + chr(34) + ":"}' * 10_000 + "1" + "}" * 10_000 + "]",
)


@pytest.mark.parametrize("packet", NESTED, ids=range(len(NESTED)))
async def test_ten_thousand_nested_arrays_are_refused(mallory: RawClient, bystanders: Bystanders, packet: str) -> None:
    """They are answered, and not relayed, since a recipient's decoder might fail."""
    await mallory.carrier.send("42" + packet)
    await expect_error(mallory, "")
    await mallory.goes_on()
    await bystanders.notice_nothing()


async def test_a_ping_with_arguments_is_a_ping(mallory: RawClient, bystanders: Bystanders) -> None:
    odd: list[list[Any]] = [[None], [{}], [1, 2, 3], ["x" * 1000]]
    for arguments in odd:
        await mallory.emit("ping", *arguments)
        await mallory.expect("pong")
    await bystanders.notice_nothing()


async def test_numbers_are_relayed_digit_for_digit(mallory: RawClient, bystanders: Bystanders) -> None:
    """Numbers that JavaScript cannot write are relayed or refused, and break no client."""
    for number in ("12345678901234567890123", "1e400", "-0.0", "0." + "1" * 400):
        await mallory.carrier.send(f'42["canvas:update",{{"projectId":"{PROJECT}","changes":{number}}}]')
        await mallory.goes_on()
        for client in (bystanders.alice, bystanders.bob):
            assert (await client.next())[0] == "canvas:update"
    await bystanders.notice_nothing()
