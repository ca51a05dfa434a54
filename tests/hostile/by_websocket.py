"""Hostile kinds: WebSocket frames, Engine.IO packets, and clients that do not read."""

import asyncio
import contextlib
import os
import zlib

from tests.hostile.attacker import Attacker, Surprise
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket, client_frame, upgrade

_FEW = 5
_DEFLATE = "permessage-deflate; client_max_window_bits"
_LARGEST = 1_000_000  # bytes, the server's default


async def _each_ends(a: Attacker, *attempts: bytes, deflate: bool = False) -> None:
    """Send each of these over its own signed-in connection, which the server must end."""
    for attempt in attempts:
        async with a.websocket(Sec_WebSocket_Extensions=_DEFLATE if deflate else "") as socket:
            a.count()
            await socket.connect(a.token)
            await socket.send(attempt)
            await a.expect_end(socket)


async def bad_frames(a: Attacker) -> None:
    """Frames that RFC 6455 forbids: reserved bits and opcodes, invalid lengths, a missing mask."""
    await _each_ends(
        a,
        client_frame(TEXT, b"3", rsv=2),
        client_frame(TEXT, b"3", rsv=1),
        client_frame(3, b"3"),
        client_frame(11, b"3"),
        client_frame(TEXT, b"3", masked=False) * 3,
        bytes((0x81, 0xFF)) + b"\xff" * 8,
        bytes((0x81, 0xFF)) + b"\x7f" + b"\xff" * 7 + b"abcd",
    )


async def bad_control_frames(a: Attacker) -> None:
    """Large or fragmented control frames, and invalid close frames."""
    await _each_ends(
        a,
        client_frame(PING, b"x" * 126),
        client_frame(CLOSE, b"x" * 500),
        client_frame(CLOSE, b"\x03"),
        client_frame(CLOSE, (5).to_bytes(2, "big")),
        client_frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff\xfe"),
        client_frame(CLOSE, (65535).to_bytes(2, "big") + b"bye"),
        *(client_frame(CLOSE, code.to_bytes(2, "big")) for code in (0, 1005, 1006, 1015, 2999)),
        client_frame(CLOSE, (1000).to_bytes(2, "big"), rsv=4),
    )


async def floods_of_control_frames(a: Attacker) -> None:
    """Endless pings and pongs."""
    async with a.member() as socket:
        for _ in range(4):
            a.count(50)
            await socket.send(client_frame(PING, b"x" * 125) * 25 + client_frame(PONG, b"") * 25)
        await a.expect_life(socket)


async def _flood(a: Attacker, frame: bytes) -> None:
    """Send thousands of a frame in one piece, over a signed-in connection that the server must end."""
    async with a.member() as socket:
        a.count(50)
        try:
            await socket.send(frame * 5000)
        except ConnectionError:
            return
        await a.expect_end(socket)


async def floods_of_pings(a: Attacker) -> None:
    """Thousands of WebSocket pings, or pongs, in one piece."""
    await _flood(a, client_frame(PING, b"x" * 125))
    await _flood(a, client_frame(PONG, b""))


async def floods_of_idle_packets(a: Attacker) -> None:
    """Thousands of Engine.IO packets, acks and namespaces without effect."""
    for packet in (b"6", b"3", b'430["x"]', b"40/nowhere,", b"40/nowhere,[]"):
        await _flood(a, client_frame(TEXT, packet))


async def large_messages_before_connect(a: Attacker) -> None:
    """Nearly a megabyte before sign-in: a packet, a fragment, an endless frame."""
    for frame in (
        client_frame(TEXT, b"40" + b"x" * 990_000),
        client_frame(TEXT, b"4" + b"x" * 990_000, fin=False),
        client_frame(TEXT, b"4" + b"x" * 990_000)[:-100],
    ):
        async with a.websocket() as socket:
            a.count()
            try:
                await socket.send(frame)
            except ConnectionError:
                continue
            await a.expect_end(socket)


async def half_in_connect(a: Attacker) -> None:
    """CONNECTs with a half of a surrogate pair in a large payload, before sign-in."""
    large = (rb'"%b"' % (rb"\ue000" * 10_000), b'"%b"' % ("\ue001".encode() * 20_000), b"[0%b]" % (b",0" * 30_000))
    for values in large:
        async with a.websocket() as socket:
            a.count()
            await socket.send_text(rb'40{"token":"\ud83d","values":%b}' % values)
            await socket.packet()
    async with a.websocket() as socket:
        a.count()
        await socket.send_text(rb'40{"token":"%b"}' % (rb"\ud83d" * 10_500))
        await a.expect_end(socket)


async def large_control_packets(a: Attacker) -> None:
    """Engine.IO control packets of nearly a megabyte."""
    await _each_ends(a, *(client_frame(TEXT, packet + b"x" * 990_000) for packet in (b"6", b"3", b"5", b"0")))


async def bad_fragments(a: Attacker) -> None:
    """Fragments without a beginning, or interrupted by another message."""
    await _each_ends(
        a,
        client_frame(CONTINUATION, b"x"),
        client_frame(TEXT, b"42", fin=False) + client_frame(TEXT, b"[]"),
        client_frame(TEXT, b"42", fin=False) + client_frame(BINARY, b"x", fin=False),
        client_frame(TEXT, b"\xff", fin=False) + client_frame(CONTINUATION, b"\xff"),
    )


