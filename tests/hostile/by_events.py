"""Hostile kinds: events, joins and leaves."""

import asyncio
import contextlib
import json
from typing import Any

from tests.hostile.attacker import Attacker
from tests.hostile.floods import FLOOD, flood
from tests.support.users import SECRET
from tests.support.wire import BINARY, TEXT, client_frame

from synkora.collaboration.events import CATALOGUE
from synkora.identity.tokens import sign

_NESTED = b"," + b",".join([b"[" * 100 + b"]" * 100] * 98)  # arrays, just below what is decoded


async def wrong_shapes(a: Attacker) -> None:
    """Each event of the catalogue without a payload, and with invalid payloads."""
    async with a.member() as socket:
        payloads: list[list[Any]] = [[], [None], [[]], ["x"], [1], [{}], [{"projectId": None}], [{"projectId": {}}]]
        for event in CATALOGUE:
            for payload in payloads:
                a.count()
                await socket.emit(event.name, *payload)
                await socket.until_event("error")
        await a.expect_life(socket)


async def wrong_project_ids(a: Attacker) -> None:
    """Joins and leaves with invalid ids, or other connections' ids."""
    async with a.websocket() as other, a.member() as socket:
        public = await other.connect(a.token)
        project_ids: list[Any] = [None, 1, 1.5, True, {}, [], "", "p" * 201, {"projectId": "x"}, public]
        for project_id in project_ids:
            for event in ("join-project", "leave-project"):
                a.count()
                await socket.emit(event, project_id)
                await asyncio.sleep(0.05)
        await a.expect_life(socket)


async def others_projects(a: Attacker) -> None:
    """Volatile events for projects with members that the sender has not joined."""
    async with a.member() as socket:
        for victim in a.victims:
            for event in filter(lambda event: event.volatile, CATALOGUE):
                content = {"by": "hostile", "in": victim, "number": 1, "at": 0}
                fields = dict.fromkeys((event.whole, *event.fields), content)
                a.count()
                await socket.emit(event.name, {"projectId": victim, **{k: v for k, v in fields.items() if k}})
                answer = await socket.until_event("error")
                assert "join" in answer["message"] or "slow down" in answer["message"], answer
            a.count()
            await socket.emit("leave-project", victim)
        await a.expect_life(socket)


async def borrowed_names(a: Attacker) -> None:
    """Payloads with a forged sender, for the sender's own project."""
    async with a.member() as socket, a.member() as listener:
        for event in CATALOGUE:
            if event.sender:
                a.count()
                lies = {"socketId": "victim", "userId": "victim", "userName": "Victim", "projectId": a.project}
                await socket.emit(event.name, lies)
                heard = await listener.until_event(event.name)
                assert "victim" not in json.dumps(heard), heard


async def joins_without_end(a: Attacker) -> None:
    """Very many projects of one connection."""
    async with a.member() as socket:
        a.count(FLOOD // 2)
        try:
            for number in range(FLOOD // 2):
                await socket.emit("join-project", f"{a.project}-{number}")
        except ConnectionError:
            pass


async def joins_and_leaves(a: Attacker) -> None:
    """Repeated joins and leaves of one project."""
    async with a.member() as socket:
        for _ in range(20):
            a.count(2)
            await socket.emit("join-project", a.project)
            await socket.emit("leave-project", a.project)


async def crowds_of_one_user(a: Attacker) -> None:
    """Many connections of one user that open and close together."""
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.member()) for _ in range(10)]
        for _ in range(3):
            for event in ("leave-project", "join-project"):
                a.count(len(crowd))
                for socket in crowd:
                    await socket.emit(event, a.project)
            await asyncio.sleep(1.1)  # so that their leaves are announced
        await a.expect_life(crowd[0])


async def projects_without_end_of_a_deaf_client(a: Attacker) -> None:
    """Joins and leaves of many projects by a client that does not read."""
    async with a.member(slow=True) as deaf:
        for number in range(25):
            a.count(2)
            await deaf.emit("join-project", f"{a.project}-{number}")
            await deaf.emit("leave-project", f"{a.project}-{number}")
        await a.expect_life(deaf)


async def edits_of_very_many_projects(a: Attacker) -> None:
    """Edits to ever more projects that the client has not joined."""
    async with a.member() as socket:
        for number in range(100):
            a.count()
            await socket.emit("task:delete", {"projectId": f"{a.project}-{number}", "taskId": "x" * 1000})
        await a.expect_life(socket)


async def crowds_beside_a_deaf_member(a: Attacker) -> None:
    """Members that repeatedly join and leave beside one that does not read, and is not disconnected because of them."""
    async with a.member(slow=True) as deaf:
        await deaf.emit("join-project", a.project)
        for _ in range(5):
            async with a.member() as socket:
                for _ in range(20):
                    a.count(2)
                    await socket.emit("join-project", a.project)
                    await socket.emit("leave-project", a.project)
                await a.expect_life(socket)
        await a.expect_life(deaf)


