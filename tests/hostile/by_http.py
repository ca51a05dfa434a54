"""Hostile kinds: HTTP, handshakes, polling, and upgrades."""

import asyncio
import contextlib
import os
from time import monotonic

from tests.hostile.attacker import PING_INTERVAL, Attacker, Surprise
from tests.support.wire import BINARY, PATH, TEXT, WebSocket, client_frame, request, upgrade

_FEW = 5
_SLOW = 0.05  # seconds between a slow writer's bytes
_FORGED = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.%d.AAAAAAAAAAAAAAAAAAAAAA"


async def no_http(a: Attacker) -> None:
    """Bytes that are no HTTP."""
    for data in (os.urandom(500), b"\x16\x03\x01" + os.urandom(200), b"\0" * 999, b"\r\n" * 500, b"SSH-2.0-x\r\n"):
        async with a.connection() as connection:
            a.count()
            await connection.send(data + b"\r\n\r\n")
            connection.send_end()
            await a.expect_end(connection)


async def bad_request_lines(a: Attacker) -> None:
    """Methods, versions and paths that do not exist."""
    for line in (b"GET\r\n", b"GET / HTTP/9.9", b"PRI * HTTP/2.0", b"G\0T / HTTP/1.1", b"GET  / HTTP/1.1 x", b"/"):
        async with a.connection() as connection:
            a.count()
            await connection.send(line + b"\r\nHost: x\r\n\r\n")
            connection.send_end()
            await a.expect_end(connection)
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        await a.expect_refusal(request(method, f"{PATH}polling"), 400, 405)
    for path in ("/../../etc/passwd", "/socket.io/../health/x", "/%2e%2e/", "//evil.example/", "/" + "a" * 3000):
        await a.expect_refusal(request("GET", path))


async def half_open_handshakes(a: Attacker) -> None:
    """Requests with an endless head."""
    for _ in range(_FEW):
        async with a.connection() as connection:
            a.count()
            await connection.send(upgrade()[: a.chance.randint(1, 120)])
            await asyncio.sleep(a.chance.random())


async def slow_writers(a: Attacker) -> None:
    """Heads and bodies byte by byte."""
    sid = await a.open_polling()
    for data in (upgrade(), request("POST", f"{PATH}polling&sid={sid}", {"Content-Length": "500"}, b"4" * 20)):
        async with a.connection() as connection:
            for at in range(0, len(data), 9):
                a.count()
                await connection.send(data[at : at + 9])
                await asyncio.sleep(_SLOW)


async def huge_heads(a: Attacker) -> None:
    """Headers and request lines above the server's limits."""
    for data in (
        request("GET", f"{PATH}polling", {"Cookie": "a" * 200_000}),
        request("GET", f"{PATH}polling&x=" + "y" * 200_000),
        request("GET", f"{PATH}polling", {f"X-{number}": "z" * 50 for number in range(3000)}),
        upgrade(Sec_WebSocket_Key="k" * 100_000),
        upgrade(Sec_WebSocket_Extensions="a;b=c," * 20_000),
    ):
        await a.expect_refusal(data, 400, 414, 431)


