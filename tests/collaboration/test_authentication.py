"""Signing in: which token or cookie decides about a CONNECT, and when."""

import asyncio
import functools
import gc
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.collaboration.site import PAGE, SECRET, MemoryClient, Site, token_of, turn
from tests.support.clients import Polling, WebSocket, websocket
from tests.support.servers import Address, most_in_one_turn, serving, until
from tests.support.sessions import MemoryTransport, request_of

from synkora.collaboration import failure_backoff as failures_module
from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring, sign
from synkora.sockets.server import SocketServer

COOKIE = "next-auth.session-token"
STRANGER = "https://elsewhere.example"
UPGRADE_PROBE = ("2probe", "3probe", "5")
#: What the app's page sends where it cannot read its cookie.
NO_TOKENS: list[Any] = [None, {}, {"token": ""}, {"token": None}, {"token": "user-1"}, {"token": 7}]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiting CONNECT would exceed the test's time: answered ones were decided immediately."""
    monkeypatch.setattr("tests.collaboration.site.SocketServer", functools.partial(SocketServer, upgrade_timeout=3600))


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """CONNECTs wait only for a moment."""
    monkeypatch.setattr("tests.collaboration.site.SocketServer", functools.partial(SocketServer, upgrade_timeout=0.02))


def connect_packet(auth: object) -> str:
    return "40" if auth is None else "40" + json.dumps(auth)


def refused(packet: str | bytes) -> str:
    assert isinstance(packet, str)
    assert packet.startswith("44"), packet
    answer: dict[str, str] = json.loads(packet[2:])
    assert answer.keys() == {"message"}
    return answer["message"]


async def answer(client: WebSocket, auth: object) -> str | bytes:
    await client.send(connect_packet(auth))
    return await client.receive()


async def user_of(client: WebSocket) -> str:
    """The user's id in `connected`, which must be the next event."""
    name, welcome = await client.event()
    assert name == "connected"
    user_id: str = welcome["userId"]
    return user_id


def expired() -> str:
    return sign({"id": "u1", "name": "Alice"}, SECRET, expires_in=-3600)


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (None, "Authentication required"),
        ({}, "Authentication required"),
        ({"token": ""}, "Authentication required"),
        ({"token": None}, "Authentication required"),
        ({"token": "user-1"}, "Authentication failed"),
        ({"token": ["a"]}, "Authentication failed"),
        ({"token": "a.b.c"}, "Authentication failed"),
        ({"token": sign({"id": "u1"}, "another secret", expires_in=3600)}, "Authentication failed"),
        ({"token": expired()}, "Authentication failed"),
        ({"token": sign({"name": "Alice"}, SECRET, expires_in=3600)}, "Invalid token"),
    ],
)
async def test_refusals_over_websocket(patience: None, running: Site, auth: object, message: str) -> None:
    """Each is an immediate CONNECT_ERROR with the app's message, and the client may try again."""
    async with websocket(running.address) as client:
        assert refused(await answer(client, auth)) == message
        assert running.collaboration.connections == 0
        await client.connect(auth={"token": token_of("Alice")})
        assert await user_of(client) == "alice"


async def test_a_bearer_token_signs_in(running: Site) -> None:
    """An `Authorization` header counts after the token of CONNECT."""
    headers = {"Authorization": f"Bearer {token_of('Alice')}"}
    async with websocket(running.address, additional_headers=headers) as client:
        await client.connect()
        assert await user_of(client) == "alice"
    async with websocket(running.address, additional_headers=headers) as client:
        await client.connect(auth={"token": token_of("Bob")})
        assert await user_of(client) == "bob"


async def test_a_cookie_of_an_allowed_page_signs_in(running: Site) -> None:
    """A page that cannot read its cookie, and sends the user's id as token, signs in by the cookie."""
    headers = {"Cookie": f"{COOKIE}={token_of('Alice')}"}
    async with websocket(running.address, origin=PAGE, additional_headers=headers) as client:
        await client.connect(auth={"token": "another-user"})
        assert await user_of(client) == "alice"


async def test_a_cookie_without_an_origin_does_not_count(running: Site) -> None:
    """Only a browser has the user's cookies, and a browser sends the origin."""
    async with websocket(running.address, additional_headers={"Cookie": f"{COOKIE}={token_of('Alice')}"}) as client:
        assert refused(await answer(client, None)) == "Authentication required"


@pytest.mark.parametrize("auth", NO_TOKENS)
async def test_a_connect_over_polling_is_decided_by_the_cookie_of_its_upgrade(
    patience: None, running: Site, auth: object
) -> None:
    """The cookie comes with the WebSocket handshake. The CONNECT is answered then, and not before."""
    headers = {"Cookie": f"{COOKIE}={token_of('Alice')}"}
    async with Polling(running.address, {"Origin": PAGE}) as polling:
        assert (await polling.post(connect_packet(auth))).text == "ok"
        poll = asyncio.create_task(polling.poll())
        async with websocket(running.address, polling.sid, origin=PAGE, additional_headers=headers) as client:
            reply, welcome = await poll
            assert reply.startswith('40{"sid"')
            assert json.loads(welcome[2:])[1]["userId"] == "alice"
            probe, probed, upgrade = UPGRADE_PROBE
            await client.send(probe)
            assert await client.receive() == probed
            await client.send(upgrade)
            await client.emit("ping")
            assert (await client.event())[0] == "pong"


