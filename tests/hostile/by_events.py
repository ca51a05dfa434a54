"""Hostile kinds: Socket.IO packets, tokens, and events."""

import asyncio
import base64
import contextlib
import json
import time
from typing import Any

from tests.hostile.attacker import Attacker
from tests.identity.forge import encrypted, segment, signed
from tests.support.users import SECRET
from tests.support.wire import BINARY, TEXT, Refused, WebSocket, client_frame

from synkora.collaboration.events import CATALOGUE
from synkora.identity.cookies import SESSION_COOKIES
from synkora.identity.tokens import sign

_LARGE = 10_000
_FLOOD = 1000  # events: more than may come at once, and than who keeps on may be refused


def _placeholder(number: Any) -> dict[str, Any]:
    return {"_placeholder": True, "num": number}


async def _each_ends(a: Attacker, *packets: bytes, connected: bool = True) -> None:
    for packet in packets:
        async with a.websocket() as socket:
            a.count()
            if connected:
                await socket.connect(a.token)
            await socket.send_text(packet)
            await a.expect_end(socket)


async def _each_answered(a: Attacker, *events: bytes) -> None:
    """Send events that must each be answered with an `error`, over one connection that stays open."""
    async with a.member() as socket:
        for event in events:
            a.count()
            await socket.send_text(b"42" + event)
            answer = await socket.until_event("error")
            assert answer["message"], event[:60]
            await asyncio.sleep(0.05)  # below the rate of events: each is answered by its own refusal
        await a.expect_life(socket)


async def _flood(a: Attacker, count: int, *writes: bytes) -> None:
    """Write without a pause as a member. A client that continues is disconnected."""
    async with a.member() as socket:
        a.count(count)
        try:
            for data in writes:
                await socket.send(data)
        except ConnectionError:
            return
        await a.expect_end(socket)


async def _attachment_ends(a: Attacker, packet: bytes, data: bytes) -> None:
    """Send a packet with one attachment as a member, which ends the connection."""
    async with a.member() as socket:
        a.count(2)
        await socket.send_text(packet)
        await socket.send_binary(data)
        await a.expect_end(socket)


async def bad_packets(a: Attacker) -> None:
    """Invalid Socket.IO headers."""
    await _each_ends(
        a,
        *(b"4", b"47", b"49[]", b"4x", b"42", b"42{}", b'42"x"', b"42[", b"45[]", b"45-[]", b"451[]", b"45999-[]"),
        *(b'451-"x"', b"45-1-[]", b"41[]", b"42" + b"9" * 400 + b"[]", b"42/nsp", b"43", b"43[]"),
    )


async def before_connecting(a: Attacker) -> None:
    """First packets other than CONNECT, and CONNECT with an invalid payload."""
    await _each_ends(
        a, b'42["ping"]', b"41", b"430[]", b"44{}", b'451-["a"]', b"40[]", b'40"x"', b"40{", b"40nul", connected=False
    )


async def what_only_servers_send(a: Attacker) -> None:
    """CONNECT_ERROR from a client."""
    await _each_ends(a, b'44{"message":"no"}', b"44")


async def second_connect(a: Attacker) -> None:
    """A CONNECT to a namespace that the client has joined."""
    async with a.member() as socket:
        for packet in (b"40", b'40{"token":"x"}', b"40/," + b'{"token":"x"}'):
            a.count()
            await socket.send_text(packet)
        await a.expect_life(socket)


async def heavy_connects(a: Attacker) -> None:
    """CONNECTs with very many small values, with and without a token, and again after a DISCONNECT."""
    values = b"[]," * 20_000 + b"[]"
    async with a.websocket() as stranger:
        a.count()
        await stranger.send_text(b'40{"token":"x","values":[%b]}' % values)
        await stranger.packet()
    async with a.websocket() as socket:
        for _ in range(2):
            a.count()
            await socket.send_text(b'40{"token":"%b","values":[%b]}' % (a.token.encode(), values))
            await socket.until_event("connected")
            await socket.send_text(b"41")
        await socket.connect(a.token)
        await a.expect_life(socket)
        a.count(2)
        await socket.send_text(b"41")
        await socket.send_text(b'40{"values":[%b]}' % (values * 2))
        await a.expect_end(socket)


async def large_packets_without_use(a: Attacker) -> None:
    """Packets that no limit on events counts, each of the largest size."""
    packet = a.pick(
        b'40{"x":"' + b"x" * 60_000 + b'"}',
        b"40/" + b"x" * 60_000 + b",",
        b'42[ "x",' + b"[]," * 14_000 + b"[" * 10_000 + b"]" * 10_000 + b"]",
    )
    await _flood(a, 100, client_frame(TEXT, packet) * 100)


