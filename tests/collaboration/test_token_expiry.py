"""Sessions end with their tokens, unless a new one comes before."""

import asyncio
import json
import time
from typing import Any

import pytest
from joserfc import jws
from tests.collaboration.guarded import UNLIMITED, MakeGuarded, Roles, acks, errors, first_error, heard, names, settle
from tests.collaboration.site import SECRET, MemoryClient, Site, running_site, token_of
from tests.collaboration.tabs import one_lost
from tests.support.clients import Polling, websocket
from tests.support.page import held_reads
from tests.support.servers import most_in_one_turn, until
from tests.support.sessions import MemoryTransport, request_of

from synkora.collaboration import token_expiry as expiry_module
from synkora.collaboration.access import Role
from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import IncidentKind
from synkora.identity.keys import signing_key
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring
from synkora.sockets.server import SocketServer

EXPIRED = {"message": "Session expired"}
SOON = 0.3  # seconds
TOLERANCE = 15  # seconds, which tokens are taken after their end


def token(name: str, ends_in: float | None, **claims: object) -> str:
    """A token with `exp` in this many seconds, or without `exp`."""
    times = {} if ends_in is None else {"exp": time.time() + ends_in}
    return jws.serialize_compact(
        {"alg": "HS256"}, json.dumps({"id": name.lower(), "name": name, **times, **claims}), signing_key(SECRET)
    )


def tampered(token: str) -> str:
    content, _, signature = token.rpartition(".")
    return f"{content}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


async def come(site: Site, name: str, ends_in: float | None) -> MemoryClient:
    client = MemoryClient(site.server, token(name, ends_in), MemoryTransport(), request_of())
    await settle()
    return client


@pytest.fixture
async def ann(site: Site) -> MemoryClient:
    return await come(site, "Ann", 3600)


async def refreshed(client: MemoryClient, payload: object) -> dict[str, Any]:
    """The ack of `auth:refresh`."""
    before = len(acks(client))
    client.send('429["auth:refresh",' + json.dumps(payload) + "]")
    await settle()
    (answer,) = acks(client)[before]
    result: dict[str, Any] = answer
    return result


class Clock:
    """The clock of the expiries, which a test can advance."""

    ahead = 0.0  # seconds

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(expiry_module, "time", clock)
    monkeypatch.setattr(expiry_module, "_LONGEST_TIMER", 0.02)
    return clock


def ended(client: MemoryClient) -> bool:
    return not client.session.is_live


def has_timer(site: Site) -> bool:
    (member,) = site.collaboration._members.values()
    return member in site.collaboration._expiry._ends


# The end


async def test_a_session_ends_with_its_token(site: Site) -> None:
    """First the error, then Socket.IO's DISCONNECT, then the connection: its cookie is as old as the token."""
    ann = await come(site, "Ann", SOON)
    assert names(ann) == ["connected"]
    await until(lambda: ended(ann))
    assert ann.take_events() == [["error", EXPIRED]]
    assert ann.transport.packets[-1] == b"41"
    assert ann.transport.closed_with == (Reason.SERVER_NAMESPACE_DISCONNECT, None)
    assert site.collaboration.connections == 0


async def test_it_does_not_end_before(site: Site) -> None:
    """Until `exp`, everything works."""
    ends_at = time.time() + SOON
    ann = await come(site, "Ann", SOON)
    await until(lambda: ended(ann))
    assert time.time() >= ends_at - 0.01  # as finely as a timer is set


async def test_a_return_whose_token_ends_during_its_last_read_is_gone(clock: Clock) -> None:
    """The user stayed in the lists, and counted as connected, until a restart."""
    site = Site(recovery=True)
    lost, bob = await one_lost(site)
    with held_reads(site.server) as reads:
        await lost.come(token=token("Ann", 60))
        reads.pop()()
        await settle()
        assert site.collaboration.connections == 2
        clock.ahead = 61
        await until(lambda: not lost.session.is_live)
        reads.pop()()
        await settle()
    assert list(site.collaboration.members) == [bob.sid]
    assert site.collaboration.users == 1
    assert site.collaboration.presence.count("p") == 1