async def lines_that_are_slow_to_search(a: Attacker) -> None:
    """Large reads that begin with a request line of very many parameters, over many connections at the same time."""
    async with contextlib.AsyncExitStack() as stack:
        for parameter in (b"&", b"&sid=a.a"):
            for _ in range(_FEW):
                connection = await stack.enter_async_context(a.connection())
                a.count()
                with contextlib.suppress(ConnectionError):
                    await connection.send(b"GET /socket.io/?" + parameter * (150_000 // len(parameter)))


async def heads_of_very_many_fields(a: Attacker) -> None:
    """Requests whose heads are slow to read, over many connections at the same time."""
    sid = await a.open_polling()
    for target in ("/nowhere", f"{PATH}polling&sid=unknown", f"{PATH}polling&sid={sid}"):
        data = request("POST", target, {f"x{number}": "y" for number in range(250)}, b"3")
        await _send_by_crowd(a, data)


async def requests_that_end_no_session(a: Attacker) -> None:
    """Requests that name a session and leave it open, pipelined, with queries that are slow to read."""
    sid = await a.open_polling()
    for name in (sid, "unknown"):
        target = f"/socket.io/?EIO=4&transport=websocket&sid={name}"
        for data in (
            request("OPTIONS", target, {f"x{number}": "y" for number in range(250)}) * 4,
            request("PUT", target, body=b"x") * 4,
            request("GET", f"{target}&x=" + "%41" * 10_000),
        ):
            await _send_by_crowd(a, data)


async def small_requests_that_are_slow_to_read(a: Attacker) -> None:
    """Small reads of very many fields and chunks that name an own session, for other paths and other sessions too."""
    target = await _join_by_polling(a)
    for path in (target, f"{target}&sid=x", target.replace("/socket.io/", "/nowhere")):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode() + b"a:\r\n" * 240 + b"\r\n"
        await _send_by_crowd(a, head + b"1\r\n6\r\n" * ((4090 - len(head)) // 6) + b"0\r\n\r\n")


async def strange_headers(a: Attacker) -> None:
    """Headers that parsers interpret differently."""
    polling = f"{PATH}polling"
    for headers in (
        b"Host: x\r\nHost: y\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        b"Host: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Host: x\r\nContent-Length: -1\r\n",
        b"Host: x\r\nContent-Length: 99999999999999999999999\r\n",
        b"Host: x\r\nTransfer-Encoding: xchunked\r\n",
        b"Host: x\r\nX: a\r\n b: folded\r\n",
        b"Host: x\r\n\0: \0\r\n",
        b"Host: x\nX-Forwarded-For: 127.0.1.1\n",
        b"Host: x\r\nX-Forwarded-For: 127.0.1.1, unix\r\nX-Forwarded-Proto: https\r\n",
        b"Host: \xff\xfe\r\nOrigin: \xff\r\n",
        b": \r\n",
    ):
        async with a.connection() as connection:
            a.count()
            await connection.send(f"GET {polling} HTTP/1.1\r\n".encode() + headers + b"Connection: close\r\n\r\n")
            connection.send_end()
            await a.expect_end(connection)


async def pipelined_requests(a: Attacker) -> None:
    """Very many requests in one piece, without reading the answers."""
    async with a.connection() as connection:
        a.count(50)
        await connection.send(request("GET", "/nowhere") * 30 + request("GET", f"{PATH}nonsense") * 20)


async def pipelining_behind_a_poll(a: Attacker) -> None:
    """Very many requests, large heads or a large body behind a pending poll, then a RST or a wait for the end."""
    behind = (
        b"GET / HTTP/1.1\r\n\r\n" * 1000,
        request("GET", "/", {"X": "x" * 30_000}) * 3,
        b"GET / HTTP/1.1\r\n\r\n" * 9,
    )
    for data in (*behind, request("POST", "/", body=b"x" * 100_000), upgrade()):
        began = monotonic()
        sid = await a.open_polling()
        async with a.connection() as connection:
            a.count(20)
            await connection.send(request("GET", f"{PATH}polling&sid={sid}"))
            await asyncio.sleep(_SLOW)
            await connection.send(data)
            is_pending = monotonic() < began + PING_INTERVAL / 2  # a ping answers the poll
            if data is behind[-1] or not is_pending:
                connection.reset()  # so few requests may wait
            else:
                await a.expect_end(connection)


async def heads_of_very_many_fields_behind_a_poll(a: Attacker) -> None:
    """Pipelined heads that take far more memory than bytes: of empty fields, and with a path of wide characters."""
    fields = b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 255 + b"\r\n"
    wide = b"GET /%b%%F0%%9F%%98%%80 HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 30_000)
    for data in (fields * 16, wide * 2):
        sid = await a.open_polling()
        async with a.connection() as connection:
            a.count(16)
            await connection.send(request("GET", f"{PATH}polling&sid={sid}"))
            await asyncio.sleep(_SLOW)
            with contextlib.suppress(ConnectionError):
                await connection.send(data)
            await a.expect_end(connection)


async def trailers_that_look_like_headers(a: Attacker) -> None:
    """Fields behind a chunked body, which must not replace those of the head."""
    for trailer in ("Origin: https://evil.example", "X-Forwarded-For: 127.0.0.1", "Host: evil.example"):
        head = f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailer}\r\n\r\n"
        answer = await a.ask(head.encode())
        if answer is not None and answer.status not in (200, 429, 503):
            raise Surprise(f"{trailer!r} as a trailer got {answer.status}")


async def small_chunks(a: Attacker) -> None:
    """Bodies of very many one-byte chunks, for Socket.IO's path and for others."""
    sid = await a.open_polling()
    for target in ("/", "/nowhere", f"{PATH}polling&sid=unknown", f"{PATH}polling&sid={sid}"):
        async with a.connection() as connection:
            a.count()
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            with contextlib.suppress(ConnectionError):
                await connection.send(head, b"1\r\nx\r\n" * 100_000)
            await a.expect_end(connection)


async def resets_of_idle_requests(a: Attacker) -> None:
    """Connections with a large head that are reset after a response."""
    for _ in range(_FEW):
        async with a.connection() as connection:
            a.count()
            await connection.send(request("GET", "/", {"X": "x" * 30_000}))
            await connection.response()
            connection.reset()


async def nonsense_queries(a: Attacker) -> None:
    """Handshakes with unknown versions, transports and times."""
    for query in (
        "EIO=3&transport=polling",
        "transport=polling",
        "EIO=4",
        "EIO=4&transport=flashsocket",
        "EIO=4&transport=websocket",
        "EIO=4&transport=polling&sid=",
        "EIO=4%00&transport=polling",
        "&".join(f"a{number}=b" for number in range(2000)),
        "%ff%fe=%00&%=%&&&==",
        "EIO=4&transport=polling&EIO=5",
    ):
        answer = await a.ask(request("GET", f"/socket.io/?{query}"))
        assert answer is None or query.endswith("sid=") or answer.status >= 400, (query, answer)


async def bad_websocket_handshakes(a: Attacker) -> None:
    """Incomplete WebSocket handshakes."""
    for data in (
        upgrade(Sec_WebSocket_Version="8"),
        upgrade(Sec_WebSocket_Version=""),
        upgrade(Sec_WebSocket_Key="k" * 3000),
        upgrade(Sec_WebSocket_Key="bm90IHNpeHRlZW4gYnl0ZXM="),
        upgrade(Sec_WebSocket_Key="\xff" * 24),
        upgrade(Sec_WebSocket_Key=""),
        upgrade(Upgrade="h2c"),
        upgrade(Upgrade="websocket" + "," * 30_000),
        upgrade(Connection="Upgrade" + "," * 30_000),
        upgrade().replace(b"/socket.io/", b"/other/"),
        upgrade().replace(b"EIO=4", b"EIO=2"),
        upgrade().replace(b"transport=websocket", b"transport=polling"),
        upgrade().replace(b"GET ", b"POST "),
    ):
        await a.expect_refusal(data, 400, 404, 405, 426)
    async with a.websocket(Connection="upgrade" + ", keep-alive" * 80, X_Padding="x" * 20_000) as socket:
        await socket.connect(a.token)
        await a.expect_life(socket)


async def early_frames(a: Attacker) -> None:
    """Frames in one piece with a valid or invalid handshake, before its answer."""
    for head in (upgrade(), upgrade(Sec_WebSocket_Version="7"), upgrade("unknown-session")):
        async with a.connection() as connection:
            a.count(20)
            await connection.send(head + client_frame(TEXT, b"42[]") * 19)
            await a.expect_end(connection)


async def foreign_origins(a: Attacker) -> None:
    """Pages of other sites, over both transports."""
    for origin in ("https://evil.example", "null", "http://localhost:3000.evil.example", "http://localhost:30000", "*"):
        await a.expect_refusal(request("GET", f"{PATH}polling", {"Origin": origin}), 403)
        await a.expect_refusal(upgrade(Origin=origin), 403)
        await a.expect_refusal(request("POST", f"{PATH}polling&sid=x", {"Origin": origin}, b"40"), 403)


async def guessed_sids(a: Attacker) -> None:
    """Other sessions' ids: guessed, or derived from a socket's id."""
    async with a.websocket() as socket:
        public = await socket.connect(a.token)
    for sid in (public, "A" * 20, "../..", "0" * 2000, os.urandom(15).hex(), "%00", "__proto__"):
        await a.expect_refusal(request("GET", f"{PATH}polling&sid={sid}"), 400)
        await a.expect_refusal(request("POST", f"{PATH}polling&sid={sid}", body=b"41"), 400)
        await a.expect_refusal(upgrade(sid), 400)


# Polling


async def bad_polling_payloads(a: Attacker) -> None:
    """Payloads without valid packets."""
    for body in (b"", b"\x1e", b"4a\x1e\x1e4b", b"b%%%", b"bA", b"4\xff\xfe", b"9", b"x", b"\x1e" * 1000, b"2"):
        sid = await a.open_polling()
        answer = await a.ask(request("POST", f"{PATH}polling&sid={sid}", body=body))
        assert answer is None or answer.status >= 400, (body[:10], answer)


async def oversize_posts(a: Attacker) -> None:
    """Bodies above the limit, announced or not."""
    sid = await a.open_polling()
    target = f"{PATH}polling&sid={sid}"
    await a.expect_refusal(request("POST", target, body=b"4" * 1_100_000), 400, 413)
    sid = await a.open_polling()
    chunk = b"ffff\r\n" + b"4" * 0xFFFF + b"\r\n"
    head = request("POST", f"{PATH}polling&sid={sid}", {"Transfer-Encoding": "chunked", "Content-Length": ""})
    head = head.replace(b"Content-Length: \r\n", b"")
    await a.expect_refusal(head + chunk * 20 + b"0\r\n\r\n", 400, 413)


async def payloads_of_very_many_packets(a: Attacker) -> None:
    """One request with as many packets as fit."""
    for packet in (b"3", b"6", b"", b'42["ping"]'):
        for size in (65_000, 999_000):  # before CONNECT the smaller one is all that is taken
            sid = await a.open_polling()
            body = b"\x1e".join([packet] * (size // (len(packet) + 1)))
            await a.expect_refusal(request("POST", f"{PATH}polling&sid={sid}", body=body), 400, 413)


async def posts_that_are_slow_to_decode(a: Attacker) -> None:
    """Base64 without padding, whole at the same time on several sessions, and sent again with the same stamp."""
    body = b"\x1e".join([b"bQQ"] * 9999)
    targets = [f"{PATH}polling&t=a&sid={await a.open_polling()}" for _ in range(_FEW)]
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.connection()) for _ in range(_FEW)]
        a.count(2 * _FEW)
        for first in (b"6", body):
            for connection, target in zip(crowd, targets, strict=True):
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await connection.send(request("POST", target, body=first)[:-1])
            for connection in crowd:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await connection.send(first[-1:])
            for connection in crowd:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await connection.response()
    for target in targets:
        await a.expect_refusal(request("POST", target.replace("t=a", "t=b"), body=body), 400)


async def posts_of_slow_packets(a: Attacker) -> None:
    """Large events that are slow to decode, many in one request, over several sessions of one user."""
    nested = b",".join([b"[" * 100 + b"]" * 100] * 95)
    slow = (rb'42["ping","\ud83d",%b]' % nested, rb'42["auth:refresh","\ud83d",%b]' % nested)
    targets = [await _join_by_polling(a) for _ in range(4)]
    for packet in slow:
        async with contextlib.AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(a.connection()) for _ in targets]
            a.count(40 * len(targets))
            for connection, target in zip(crowd, targets, strict=True):
                await connection.send(request("POST", target, body=b"\x1e".join([packet] * 40)))
            for connection in crowd:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await connection.response()


async def connects_that_wait_together(a: Attacker) -> None:
    """CONNECTs without credentials, decided together when upgrades bring cookies that are slow to read."""
    forged = "; ".join(f"authjs.session-token={_FORGED % number}" for number in range(_FEW))
    for cookie in (";" * 30_000, forged):
        sids = [await a.open_polling() for _ in range(_FEW)]
        page = {"Cookie": cookie, "Origin": "http://localhost:3000"}
        for sid in sids:
            await a.ask(request("POST", f"{PATH}polling&sid={sid}", body=b"40"))
            await a.ask(request("POST", f"{PATH}polling&sid={sid}", page, b"3"))
        async with contextlib.AsyncExitStack() as stack:
            for sid in sids:
                a.count()
                await stack.enter_async_context(a.websocket(sid, Cookie=cookie, Origin=page["Origin"]))


async def answers_that_are_never_polled(a: Attacker) -> None:
    """Posts whose small answers wait, by a client without a token."""
    sid = await a.open_polling()
    body = b"\x1e".join([b"40/x,"] * 95)
    async with a.connection() as connection:
        for _ in range(3):
            a.count()
            try:
                await connection.send(request("POST", f"{PATH}polling&sid={sid}", body=body))
                await connection.response()
            except (ConnectionError, asyncio.IncompleteReadError):
                return


async def refusals_after_leaving(a: Attacker) -> None:
    """Posts whose refusals wait, by a client that has signed in and left."""
    target = f"{PATH}polling&sid={await a.open_polling()}"
    refused = b"\x1e".join([b"40/%b," % (b"x" * 150)] * 90)
    async with a.connection() as connection:
        for body in (b'40{"token":"%b"}\x1e41' % a.token.encode(), refused, refused, refused):
            a.count()
            try:
                await connection.send(request("POST", target, body=body))
                await connection.response()
            except (ConnectionError, asyncio.IncompleteReadError):
                return


async def duplicate_polls(a: Attacker) -> None:
    """Two simultaneous polls of one session, which end it."""
    sid = await a.open_polling()
    target = request("GET", f"{PATH}polling&sid={sid}")
    async with a.connection() as first, a.connection() as second:
        a.count(2)
        await first.send(target)
        await asyncio.sleep(_SLOW)
        await second.send(target)
        assert (await second.response()).status == 400
    await a.expect_refusal(target, 400)


async def _join_by_polling(a: Attacker) -> str:
    """Join the attacker's own project. Returns the target of the session's polls."""
    target = f"{PATH}polling&sid={await a.open_polling()}"
    for packet in (b'40{"token":"%b"}' % a.token.encode(), b'42["join-project","%b"]' % a.project.encode()):
        a.count()
        await a.ask(request("POST", target, body=packet))
    return target


async def _send_large_edit(a: Attacker, member: WebSocket) -> None:
    a.count()
    await member.emit("canvas:update", {"projectId": a.project, "changes": "x" * 900_000})
    await a.expect_life(member)


async def polls_without_reading(a: Attacker) -> None:
    """Polls over more and more connections, whose large answers are not read. They end the session."""
    headers = a.pick({}, {"Connection": "close"})
    target = await _join_by_polling(a)
    async with a.member() as member, contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await _send_large_edit(a, member)
            poll = await stack.enter_async_context(a.connection(slow=True))
            a.count()
            await poll.send(request("GET", target, headers))
            await asyncio.sleep(_SLOW)
        await a.expect_refusal(request("GET", target), 400)


async def handshakes_behind_unread_answers(a: Attacker) -> None:
    """A WebSocket that signs in and joins blindly, over a connection whose large answer is not read."""
    target = await _join_by_polling(a)
    async with a.member() as member, a.connection(slow=True) as connection:
        await _send_large_edit(a, member)
        a.count(3)
        await connection.send(request("GET", target))
        await connection.head()
        connect = client_frame(TEXT, b'40{"token":"%b"}' % a.token.encode())
        join = client_frame(TEXT, b'42["join-project","%b"]' % a.project.encode())
        with contextlib.suppress(ConnectionError):
            await connection.send(upgrade() + connect + join)
        await a.expect_end(connection)


async def duplicate_posts(a: Attacker) -> None:
    """Two simultaneous posts of one session, which end it."""
    sid = await a.open_polling()
    data = request("POST", f"{PATH}polling&sid={sid}", body=b"4" * 1000)
    async with a.connection() as first, a.connection() as second:
        a.count(2)
        await first.send(data[:-500])
        await asyncio.sleep(_SLOW)
        await second.send(data)
        assert (await second.response()).status == 400


async def never_polling(a: Attacker) -> None:
    """Sessions that sign in and send, and never poll."""
    for _ in range(_FEW):
        sid = await a.open_polling()
        packets = [b'40{"token":"%b"}' % a.token.encode(), b'42["join-project","%b"]' % a.project.encode()]
        await a.ask(request("POST", f"{PATH}polling&sid={sid}", body=b"\x1e".join([*packets, b'42["ping"]'])))


async def abandoned_polls(a: Attacker) -> None:
    """Polls with an aborted connection."""
    for _ in range(_FEW):
        sid = await a.open_polling()
        async with a.connection() as connection:
            a.count()
            await connection.send(request("GET", f"{PATH}polling&sid={sid}"))
            await asyncio.sleep(_SLOW)
            connection.reset()


async def upgrade_abuse(a: Attacker) -> None:
    """Upgrades that begin twice, or in the wrong order, or never finish. The session's polling continues."""
    for packets in (
        (client_frame(TEXT, b"5"),),
        (client_frame(TEXT, b"4x"),),
        (client_frame(TEXT, b"2probe"), client_frame(TEXT, b"2probe")),
        (client_frame(TEXT, b"2probe"), client_frame(BINARY, b"x")),
        (client_frame(TEXT, b"2probe"),),
        (client_frame(TEXT, b"\xff"),),
        (),
    ):
        sid = await a.open_polling()
        async with a.websocket(sid) as socket:
            a.count(len(packets) + 1)
            await socket.send(b"".join(packets))
            async with a.connection() as second:
                await second.send(upgrade(sid))
        connect = b'40{"token":"%b"}' % a.token.encode()
        posted = await a.ask(request("POST", f"{PATH}polling&sid={sid}", body=connect))
        assert posted is not None, packets
        assert posted.status == 200, (packets, posted)


async def upgrade_of_a_websocket(a: Attacker) -> None:
    """A second WebSocket for an upgraded session."""
    async with a.connection() as connection:
        socket = WebSocket(connection.reader, connection.writer)
        await socket.shake()
        opened = bytes((await socket.frame()).data)
        sid = opened.split(b'"sid":"')[1].split(b'"')[0].decode()
        async with a.connection() as second:
            a.count()
            await second.send(upgrade(sid) + client_frame(TEXT, b"2probe"))
            await a.expect_end(second)
        await socket.connect(a.token)


async def _send_by_crowd(a: Attacker, data: bytes) -> None:
    """Send the same requests over many connections, then wait for a response on each."""
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(a.connection()) for _ in range(_FEW)]
        a.count(_FEW)
        for connection in crowd:
            with contextlib.suppress(ConnectionError):
                await connection.send(data)
        for connection in crowd:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await connection.response()
