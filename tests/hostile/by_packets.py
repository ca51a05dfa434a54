"""Hostile kinds: Socket.IO packets, their JSON and their attachments."""

import asyncio
import json
from typing import Any

from tests.hostile.attacker import Attacker
from tests.hostile.floods import FLOOD, flood
from tests.support.wire import BINARY, TEXT, client_frame

_LARGE = 10_000


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
    await flood(a, 100, client_frame(TEXT, packet) * 100)


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


async def bad_attachments(a: Attacker) -> None:
    """Too many, missing or unexpected attachments, and invalid placeholders."""
    await _each_ends(a, b'4511-["canvas:update",{}]', b'452-["a"]' + b"x")
    for placeholder in (9, -1, "0", None, 1e9, 0.5, True):
        event = ["canvas:update", {"projectId": a.project, "changes": _placeholder(placeholder)}]
        await _attachment_ends(a, b"451-" + json.dumps(event).encode(), b"data")
    for name, field in (("canvas:cursor", "position"), ("task:create", "task")):
        event = [name, {**_placeholder(0), "projectId": a.project, field: _placeholder(99)}]
        await _attachment_ends(a, b"451-" + json.dumps(event).encode(), b"data")
    for mark in (1, "true", [1], False):
        hidden = {"projectId": a.project, "task": {"_placeholder": mark, "num": 99}, "z": _placeholder(0)}
        await _attachment_ends(a, b"451-" + json.dumps(["task:create", hidden]).encode(), b"data")
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
    placeholders = ",".join([json.dumps(_placeholder(0))] * FLOOD).encode()
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