async def unknown_namespaces(a: Attacker) -> None:
    """CONNECT to unknown namespaces, and events for them."""
    a.count(106)
    async with a.websocket() as socket:
        for name in ("/admin", "/" + "n" * 5000, "/..", "/\u202e", "/%2f", *(f"/n{number}" for number in range(100))):
            await socket.send_text(b"40" + name.encode() + b",{}")
            assert (await socket.packet()).startswith(b"44")
        await socket.connect(a.token)
        await socket.send_text(b'42/admin,["ping"]')
        await a.expect_end(socket)


async def bad_json(a: Attacker) -> None:
    """Events with invalid JSON: NaN, truncated text, control characters, trailing data."""
    project = a.project.encode()
    await _each_ends(
        a,
        b'42["canvas:update",{"projectId":"%b","changes":NaN}]' % project,
        b'42["canvas:update",{"projectId":"%b","changes":-Infinity}]' % project,
        b'42["canvas:update",{"projectId":"%b","changes":[1,]}]' % project,
        b'42["canvas:update",{"projectId":"%b","changes":1' % project,
        b'42["canvas:update",{"projectId":"%b","changes":"a\x00b"}]' % project,
        b'42["canvas:update",{"projectId":"%b"}]]' % project,
        b"42['ping']",
        b'42["ping",undefined]',
        b'42["nobody",{"a":00}]',
        b'42["\\x41"]',
    )


async def deep_nesting(a: Attacker) -> None:
    """JSON of a hundred thousand levels."""
    depth = 100_000
    deep = b"[" * depth + b"]" * depth
    await _each_answered(
        a,
        b'["canvas:update",{"projectId":"%b","changes":%b}]' % (a.project.encode(), deep),
        b'["nobody",%b]' % deep,
        b'["ping",%b]' % (b'{"a":' * depth + b"1" + b"}" * depth),
        b'["join-project",%b]' % deep,
        b'["auth:refresh",%b]' % deep,
        b'["task:\\u0063reate",%b]' % deep,
        b"[%b]" % deep,
        b'["canvas:cursor",{"projectId":"%b","ignored":%b}]' % (a.project.encode(), deep),
    )


async def large_numbers(a: Attacker) -> None:
    """Numbers out of range, in the app's data and in fields that the server reads."""
    await _each_answered(
        a,
        b'["nobody",%b]' % (b"9" * _LARGE),
        b'["join-project",1e400]',
        b'["task:move",{"projectId":%b}]' % (b"1" * 500),
    )


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
        a.count(_FLOOD // 2)
        try:
            for number in range(_FLOOD // 2):
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
    await _flood(a, _FLOOD, client_frame(TEXT, data) * _FLOOD)


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
    await _flood(a, 40, *[client_frame(TEXT, data)] * 40)


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


async def _session(a: Attacker, socket: WebSocket, pid: str | None = None) -> str:
    """Connect, or return to a session. Returns the id of the session."""
    returning = {} if pid is None else {"pid": pid}
    await socket.send_text(b"40" + json.dumps({"token": a.token, **returning}).encode())
    while not (answer := await socket.packet()).startswith(b"40"):
        pass
    found: str = json.loads(answer[2:])["pid"]
    return found


async def connects_without_end(a: Attacker) -> None:
    """Several connections of one user that leave the namespace and return, each time with a token to verify."""
    connect = client_frame(TEXT, b"40" + json.dumps({"token": a.token}).encode())
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.websocket()) for _ in range(4)]
        for _ in range(40):
            for socket in crowd:
                a.count()
                await socket.send(connect, client_frame(TEXT, b"41"))
            await asyncio.sleep(0.01)


async def made_up_pids(a: Attacker) -> None:
    """Returns to sessions that never were, without a token and with one."""
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.websocket()) for _ in range(8)]
        for socket in crowd:
            a.count()
            await socket.send_text(b'40{"pid":"made up"}')
        for socket in crowd:
            answer = await socket.packet()
            assert answer.startswith(b"44"), answer[:60]
        a.count()
        await _session(a, crowd[0], "made up")
        await a.expect_life(crowd[0])


async def returns_without_reading(a: Attacker) -> None:
    """Many sessions of one user, lost and returned repeatedly, whose replays are not read."""
    pids = []
    for _ in range(5):
        async with a.websocket() as socket:
            pids.append(await _session(a, socket))
            await socket.emit("join-project", a.project)
            await socket.until_event("users:count")
    async with a.member() as socket:
        for _ in range(30):
            a.count()
            await socket.emit("canvas:update", {"projectId": a.project, "changes": "x" * 30_000})
        await a.expect_life(socket)
    async with contextlib.AsyncExitStack() as stack:
        for pid in pids:
            a.count()
            returned = await stack.enter_async_context(a.websocket(slow=True))
            await returned.send_text(b"40" + json.dumps({"token": a.token, "pid": pid}).encode())
        await asyncio.sleep(0.5)


