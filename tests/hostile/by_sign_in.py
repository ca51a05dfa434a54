"""Hostile kinds: CONNECTs, tokens, and returns to sessions."""

import asyncio
import base64
import contextlib
import json
import time
from typing import Any

from tests.hostile.attacker import Attacker
from tests.identity.forge import encrypted, segment, signed
from tests.support.users import SECRET
from tests.support.wire import TEXT, Refused, WebSocket, client_frame

from synkora.identity.cookies import SESSION_COOKIES
from synkora.identity.tokens import sign


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
