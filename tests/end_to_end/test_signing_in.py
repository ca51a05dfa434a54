"""Signing in: accepted and refused tokens, over every transport."""

import asyncio
from typing import Any

import pytest
from tests.end_to_end.raw import RawClient, RawPolling, RawWebSocket
from tests.support.real_clients import Connect, Refused
from tests.support.server_process import ServerProcess, StartServer, expect_health
from tests.support.users import ALICE, BOB, issue, npm_tokens

PAGE = "http://localhost:3000"  # allowed by default


@pytest.fixture(scope="module")
def tokens() -> dict[str, str]:
    """One token of each kind that the web app makes, made by its own packages."""
    kinds: dict[str, dict[str, Any]] = {
        "signed": {"by": "jsonwebtoken"},
        "NextAuth v4": {"by": "nextauth"},
        "Auth.js v5": {"by": "authjs", "salt": "authjs.session-token"},
    }
    orders = [{"claims": {"id": "user-7", "name": "Zoë", "picture": "/z.png"}, **order} for order in kinds.values()]
    return dict(zip(kinds, npm_tokens(orders), strict=True))


@pytest.mark.parametrize("kind", ["signed", "NextAuth v4", "Auth.js v5"])
async def test_every_kind_of_token_signs_in(connect: Connect, tokens: dict[str, str], kind: str) -> None:
    """`connected` has the socket and the token's user."""
    client = await connect(BOB, auth={"token": tokens[kind]})
    await client.emit("join-project", "p")
    [entry] = (await client.expect("users:active"))["users"]
    assert entry.pop("joinedAt")
    assert entry == {"userId": "user-7", "userName": "Zoë", "userImage": "/z.png"}


APPS = "capacitor://localhost,http://localhost:*,null,file://"


def cookie(tokens: dict[str, str], origin: str) -> dict[str, str]:
    """The headers of a page with a session of NextAuth."""
    return {"Cookie": f"next-auth.session-token={tokens['NextAuth v4']}", "Origin": origin}


async def test_a_session_cookie_of_an_app_signs_in(
    start_server: StartServer, connect_by: Connect, tokens: dict[str, str]
) -> None:
    """ALLOWED_ORIGINS may name pages of an app, and pages with a changing port."""
    server = start_server(ALLOWED_ORIGINS=APPS)
    for origin in ("capacitor://localhost", "http://localhost:5173"):
        client = await connect_by(BOB, url=server.url, auth=None, headers=cookie(tokens, origin))
        assert client.events.items[0][1]["userId"] == "user-7"


@pytest.mark.parametrize("origin", ["null", "file://"])
async def test_the_cookie_of_an_opaque_origin_does_not_count(
    start_server: StartServer, connect_by: Connect, tokens: dict[str, str], origin: str
) -> None:
    server, headers = start_server(ALLOWED_ORIGINS=APPS), cookie(tokens, origin)
    with pytest.raises(Refused, match="Authentication required"):
        await connect_by(BOB, url=server.url, auth=None, headers=headers)
    assert (await connect_by(ALICE, url=server.url, headers=headers)).events.items[0][1]["userId"] == ALICE.id


async def test_a_cookie_of_the_apps_own_name_signs_in(start_server: StartServer, connect_by: Connect) -> None:
    """SESSION_COOKIE has the name, which salts the key. An invalid cookie of that name does no harm."""
    order = {"by": "authjs", "salt": "acme.sid", "claims": {"id": "user-8"}}
    (token,) = npm_tokens([order])
    server = start_server(SESSION_COOKIE="acme.sid")
    headers = {"Cookie": f"acme.sid=stale; acme.sid={token}", "Origin": PAGE}
    client = await connect_by(BOB, url=server.url, auth=None, headers=headers)
    assert client.events.items[0][1]["userId"] == "user-8"