async def returns_past_own_events(a: Attacker) -> None:
    """A session that is repeatedly lost and recovered, each time after very many own events."""
    pid = None
    for _ in range(5):
        async with a.websocket() as socket:
            a.count()
            pid = await _session(a, socket, pid)
            await socket.emit("join-project", a.project)
            for _ in range(200):
                await socket.emit("canvas:update", {"projectId": a.project, "changes": 1})
            await a.expect_life(socket)


async def halves_of_pairs(a: Attacker) -> None:
    """Edits with very many halves of surrogate pairs. A client that continues is disconnected."""
    edit = b'42["task:create",{"projectId":"%b","task":"%b"}]' % (a.project.encode(), rb"\ud83d" * 9_000)
    await _flood(a, _FLOOD // 2, client_frame(TEXT, edit) * (_FLOOD // 2))


async def half_and_private_use(a: Attacker) -> None:
    """Large edits with one half of a surrogate pair, and small values or characters that could stand for the half."""
    async with a.member() as socket:
        for text in (rb'"\ud83d%b"' % (rb"\ue000" * 150_000), rb'"\ud83d%b"' % ("\ue001".encode() * 300_000)):
            a.count()
            await socket.send_text(b'42["canvas:update",{"projectId":"%b","changes":%b}]' % (a.project.encode(), text))
        for values in (b",0" * 30_000, b",[]" * 20_000, b',{"a":1}' * 8_000):
            a.count()
            await socket.send_text(rb'42["ping","\ud83d"%b]' % values)
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


async def bad_attachments(a: Attacker) -> None:
    """Too many, missing or unexpected attachments, and invalid placeholders."""
    await _each_ends(a, b'4511-["canvas:update",{}]', b'452-["a"]' + b"x")
    for placeholder in (9, -1, "0", None, 1e9, 0.5, True):
        event = ["canvas:update", {"projectId": a.project, "changes": _placeholder(placeholder)}]
        await _attachment_ends(a, b"451-" + json.dumps(event).encode(), b"data")
    for frames in (
        client_frame(BINARY, b"nobody asked"),
        client_frame(TEXT, b'451-["a",{"_placeholder":true,"num":0}]') + client_frame(TEXT, b'42["ping"]'),
    ):
        async with a.member() as socket:
            a.count()
            await socket.send(frames)
            await a.expect_end(socket)


async def deep_nesting_with_attachments(a: Attacker) -> None:
    """Edits with an attachment that are nested so deeply that only some of the decoders can read them."""
    async with a.member() as socket, a.member() as other:
        for depth in (400, 700, 940, 5000):
            a.count(2)
            nested = b"[" * depth + json.dumps(_placeholder(0)).encode() + b"]" * depth
            payload = b'{"projectId":"%b","changes":%b}' % (a.project.encode(), nested)
            await socket.send_text(b'451-["canvas:update",%b]' % payload)
            await socket.send_binary(b"data")
        await a.expect_life(socket)
        await a.expect_life(other)


async def repeated_attachments(a: Attacker) -> None:
    """Attachments with very many placeholders or none: in edits, unknown events, and acks."""
    placeholders = ",".join([json.dumps(_placeholder(0))] * _FLOOD).encode()
    payload = b'{"projectId":"%b","changes":[%b]}' % (a.project.encode(), placeholders)
    for event in (b'51-["canvas:update",%b]' % payload, b'51-["nobody",%b]' % placeholders, b"61-0[%b]" % placeholders):
        await _attachment_ends(a, b"4" + event, b"x" * 100_000)
    await _attachment_ends(a, b'451-["canvas:update",{"projectId":"%b","changes":1}]' % a.project.encode(), b"x")


async def attachments_that_never_come(a: Attacker) -> None:
    """Packets that announce ten attachments and get nine."""
    async with a.member() as socket:
        a.count(10)
        await socket.send_text(b'4510-["canvas:update",{"projectId":"%b"}]' % a.project.encode())
        for _ in range(9):
            await socket.send_binary(b"x" * 50_000)
        await asyncio.sleep(a.chance.random())


async def unasked_acks(a: Attacker) -> None:
    """Unexpected acks."""
    async with a.member() as socket:
        for number in (0, 1, 999, 10**14):
            a.count(2)
            await socket.send_text(b"43%d[1,2]" % number)
            await socket.send_text(b'461-%d[{"_placeholder":true,"num":0}]' % number)
            await socket.send_binary(b"x")
        await a.expect_life(socket)


async def acks_wanted_for_everything(a: Attacker) -> None:
    """Events with ack ids of all sizes, and repeated ids."""
    async with a.member() as socket:
        for number in (0, 0, 5, 10**14, *range(20)):
            a.count()
            await socket.send_text(b'42%d["nobody"]' % number)
        await a.expect_life(socket)


async def reserved_names(a: Attacker) -> None:
    """Events with Socket.IO's reserved names, and without a name."""
    names = ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
    await _each_ends(a, *(b"42" + json.dumps([name]).encode() for name in names), b"42[]", b"42[null]", b"42[{}]")


async def strange_names(a: Attacker) -> None:
    """Unknown events with names that resemble others."""
    names = ("__proto__", "toString", "x" * 5000, "\x1b[2J", "✓ Stopped\n✗", "\u202e", "", "users:active", "error")
    await _each_answered(a, *(json.dumps([name, {}]).encode() for name in names))


async def _no_sign_in(a: Attacker, *tokens: Any) -> None:
    for token in tokens:
        async with a.websocket() as socket:
            a.count()
            await socket.send_text(b"40" + json.dumps({"token": token}).encode())
            try:
                async with asyncio.timeout(3):  # who fails often waits for the answer, and here does not
                    answer = await socket.packet()
            except (TimeoutError, Refused):
                continue
            assert answer.startswith(b"44"), str(token)[:40]


def _claims(**more: object) -> dict[str, object]:
    return {"id": "member-0", "name": "Forged", "exp": time.time() + 3600, **more}


async def forged_tokens(a: Attacker) -> None:
    """Tokens without a signature, with another one, with a changed payload, and texts that are no tokens."""
    head, payload, signature = signed(_claims(id="x"), SECRET).split(".")
    unsigned = f"{segment({'alg': 'none'})}.{segment(_claims())}."
    await _no_sign_in(
        a,
        unsigned,
        signed(_claims(), "another-secret"),
        encrypted(_claims(), "another-secret"),
        f"{head}.{segment(_claims())}.{signature}",
        f"{head}.{payload}.{signature[:-6]}AAAAAA",
        signed(_claims(), SECRET, {"crit": ["x"], "x": 1}),
        encrypted(_claims(), SECRET, {"zip": "DEF"}),
        signed(_claims(), SECRET, {"alg": "HS1"}),
        base64.b64encode(b"x" * 20_000).decode(),
        "a.b.c",
        "....",
        ["x"],
        {"token": "x"},
        5,
        None,
        "",
    )


async def forged_cookies(a: Attacker) -> None:
    """CONNECT with a header full of forged session cookies."""
    token = segment({"alg": "dir", "enc": "A256GCM"}) + "..AAAAAAAAAAAAAAAA.%d.AAAAAAAAAAAAAAAAAAAAAA"
    cookies = [f"{name}={token % number}" for name in SESSION_COOKIES for number in range(4)]
    for _ in range(5):
        async with a.websocket(Cookie="; ".join(cookies), Origin="http://localhost:3000") as socket:
            a.count()
            await socket.send_text(b"40")
            answer = await socket.packet()
            assert answer.startswith(b"44"), answer[:60]


async def expired_tokens(a: Attacker) -> None:
    """Tokens of another time, and tokens with invalid times."""
    await _no_sign_in(
        a,
        signed(_claims(exp=time.time() - 3600), SECRET),
        encrypted(_claims(exp=1), SECRET),
        signed(_claims(nbf=time.time() + 3600), SECRET),
        signed(_claims(exp="never"), SECRET),
        signed(b'{"id":"x","exp":NaN}', SECRET),
        signed({"name": "Nobody"}, SECRET),
        signed({"id": ""}, SECRET),
    )


async def refreshes_by_others(a: Attacker) -> None:
    """`auth:refresh` with another user's token, a forged one, and none."""
    other = sign({"id": "member-0"}, SECRET, expires_in=3600)
    async with a.member() as socket:
        for number, token in enumerate(
            (other, signed(_claims(), "another-secret"), None, {}, {"token": 5}, "x" * 20_000)
        ):
            a.count()
            await socket.send_text(b"42%d" % number + json.dumps(["auth:refresh", token]).encode())
            while not (answer := await socket.packet()).startswith(b"43"):
                pass
            assert b'"ok":false' in answer, answer
        await a.expect_life(socket)


async def wrong_refresh_tokens(a: Attacker) -> None:
    """Simultaneous guesses by `auth:refresh`: they count as failed sign-ins, and the connection stays open."""
    async with a.member() as socket:
        for number in range(20):
            a.count()
            guess = signed(_claims(), f"guess-{number}")
            await socket.send_text(b"42%d" % number + json.dumps(["auth:refresh", guess]).encode())
            await asyncio.sleep(0.05)  # below the rate of events
        await a.expect_life(socket)