@pytest.mark.parametrize(
    ("headers", "message"),
    [({}, "Authentication failed"), ({"Cookie": f"{COOKIE}={expired()}"}, "Authentication failed")],
)
async def test_an_upgrade_without_a_valid_cookie(
    patience: None, running: Site, headers: dict[str, str], message: str
) -> None:
    """The CONNECT is refused as soon as the WebSocket handshake has come."""
    async with Polling(running.address, {"Origin": PAGE}) as polling:
        await polling.post(connect_packet({"token": "user-1"}))
        async with websocket(running.address, polling.sid, origin=PAGE, additional_headers=headers):
            assert refused((await polling.poll())[0]) == message


async def test_the_cookie_of_an_upgrade_without_an_origin_is_ignored(patience: None, running: Site) -> None:
    """The cookie of a WebSocket handshake counts only with an allowed origin."""
    headers = {"Cookie": f"{COOKIE}={token_of('Alice')}"}
    async with Polling(running.address, {"Origin": PAGE}) as polling:
        await polling.post(connect_packet(None))
        async with websocket(running.address, polling.sid, additional_headers=headers):
            assert refused((await polling.poll())[0]) == "Authentication required"


@pytest.mark.parametrize(
    ("auth", "message"), [(None, "Authentication required"), ({"token": "user-1"}, "Authentication failed")]
)
async def test_a_client_that_does_not_upgrade_is_judged_in_the_end(
    impatience: None, running: Site, auth: object, message: str
) -> None:
    """A CONNECT without a token waits for the upgrade for a limited time."""
    async with Polling(running.address) as polling:
        await polling.post(connect_packet(auth))
        assert refused((await polling.poll())[0]) == message


@pytest.mark.parametrize(
    ("auth", "headers", "message"),
    [
        ({"token": "a.b.c"}, {}, "Authentication failed"),
        ({"token": expired()}, {}, "Authentication failed"),
        ({"token": sign({"name": "Alice"}, SECRET, expires_in=3600)}, {}, "Invalid token"),
        (None, {"Authorization": "Bearer nonsense"}, "Authentication failed"),
        (None, {"Origin": PAGE, "Cookie": f"{COOKIE}=nonsense"}, "Authentication failed"),
        (None, {"Origin": PAGE, "Cookie": "theme=dark"}, "Authentication required"),
    ],
)
async def test_a_decision_that_an_upgrade_cannot_change_is_immediate(
    patience: None, running: Site, auth: object, headers: dict[str, str], message: str
) -> None:
    """With a token, a Bearer header or a cookie, nothing else will come."""
    async with Polling(running.address, headers) as polling:
        await polling.post(connect_packet(auth))
        assert refused((await polling.poll())[0]) == message


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        ({"token": token_of("Alice")}, {}),
        (None, {"Authorization": f"Bearer {token_of('Alice')}"}),
        ({"token": "user-1"}, {"Origin": PAGE, "Cookie": f"{COOKIE}={token_of('Alice')}"}),
    ],
)
async def test_a_valid_token_over_polling_is_admitted_immediately(
    patience: None, running: Site, auth: object, headers: dict[str, str]
) -> None:
    """A valid token never waits. `connected` follows the reply to CONNECT."""
    async with Polling(running.address, headers) as polling:
        await polling.post(connect_packet(auth))
        reply, welcome = await polling.poll()
        assert reply.startswith('40{"sid"')
        name, details = json.loads(welcome[2:])
        assert (name, details["userId"]) == ("connected", "alice")
        assert details["socketId"] == json.loads(reply[2:])["sid"]


async def test_cookies_of_a_strangers_page_do_not_count(patience: None, site: Site) -> None:
    """The origin check refuses such a page. Even without that check, its cookies would be ignored."""
    transport = MemoryTransport()
    request = request_of(origin=STRANGER, host="localhost:3001", cookie=f"{COOKIE}={token_of('Alice')}")
    session = site.server._registry.open(request, transport)
    session.receive_text(transport, b"40")
    await turn()
    assert refused(transport.packets[-1].decode()) == "Authentication required"


async def test_over_tls_cookies_of_a_page_without_tls_do_not_count(patience: None, site: Site) -> None:
    """Even with the server's own host: an attacker on the network can write such a page."""
    for scheme, is_admitted in (("http", False), ("https", True)):
        transport = MemoryTransport()
        cookie = f"{COOKIE}={token_of('Alice')}"
        request = replace(request_of(origin=f"{scheme}://ws.test", host="ws.test", cookie=cookie), secure=True)
        session = site.server._registry.open(request, transport)
        session.receive_text(transport, b"40")
        await turn()
        assert (b'"userId":"alice"' in transport.packets[-1]) is is_admitted