async def endless_fragments(a: Attacker) -> None:
    """An endless message of thousands of tiny fragments."""
    async with a.member() as socket:
        await socket.send(client_frame(TEXT, b"4", fin=False))
        try:
            for _ in range(100):
                a.count()
                await socket.send(client_frame(CONTINUATION, b"2", fin=False) * 100)
        except ConnectionError:
            pass


async def large_fragments(a: Attacker) -> None:
    """A fragmented message that exceeds the limit."""
    part = client_frame(CONTINUATION, b"x" * 60_000, fin=False)
    await _each_ends(a, client_frame(BINARY, b"x", fin=False) + part * 20)


async def oversize_messages(a: Attacker) -> None:
    """Messages above the limit, sent or only announced."""
    await _each_ends(
        a,
        client_frame(TEXT, b"4" * (_LARGEST + 1)),
        bytes((0x81, 0xFF)) + (2**40).to_bytes(8, "big") + b"abcd" + b"x" * 1000,
    )


async def compressed_bombs(a: Attacker) -> None:
    """A few kilobytes that inflate to many megabytes, and invalid compressed data."""
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = deflate.compress(b'42["' + b"a" * 50_000_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
    await _each_ends(
        a,
        client_frame(TEXT, bomb[:-4], rsv=4),
        client_frame(BINARY, os.urandom(500), rsv=4),
        client_frame(TEXT, b"\x00\x01\x02", rsv=4),
        deflate=True,
    )
    await _each_ends(a, client_frame(TEXT, bomb[:-4], rsv=4))


async def floods_of_compressed_edits(a: Attacker) -> None:
    """Simultaneous edits of a kilobyte that inflate to nearly a megabyte."""
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    edit = b'42["canvas:update",{"projectId":"%b","changes":"%b"}]' % (a.project.encode(), b"x" * 900_000)
    frame = client_frame(TEXT, (deflate.compress(edit) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4)
    async with a.websocket(Sec_WebSocket_Extensions="permessage-deflate") as socket:
        await socket.connect(a.token)
        a.count(40)
        await socket.send(frame * 40)
        await a.expect_end(socket)


async def invalid_utf8(a: Attacker) -> None:
    """Invalid text."""
    await _each_ends(
        a,
        client_frame(TEXT, b'42["ping","\xff"]'),
        client_frame(TEXT, b"\xed\xa0\x80"),
        client_frame(TEXT, b'42["canvas:update",{"projectId":"\xc0\xaf"}]'),
    )


async def slow_frames(a: Attacker) -> None:
    """A frame byte by byte, and an endless one."""
    async with a.member() as socket:
        for byte in client_frame(TEXT, b'42["ping"]'):
            a.count()
            await socket.send(bytes((byte,)))
            await asyncio.sleep(0.01)
        await socket.until_event("pong")
        await socket.send(client_frame(TEXT, b"42" + b"x" * 500)[:-100])
        await asyncio.sleep(a.chance.random())


async def bad_engine_packets(a: Attacker) -> None:
    """Unknown Engine.IO packets, and packets that only servers send."""
    await _each_ends(
        a, *(client_frame(TEXT, packet) for packet in (b"", b"7", b"9x", b"x", b"2", b"2probe", b"\x1e4", b"-1", b" 4"))
    )


async def idle_engine_packets(a: Attacker) -> None:
    """Very many packets without effect: pongs, noops, upgrades, opens."""
    async with a.member() as socket:
        for packet in (b"3", b"6", b"5", b'0{"sid":"x"}', b"3probe"):
            a.count(20)
            await socket.send(client_frame(TEXT, packet) * 20)
        await a.expect_life(socket)


async def resets(a: Attacker) -> None:
    """Connections that are aborted in the middle of a message."""
    for _ in range(_FEW):
        async with a.member() as socket:
            a.count()
            await socket.send(client_frame(TEXT, b"42" + b"x" * 5000)[: a.chance.randint(1, 5000)])
            socket.reset()


async def churn(a: Attacker) -> None:
    """Many short connections."""
    for _ in range(2 * _FEW):
        async with a.websocket() as socket:
            a.count()
            await socket.send_text(b"41")


async def never_reading(a: Attacker) -> None:
    """A member of a project that does not read the others' events, until its backlog exceeds the limit."""
    payload = {"projectId": a.project, "changes": "x" * 500_000}
    async with a.member(slow=True) as deaf, a.member() as one, a.member() as another:
        for loud in (one, another):
            for _ in range(5):  # what the rate of bytes lets through at once
                a.count()
                await loud.emit("canvas:update", payload)
            await a.expect_life(loud)
        await a.expect_end(deaf)


async def frames_behind_handshakes(a: Attacker) -> None:
    """More frames than fit into a read buffer, sent with the handshake; what waits must not mix with old memory."""
    names = [f"/{number}-{'x' * 100}" for number in range(30)]
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.connection()) for _ in range(2 * _FEW)]
        frames = b"".join(client_frame(TEXT, f"40{name},".encode()) for name in names)
        a.count(len(crowd))
        for connection in crowd:
            connection.writer.write(upgrade() + frames)
        for connection in crowd:
            socket = WebSocket(connection.reader, connection.writer)
            if (await socket.response()).status != 101:
                continue
            await socket.frame()
            for name in names:
                if not (answer := await socket.packet()).startswith(f"44{name},".encode()):
                    raise Surprise(f"{answer[:200]!r} instead of an answer about {name}")


async def empty_messages(a: Attacker) -> None:
    """Empty frames."""
    await _each_ends(a, client_frame(BINARY, b""), client_frame(TEXT, b"", fin=False) + client_frame(CONTINUATION, b""))
