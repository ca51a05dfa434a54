"""Questions to all instances, through a real Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.logs import capture_logs
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.app.all_instances import AllInstances, InstanceReplies, Topic
from synkora.app.cluster import Cluster
from synkora.app.console.rpc_messages import CONNECTIONS, LOG, PROJECTS
from synkora.app.moderation import COUNT, DISCONNECT, ProjectNamed, SocketNamed
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.protocol.errors import InvalidPayload, ProtocolError

ASKED = ProjectNamed("p1")


@pytest.fixture
async def fleets(redis: RedisServer) -> AsyncIterator[list[AllInstances]]:
    """Three instances that know of each other, with this many members in a project."""
    clusters = [Cluster(redis.url, "socket.io", FailureBackoff(3)) for _ in range(3)]
    fleets = []
    for number, cluster in enumerate(clusters):
        await cluster.__aenter__()
        fleets.append(AllInstances(cluster.link.uid, cluster.rpc))

        async def count(named: ProjectNamed, number: int = number) -> int:
            assert named == ASKED
            return number

        fleets[-1].answer(COUNT, count)
    await until(lambda: all(len(fleet.others) == 2 for fleet in fleets))
    yield fleets
    for cluster in clusters:
        await cluster.leave()
        await cluster.__aexit__(None, None, None)


async def test_all_are_asked(fleets: list[AllInstances]) -> None:
    """The asking instance answers too, by a plain call. Each answer has its instance's name."""
    everyone = {fleet.id: number for number, fleet in enumerate(fleets)}
    found = await asyncio.gather(*(fleet.ask(COUNT, ASKED) for fleet in fleets))
    assert list(found) == [(everyone, [])] * 3
    assert fleets[0].others == sorted(fleet.id for fleet in fleets[1:])


async def test_one_is_asked(fleets: list[AllInstances]) -> None:
    """This instance, or another one. An unknown instance does not answer."""
    first, second, _ = fleets
    assert await first.ask(COUNT, ASKED, first.id) == ({first.id: 0}, [])
    assert await first.ask(COUNT, ASKED, second.id) == ({second.id: 1}, [])
    assert await first.ask(COUNT, ASKED, "nobody") == ({}, ["nobody"])


async def test_an_instance_without_a_console_is_skipped(fleets: list[AllInstances]) -> None:
    first, second, third = fleets

    async def disconnect(_: SocketNamed) -> bool:
        return False

    for fleet in (first, second):
        fleet.answer(DISCONNECT, disconnect)
    assert await first.ask(DISCONNECT, SocketNamed("x")) == (
        {first.id: False, second.id: False},
        [third.id],
    )


async def test_an_answer_of_another_version_is_left_out(fleets: list[AllInstances]) -> None:
    first, second, third = fleets
    assert second._rpc is not None

    async def answer_otherwise(_: bytes) -> bytes:
        return b'{"count":1}'

    second._rpc.on(COUNT.name, answer_otherwise)
    with capture_logs() as logs:
        assert await first.ask(COUNT, ASKED) == ({first.id: 0, third.id: 2}, [second.id])
    assert [(entry["event"], entry["instance"]) for entry in logs] == [("console_answer_unreadable", second.id)]


async def test_a_server_that_is_alone() -> None:
    fleet = AllInstances("me", None)

    async def count(_: ProjectNamed) -> int:
        return 5

    fleet.answer(COUNT, count)
    assert await fleet.ask(COUNT, ASKED) == InstanceReplies({"me": 5}, [])
    assert await fleet.ask(COUNT, ASKED, "me") == InstanceReplies({"me": 5}, [])
    assert await fleet.ask(COUNT, ASKED, "other") == ({}, ["other"])
    assert fleet.others == []


CONNECTION = {
    "socketId": "s",
    "instance": "i",
    "userId": "u",
    "userName": "U",
    "transport": "polling",
    "address": "",
    "since": 1.5,
    "projects": [],
    "projectCount": 0,
    "waiting": 0,
    "received": 0,
}
PROJECT = {"projectId": "p", "users": 1, "connections": 1, "instances": []}


def rows(*rows: list[Any], total: int = 1) -> dict[str, Any]:
    return {"total": total, "matched": 1, "rows": list(rows)}


def test_answers_as_they_ought_to_be() -> None:
    CONNECTIONS.answers.decode(json.dumps(rows([1.5, "", "s", CONNECTION])).encode())
    PROJECTS.answers.decode(json.dumps(rows([0, "p", "p", PROJECT])).encode())


@pytest.mark.parametrize(
    ("topic", "answer"),
    [
        (CONNECTIONS, rows(["x", "", "s", CONNECTION])),
        (CONNECTIONS, rows([1, 2, "s", CONNECTION])),
        (CONNECTIONS, rows([1, "", "s", 5])),
        (CONNECTIONS, rows([1, "", "s", {**CONNECTION, "projects": 5}])),
        (CONNECTIONS, rows(total=-9)),
        (CONNECTIONS, rows(total=10**300)),
        (CONNECTIONS, rows(*[[1, "", "s", CONNECTION]] * 1001)),
        (PROJECTS, rows([0, "p", "p", 5])),
        (PROJECTS, rows([0, 7, "p", PROJECT])),
        (LOG, {"last": 10**15, "entries": []}),
        (LOG, {"last": -1, "entries": []}),
        (COUNT, -5),
        (COUNT, 10**100),
    ],
)
def test_invalid_answers_are_ignored(topic: Topic[Any, Any], answer: Any) -> None:
    """They count as missing, and the others are returned."""
    with pytest.raises((ProtocolError, InvalidPayload)):
        topic.answers.decode(json.dumps(answer).encode())


CONNECTIONS_SOUGHT = {"search": "", "project": "", "transport": "", "sort": "since", "is_descending": False, "most": 5}
PROJECTS_SOUGHT = {"search": "", "sort": "users", "is_descending": False, "most": 5}


@pytest.mark.parametrize(
    ("topic", "question"),
    [
        *((CONNECTIONS, {**CONNECTIONS_SOUGHT, "most": most}) for most in (0, -1, 1001, 10**30)),
        *((CONNECTIONS, {**CONNECTIONS_SOUGHT, "sort": sort}) for sort in ("nope", "__class__", "")),
        (CONNECTIONS, {**CONNECTIONS_SOUGHT, "search": "x" * 201}),
        (CONNECTIONS, {**CONNECTIONS_SOUGHT, "transport": "pigeon"}),
        (PROJECTS, {**PROJECTS_SOUGHT, "most": 0}),
        (PROJECTS, {**PROJECTS_SOUGHT, "sort": "since"}),
        (PROJECTS, {**PROJECTS_SOUGHT, "search": "x" * 201}),
    ],
)
def test_invalid_requests_are_not_answered(topic: Topic[Any, Any], question: Any) -> None:
    topic.questions.decode(json.dumps(CONNECTIONS_SOUGHT if topic is CONNECTIONS else PROJECTS_SOUGHT).encode())
    with pytest.raises(InvalidPayload):
        topic.questions.decode(json.dumps(question).encode())