async def test_a_client_that_disconnects_while_waiting_is_not_admitted(patience: None, site: Site) -> None:
    """A session that ends during its upgrade leaves no member behind."""
    polling, probe = MemoryTransport("polling"), MemoryTransport()
    session = site.server._registry.open(request_of(origin=PAGE), polling)
    session.receive_text(polling, b"40")
    await turn()
    cookie = f"{COOKIE}={token_of('Alice')}"
    assert session.probe(probe, request_of("EIO=4&transport=websocket", origin=PAGE, cookie=cookie))
    session.receive_text(polling, b"1")
    await turn()
    assert not session.is_live
    assert site.collaboration.connections == 0


async def test_connects_that_waited_for_an_upgrade_share_the_turns(patience: None, site: Site) -> None:
    """Their tokens are verified in these turns: strangers may let very many wait, and wake them together."""
    sessions = []
    for _ in range(20):
        polling = MemoryTransport("polling")
        session = site.server._registry.open(request_of(origin=PAGE), polling)
        session.receive_text(polling, b"40")
        sessions.append(session)
    await turn()
    site.server._registry.arrivals.share = 1e-9
    upgrade = request_of("EIO=4&transport=websocket", origin=PAGE, cookie=f"{COOKIE}={expired()}")
    for session in sessions:
        assert session.probe(MemoryTransport(), upgrade)
    outcomes = site.collaboration.authentication.outcomes
    assert await most_in_one_turn(outcomes.total, len(sessions)) <= 2
    assert outcomes == {"Authentication failed": len(sessions)}


async def test_a_client_that_waits_may_go(patience: None, running: Site) -> None:
    """Nothing remains of a session that closes before its upgrade."""
    async with Polling(running.address) as polling:
        await polling.post("40")
        await polling.post("1")
    await until(lambda: len(running.server._registry) == 0)
    assert running.collaboration.connections == 0


async def test_with_polling_only_no_client_waits_for_an_upgrade(patience: None) -> None:
    """No WebSocket can bring a cookie: the CONNECT is decided immediately."""
    server = SocketServer(transports=["polling"])
    Collaboration(server.of("/"), Authenticator(Keyring(SECRET)), incidents=server.incidents)
    async with serving(server) as address, Polling(address, opens=False) as client:
        assert (await client.open())["upgrades"] == []
        await client.post("40")
        (packet,) = await client.poll()
        assert refused(packet) == "Authentication required"


async def refuse_twice(client: WebSocket) -> None:
    """Fail as often as there is no delay."""
    for _ in range(2):
        assert refused(await answer(client, {"token": "a.b.c"})) == "Authentication failed"


@pytest.fixture
async def wary() -> AsyncIterator[Address]:
    """A server where two failures of an address have no delay."""
    server = SocketServer()
    Collaboration(
        server.of("/"), Authenticator(Keyring(SECRET)), failures=FailureBackoff(2), incidents=server.incidents
    )
    async with serving(server) as address:
        yield address


async def test_a_refusal_too_many_tells_how_long_it_took(wary: Address) -> None:
    """It has the time for clients to wait. A valid token then signs in over the same connection."""
    async with websocket(wary) as client:
        await refuse_twice(client)
        assert await answer(client, {"token": "a.b.c"}) == (
            '44{"message":"Authentication failed","data":{"retryAfter":0.5}}'
        )
        await client.connect(auth={"token": token_of("Bob")})
        assert await user_of(client) == "bob"


async def test_a_good_token_does_not_wait_where_others_fail(wary: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid token signs in immediately while a refusal of the same address waits."""
    for name in ("_FIRST_DELAY", "_LONGEST_DELAY"):
        monkeypatch.setattr(failures_module, name, 3600)  # longer than any test
    async with websocket(wary) as client, websocket(wary) as other:
        await refuse_twice(client)
        await client.send(connect_packet({"token": "a.b.c"}))
        await other.connect(auth={"token": token_of("Alice")})
        assert await user_of(other) == "alice"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.receive()


async def test_sign_ins_are_counted_by_outcome(site: Site) -> None:
    nobody = sign({"name": "Nobody"}, SECRET, expires_in=3600)
    for token in (token_of("Alice"), token_of("Bob"), nobody, "no-token-at-all", ""):
        MemoryClient(site.server, token, MemoryTransport(), request_of())
        await turn()
    signing = site.collaboration.authentication
    assert signing.outcomes == {
        "ok": 2,
        "Invalid token": 1,
        "Authentication failed": 1,
        "Authentication required": 1,
    }
    assert sum(signing.durations.counts) == 5


async def test_a_connect_that_waits_is_kept_as_it_came(site: Site, patience: None) -> None:
    """Decoded objects would take thirty times as much memory, and very many unauthenticated clients may wait."""
    transport = MemoryTransport("polling")
    session = site.server._registry.open(request_of(Origin=PAGE), transport)
    await turn()
    before = sum(type(item) is list for item in gc.get_objects())
    session.receive_text(transport, connect_packet({"lists": [[] for _ in range(10_000)]}).encode())
    await turn()
    assert len(transport.packets) == 1
    assert sum(type(item) is list for item in gc.get_objects()) < before + 1000
    session.receive_text(transport, b"1")