async def event_floods(a: Attacker) -> None:
    """Events without a pause. A client that continues is disconnected."""
    name = a.pick("canvas:cursor", "task:update", "ping", "nobody")
    data = b"42" + json.dumps([name, {"projectId": a.project, "x": 1}]).encode()
    await flood(a, FLOOD, client_frame(TEXT, data) * FLOOD)


async def large_edits(a: Attacker) -> None:
    """Repeated edits of the largest size."""
    async with a.member() as socket:
        for _ in range(3):  # what the rate of bytes lets through at once
            a.count()
            await socket.emit("canvas:update", {"projectId": a.project, "changes": "x" * 900_000})
        await a.expect_life(socket)


async def floods_of_large_edits(a: Attacker) -> None:
    """Edits of very many small values without a pause. A client that continues is disconnected."""
    changes = b",".join([b"[]"] * 300_000)
    data = b'42["canvas:update",{"projectId":"%b","changes":[%b]}]' % (a.project.encode(), changes)
    await flood(a, 40, *[client_frame(TEXT, data)] * 40)


async def floods_of_binary_edits(a: Attacker) -> None:
    """Edits with an attachment and very many small values, nested or not. A client that continues is disconnected."""
    for value, size in ((b",[]", 19_000), (b",[]", 2900), (b"," + b"[" * 400 + b"]" * 400, 3900)):
        changes = b'{"_placeholder":true,"num":0}' + value * (size // len(value))
        data = b'451-["canvas:update",{"projectId":"%b","changes":[%b]}]' % (a.project.encode(), changes)
        await flood(a, 40, *[client_frame(TEXT, data) + client_frame(BINARY, b"x")] * 40)


async def crowds_that_write(a: Attacker) -> None:
    """Several connections of one user in one project, each at its limits."""
    edit = json.dumps(["task:create", {"projectId": a.project, "task": "x" * 30_000}]).encode()
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.member()) for _ in range(6)]
        for _ in range(10):
            for socket in crowd:
                a.count()
                await socket.send_text(b"42" + edit)


async def crowds_in_one_turn(a: Attacker) -> None:
    """Several connections of one user that send many refused events at the same time."""
    refused = client_frame(TEXT, b'42["canvas:cursor",{"projectId":"not joined","position":{}}]')
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.member()) for _ in range(8)]
        for _ in range(3):
            for socket in crowd:
                a.count(40)
                await socket.send(refused * 40)
            await asyncio.sleep(0.1)
        await a.expect_life(crowd[-1])


async def halves_of_pairs(a: Attacker) -> None:
    """Edits with very many halves of surrogate pairs. A client that continues is disconnected."""
    edit = b'42["task:create",{"projectId":"%b","task":"%b"}]' % (a.project.encode(), rb"\ud83d" * 9_000)
    await flood(a, FLOOD // 2, client_frame(TEXT, edit) * (FLOOD // 2))


async def half_and_private_use(a: Attacker) -> None:
    """Large edits with one half of a surrogate pair, and small values or characters that could stand for the half."""
    async with a.member() as socket:
        for text in (rb'"\ud83d%b"' % (rb"\ue000" * 60_000), rb'"\ud83d%b"' % ("\ue001".encode() * 100_000)):
            a.count()
            await socket.send_text(b'42["canvas:update",{"projectId":"%b","changes":%b}]' % (a.project.encode(), text))
        for values in (b",0" * 10_000, b",[]" * 6_600, b',{"a":1}' * 2_500, _NESTED):
            a.count()
            await socket.send_text(rb'42["ping","\ud83d"%b]' % values)
        await a.expect_life(socket)


async def tasks_of_very_many_fields(a: Attacker) -> None:
    """Updates whose fields say what they replace, each with a half of a surrogate pair in its name."""
    fields = b"".join(rb',"\ud83d%d":0' % number for number in range(4000))
    update = b'42["task:update",{"projectId":"%b","task":{"id":"t"%b}}]' % (a.project.encode(), fields)
    async with a.member() as socket:
        for _ in range(3):
            a.count()
            await socket.send_text(update)
        await a.expect_life(socket)


async def half_in_a_name(a: Attacker) -> None:
    """Large events of a user whose name has halves of surrogate pairs."""
    token = sign({"id": f"{a.project}-halves", "name": "\ud83d" * 100}, SECRET, expires_in=3600)
    async with a.websocket() as socket:
        await socket.connect(token)
        await socket.emit("join-project", a.project)
        await socket.until_event("users:count")
        for character in (rb"\ue000", "\ue001".encode()):
            a.count()
            context = character * (900_000 // len(character))
            await socket.send_text(
                b'42["typing:start",{"projectId":"%b","context":"%b"}]' % (a.project.encode(), context)
            )
        await a.expect_life(socket)