@pytest.mark.parametrize("cookie", ["next-auth.session-token", "__Secure-next-auth.session-token"])
async def test_a_session_cookie_signs_in(connect: Connect, tokens: dict[str, str], cookie: str) -> None:
    """The page's script cannot read the cookie, and sends the user's id as token."""
    headers = {"Cookie": f"theme=dark; {cookie}={tokens['NextAuth v4']}", "Origin": PAGE}
    client = await connect(ALICE, auth={"token": "user-7"}, headers=headers)
    assert client.events.items[0][1]["userId"] == "user-7"


CLAIMS = ALICE.claims
REFUSALS = (
    ("no token", lambda: None, "Authentication required"),
    ("the user's id", lambda: {"token": ALICE.id}, "Authentication failed"),
    ("no user", lambda: {"token": issue({"name": "Nobody"})}, "Invalid token"),
)


async def test_a_refusal_says_which_it_is(connect: Connect) -> None:
    """The app and its guide have three messages."""

    async def refusal(auth: Any) -> str:
        with pytest.raises(Refused) as refused:
            await connect(ALICE, auth=auth)
        return str(refused.value)

    # All at once, since some by polling wait for the cookie that an upgrade might bring.
    answers = await asyncio.gather(*(refusal(make()) for _, make, _ in REFUSALS))
    assert dict(zip([case for case, _, _ in REFUSALS], answers, strict=True)) == {
        case: message for case, _, message in REFUSALS
    }


async def test_a_cookie_may_come_late_over_a_slow_line(start_server: StartServer, tokens: dict[str, str]) -> None:
    """A CONNECT waits for the whole upgrade timeout, since a refusal would be final."""
    server = start_server()
    polling = await RawPolling.open(server, Origin=PAGE)
    await polling.send('40{"token":"user-7"}')
    await asyncio.sleep(4)  # TCP and TLS over a line with a round trip of more than a second
    cookie = f"next-auth.session-token={tokens['NextAuth v4']}"
    websocket = await RawWebSocket.shake_hands(server, polling.query["sid"], Origin=PAGE, Cookie=cookie)
    assert str(await polling.receive()).startswith("40{")
    assert (await RawClient(polling).expect("connected"))["userId"] == "user-7"
    await websocket.close()
    await polling.close()


@pytest.mark.parametrize("carrier", [RawPolling, RawWebSocket])
async def test_cookies_may_come_in_several_fields(
    server: ServerProcess, tokens: dict[str, str], carrier: type[RawPolling] | type[RawWebSocket]
) -> None:
    """Repeated `Cookie` fields, as HTTP/2 makes them, are one list, in polls and in handshakes."""
    cookies = ["theme=dark", f"next-auth.session-token={tokens['NextAuth v4']}", "a=b"]
    if carrier is RawPolling:
        client = RawClient(await RawPolling.open(server, Origin=PAGE, Cookie=cookies))
    else:
        client = RawClient(await RawWebSocket.shake_hands(server, "", Origin=PAGE, Cookie=cookies))
        await client.carrier.receive()
    await client.carrier.send("40")
    assert str(await client.carrier.receive()).startswith("40{")
    assert (await client.expect("connected"))["userId"] == "user-7"
    await client.carrier.close()


async def test_a_client_that_disconnects_before_the_upgrade_is_never_announced(start_server: StartServer) -> None:
    """It is not counted, even if its cookie came at the last moment."""
    server = start_server()
    cookie = f"next-auth.session-token={ALICE.token}"
    for _ in range(5):
        polling = await RawPolling.open(server, Origin=PAGE)
        await polling.send("40")
        await polling.post(b"3", Cookie=cookie)
        await polling.close()
        polling = await RawPolling.open(server, Origin=PAGE)
        await polling.send("40")
        websocket = await RawWebSocket.shake_hands(server, polling.query["sid"], Origin=PAGE, Cookie=cookie)
        await asyncio.gather(websocket.close(), polling.close())
    await expect_health(server, connections=0, rooms=0)