async def test_the_leave_of_an_expired_member_is_announced(site: Site) -> None:
    (bob,) = await site.meet("Bob", project="p")
    ann = await come(site, "Ann", SOON)
    ann.emit("join-project", "p")
    events = await heard(bob, lambda events: any(event[0] == "user:left" for event in events))
    assert "user:joined" in [event[0] for event in events]
    assert site.collaboration.presence.count("p") == 1


@pytest.mark.parametrize("ends_in", [None, 3600])
async def test_a_token_without_an_early_expiry_ends_nothing(site: Site, ends_in: float | None) -> None:
    ann = await come(site, "Ann", ends_in)
    await asyncio.sleep(0.05)
    assert has_timer(site) is (ends_in is not None)
    assert errors(ann) == []
    assert not ended(ann)
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)


async def test_an_expired_token_within_the_tolerance_lasts_until_its_end(site: Site) -> None:
    """Clocks differ: a token that has just expired admits its user for a limited time, which is not zero."""
    ann = await come(site, "Ann", SOON - TOLERANCE)
    assert names(ann) == ["connected"]
    await until(lambda: ended(ann))
    assert errors(ann) == [EXPIRED]


async def test_a_far_end_is_waited_for_in_stretches(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No timer is longer than a day, so that a corrected clock is noticed. The expiry is the same."""
    monkeypatch.setattr(expiry_module, "_LONGEST_TIMER", 0.02)
    ends_at = time.time() + SOON
    ann = await come(site, "Ann", SOON)
    await until(lambda: ended(ann))
    assert time.time() >= ends_at - 0.01
    assert errors(ann) == [EXPIRED]


@pytest.mark.parametrize("ends_in", [1e12, 1e15, 1e300])
async def test_an_expiry_outside_the_calendar_counts_as_none(site: Site, ends_in: float) -> None:
    """Some apps count in milliseconds. Connects and refreshes succeed."""
    ann = await come(site, "Ann", ends_in)
    assert names(ann) == ["connected"]
    assert await refreshed(ann, token("Ann", ends_in)) == {"ok": True, "expiresAt": None}
    assert errors(ann) == []
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)


async def test_a_member_that_has_left_is_no_longer_watched(site: Site, ann: MemoryClient) -> None:
    assert has_timer(site)
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
    assert not site.collaboration._expiry._ends


async def test_many_sessions_end_each_with_its_own_token(site: Site) -> None:
    """Clients with expired tokens are disconnected, and the others stay, in any order of connects."""
    late, soon, later = await come(site, "Ann", 3600), await come(site, "Bob", SOON), await come(site, "Cid", 7200)
    await until(lambda: ended(soon))
    assert not ended(late)
    assert not ended(later)
    sooner = await come(site, "Dan", SOON)
    await until(lambda: ended(sooner))
    assert not ended(late)


async def test_sessions_that_end_at_once_share_the_turns(site: Site, clock: Clock) -> None:
    """A client that sends a fresh token before its turn stays, by a refresh or by a new CONNECT."""
    clients = [await come(site, f"User {number}", 60) for number in range(20)]
    site.collaboration._endings.share = 1e-9
    clock.ahead = 61
    await until(lambda: any(map(ended, clients)))
    clients.pop().send('421["auth:refresh",' + json.dumps(token("User 19", 3600)) + "]")
    again = clients.pop()
    again.send("41")
    again.send("40" + json.dumps({"token": token("User 18", 3600)}))
    assert await most_in_one_turn(lambda: sum(map(ended, clients)), len(clients)) <= 2
    await settle()
    assert site.collaboration.connections == 2


async def test_connections_that_an_operator_ends_share_the_turns(site: Site) -> None:
    clients = [await come(site, "Ann", 60) for _ in range(20)]
    site.collaboration._endings.share = 1e-9
    assert site.collaboration.disconnect_all("user", "ann") == len(clients)
    assert await most_in_one_turn(lambda: sum(map(ended, clients)), len(clients)) <= 2


async def test_a_websocket_client_gets_a_message_and_is_closed() -> None:
    """Over a real connection: the error, the DISCONNECT, and a close frame."""
    async with running_site() as site, websocket(site.address) as client:
        await client.connect(auth={"token": token("Ann", SOON)})
        assert (await client.event())[0] == "connected"
        assert await client.event() == ["error", EXPIRED]
        assert await client.receive() == "41"
        assert await client.closed() == 1000


async def test_a_polling_client_gets_a_message_and_its_session_ends() -> None:
    """Over a real connection: the message comes with its last poll."""
    async with running_site() as site, Polling(site.address) as client:
        await client.post("40" + json.dumps({"token": token("Ann", SOON)}))
        packets: list[str] = []
        while "41" not in packets:
            packets += await client.poll()
        assert '42["error",{"message":"Session expired"}]' in packets
        while packets[-1] != "1":
            packets += await client.poll()
        assert (await client.get()).status_code == 400


# A fresh token


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_fresh_token_extends_the_session(site: Site, clock: Clock, wrapped: bool) -> None:
    """As text or as `{token}`. The connection keeps its projects, and the ack has the new expiry."""
    ann, bob = await come(site, "Ann", 3600), await come(site, "Bob", 3600)
    ann.emit("join-project", "p")
    await settle()
    fresh = token("Ann", 7200)
    answer = await refreshed(ann, {"token": fresh} if wrapped else fresh)
    assert answer["ok"] is True
    assert answer["expiresAt"].endswith("Z")
    clock.ahead = 3600
    await until(lambda: ended(bob))
    assert not ended(ann)
    assert errors(ann) == []
    assert site.collaboration.presence.count("p") == 1
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)


async def test_the_acknowledgement_names_the_moment_of_the_end(ann: MemoryClient) -> None:
    """ISO 8601 in UTC with milliseconds."""
    answer = await refreshed(ann, token("Ann", None, exp=4102444800.25))
    assert answer == {"ok": True, "expiresAt": "2100-01-01T00:00:00.250Z"}
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)


async def test_a_refreshed_session_ends_with_its_new_token(ann: MemoryClient) -> None:
    """Later or earlier than the first expiry."""
    await refreshed(ann, token("Ann", SOON))
    await until(lambda: ended(ann))
    assert errors(ann) == [EXPIRED]


async def test_a_session_that_is_refreshed_with_an_endless_token_has_no_end(site: Site, ann: MemoryClient) -> None:
    assert await refreshed(ann, token("Ann", None)) == {"ok": True, "expiresAt": None}
    assert not has_timer(site)


async def test_a_refresh_without_an_ack_is_accepted(site: Site, ann: MemoryClient) -> None:
    ann.take()
    ann.emit("auth:refresh", token("Ann", None))
    await settle()
    assert ann.take() == []
    assert not has_timer(site)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_another_users_token_is_refused(clock: Clock, wrapped: bool, ann: MemoryClient) -> None:
    """A connection cannot change its user. The expiry stays unchanged."""
    other = token("Bob", 7200)
    answer = await refreshed(ann, {"token": other} if wrapped else other)
    assert answer == {"ok": False, "message": "The token is another user's"}
    clock.ahead = 3600
    await until(lambda: ended(ann))


async def test_wrong_tokens_of_a_refresh_count_as_failed_sign_ins() -> None:
    """Forged ones and other users': above the limit, answers are delayed. A valid token never waits."""
    failures = FailureBackoff(2)
    server = SocketServer()
    authenticator = Authenticator(Keyring(SECRET))
    expiry = Collaboration(server.of("/"), authenticator, failures=failures, incidents=server.incidents)._expiry
    ann = MemoryClient(server, token("Ann", 3600), MemoryTransport(), request_of())
    await settle()
    for wrong in (tampered(token("Ann", 3600)), token("Bob", 3600)):
        assert (await refreshed(ann, wrong))["ok"] is False
    assert list(failures.counts.values()) == [2]
    assert server.incidents.totals[IncidentKind.SIGN_IN_REFUSED] == 2
    before = len(acks(ann))
    ann.send('429["auth:refresh","guess"]')
    await settle()
    assert len(acks(ann)) == before  # it waits
    assert expiry._delayed == {"ann": 1}
    assert (await refreshed(ann, token("Ann", 7200)))["ok"] is True
    await until(lambda: len(acks(ann)) == before + 2)
    (answer,) = acks(ann)[-1]
    assert answer == {"ok": False, "message": "Authentication failed"}


async def test_few_refusals_of_a_user_are_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that causes one more ends, and may return. A valid token is taken, and others have their own."""
    monkeypatch.setattr(expiry_module, "MOST_DELAYED", 5)
    server = SocketServer()
    collaboration = Collaboration(server.of("/"), Authenticator(Keyring(SECRET)), failures=FailureBackoff(1))
    expiry = collaboration._expiry
    ann, tab, bob = [
        MemoryClient(server, token(name, 3600), MemoryTransport(), request_of()) for name in ("Ann", "Ann", "Bob")
    ]
    await settle()
    for client in (ann, ann, ann, tab, tab, tab):  # the first one is not delayed
        client.send('429["auth:refresh","guess"]')
    await settle()
    assert expiry._delayed == {"ann": 5}
    assert (await refreshed(tab, token("Ann", 7200)))["ok"] is True
    bob.send('429["auth:refresh","guess"]')
    tab.send('429["auth:refresh","guess"]')
    await settle()
    assert expiry._delayed == {"ann": 5, "bob": 1}
    assert tab.transport.closed_with == (Reason.FORCED_SERVER_CLOSE, None)
    assert not ended(ann)
    assert not ended(bob)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("not.a.token", "Authentication failed"),
        ("", "Authentication required"),
        (None, "Authentication required"),
        ({}, "Authentication required"),
        ({"token": None}, "Authentication required"),
        ({"token": 7}, "Authentication failed"),
        (7, "Authentication failed"),
        (["a"], "Authentication failed"),
        ({"token": {"token": "a"}}, "Authentication failed"),
    ],
)
async def test_a_bad_token_is_refused_with_the_message_of_a_sign_in(
    clock: Clock, payload: object, message: str, ann: MemoryClient
) -> None:
    """And with nothing else: no error event, no disconnect, no new expiry."""
    assert await refreshed(ann, payload) == {"ok": False, "message": message}
    assert errors(ann) == []
    clock.ahead = 3600
    await until(lambda: ended(ann))


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (lambda: token("Ann", -3600), "Authentication failed"),
        (lambda: tampered(token_of("Ann")), "Authentication failed"),
        (lambda: token("", None), "Invalid token"),
    ],
    ids=["expired", "tampered with", "nobody's"],
)
async def test_a_token_that_would_not_sign_in_does_not_refresh(forged: Any, message: str, ann: MemoryClient) -> None:
    assert await refreshed(ann, forged()) == {"ok": False, "message": message}
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)


async def test_a_refresh_without_arguments_is_refused(ann: MemoryClient) -> None:
    ann.send('429["auth:refresh"]')
    await settle()
    assert acks(ann) == [[{"ok": False, "message": "Authentication required"}]]
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)


async def test_access_is_asked_for_with_the_fresh_token(guarded: MakeGuarded) -> None:
    """The app would refuse a question with the expired token."""
    tokens: list[str] = []

    class Asked(Roles):
        async def role(self, signed_in: Any, project_id: str) -> Role | None:
            tokens.append(signed_in.token)
            return await super().role(signed_in, project_id)

    site = guarded(Asked(ann=Role.OWNER), recheck=0.02, limits=UNLIMITED)
    first, fresh = token("Ann", 3600), token("Ann", 7200)
    ann = MemoryClient(site.server, first, MemoryTransport(), request_of())
    ann.emit("join-project", "p")
    await until(lambda: len(tokens) > 1)
    assert set(tokens) == {first}
    await refreshed(ann, fresh)
    tokens.clear()
    await until(lambda: len(tokens) > 1)
    assert set(tokens) == {fresh}
    site.roles.roles.clear()
    await first_error(ann)
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
