"""Sessions in the app's database: sign-in by their keys, and members while their session exists."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from tests.collaboration.site import PAGE, SECRET, Site
from tests.support.logs import capture_logs
from tests.support.servers import until
from tests.support.sessions import MemoryTransport, request_of

from synkora.collaboration import kept_sessions, keyed_limit
from synkora.collaboration.access import AccessUnavailable
from synkora.collaboration.kept_sessions import SessionsNotStored
from synkora.identity.tokens import sign
from synkora.identity.user import User

KEY = "3d1b7c52-6f0e-4a5e-9c1d-2f8f1c1f7d11"
ANN = User("ann", "Ann")


class Kept:
    """The app's sessions. `trouble` is the reason for an outage."""

    def __init__(self, **sessions: User) -> None:
        self.sessions = {KEY: ANN, **sessions}
        self.asked: list[str] = []
        self.trouble: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, key: str) -> User | None:
        self.asked.append(key)
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return self.sessions.get(key)

    async def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def kept() -> Kept:
    return Kept()


class Office(Site):
    """A server in memory for an app that keeps its sessions."""

    def __init__(self, kept: Kept | None, recheck: float = 3600) -> None:
        super().__init__(sessions=kept, recheck=recheck)

    def come_by(
        self, cookie: str = f"next-auth.session-token={KEY}", auth: str = "", address: str = "127.0.0.1"
    ) -> MemoryTransport:
        transport = MemoryTransport()
        session = self.server._registry.open(
            replace(request_of(cookie=cookie, origin=PAGE), address=address), transport
        )
        session.receive_text(transport, b"40" + auth.encode())
        return transport


def words(transport: MemoryTransport) -> str:
    return " ".join(packet.decode() for packet in transport.packets)


async def said(transport: MemoryTransport, text: str) -> str:
    """All received messages as soon as they contain this text."""
    await until(lambda: text in words(transport))
    return words(transport)


@pytest.mark.parametrize(
    "cookie",
    [
        f"next-auth.session-token={KEY}",
        f"__Secure-authjs.session-token={KEY}",
        f"next-auth.session-token=stale-session-of-before; next-auth.session-token={KEY}",
    ],
)
async def test_a_key_signs_in(cookie: str) -> None:
    assert '"userId":"ann"' in await said(Office(Kept()).come_by(cookie), '"connected"')


async def test_a_key_that_the_page_passes_signs_in(kept: Kept) -> None:
    """The app may give the session's key to the page. A user's id in its place finds no session."""
    await said(Office(kept).come_by("", '{"token":"' + KEY + '"}'), '"connected"')
    await said(Office(kept).come_by("", '{"token":"clh1a2b3c0000user0id00000"}'), "Authentication failed")


async def test_a_token_needs_no_database(kept: Kept) -> None:
    """The app's tokens are verified as usual."""
    token = sign({"id": "bob"}, SECRET, expires_in=60)
    assert '"userId":"bob"' in await said(Office(kept).come_by(f"next-auth.session-token={token}"), '"connected"')
    assert kept.asked == []


@pytest.mark.parametrize("cookie", ["next-auth.session-token=no-such-session-key", "next-auth.session-token=short"])
async def test_a_client_without_a_session_is_refused(cookie: str) -> None:
    """As with an invalid token. The log has the reason."""
    office = Office(Kept())
    assert "Authentication failed" in await said(office.come_by(cookie), "44")
    assert office.server.incidents.totals == {"sign-in refused": 1}


async def test_cookies_of_other_sites_pages_are_not_looked_up(kept: Kept) -> None:
    """Only cookies of allowed origins are."""
    office = Office(kept)
    transport = MemoryTransport()
    session = office.server._registry.open(request_of(cookie=f"next-auth.session-token={KEY}"), transport)
    session.receive_text(transport, b"40")
    await said(transport, "Authentication required")
    assert kept.asked == []


async def test_answers_are_remembered(kept: Kept) -> None:
    """Tabs of one session, one after the other or simultaneous, are one question."""
    office = Office(kept)
    for transport in [office.come_by() for _ in range(5)]:
        await said(transport, '"connected"')
    await said(office.come_by(), '"connected"')
    assert kept.asked == [KEY]


async def test_endless_unknown_keys_do_not_delay_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few keys of one address are looked up at a time. Other addresses do not wait for them."""
    monkeypatch.setattr(keyed_limit, "MAX_PER_KEY", 2)
    kept = Kept()
    kept.gate.clear()
    office = Office(kept)
    flood = [
        office.come_by(f"next-auth.session-token=no-such-session-{number}", address="192.0.2.7") for number in range(9)
    ]
    await asyncio.sleep(0.01)
    assert len(kept.asked) == 2
    honest = office.come_by()
    await asyncio.sleep(0.01)
    assert kept.asked[2:] == [KEY]
    kept.gate.set()
    await said(honest, '"connected"')
    for transport in flood:
        await said(transport, "Authentication failed")


async def test_strangers_of_very_many_addresses_leave_room_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same database answers access questions for signed-in users."""
    monkeypatch.setattr(kept_sessions, "MAX_LOOKUPS", 3)
    kept = Kept()
    kept.gate.clear()
    office = Office(kept)
    for number in range(9):
        office.come_by(f"next-auth.session-token=no-such-session-{number}", address=f"192.0.2.{number}")
    await asyncio.sleep(0.01)
    assert len(kept.asked) == 3
    kept.gate.set()
    await until(lambda: len(kept.asked) == 9)


async def test_without_an_answer_of_the_database_the_client_has_to_reconnect(kept: Kept) -> None:
    """The connection ends without a refusal: after a refusal, a client would not reconnect."""
    kept.trouble = AccessUnavailable("the database is down")
    office = Office(kept)
    transport = office.come_by()
    await until(lambda: transport.closed_with is not None)
    assert "44" not in [packet[:2].decode() for packet in transport.packets]
    assert office.server.incidents.totals == {"access check failed": 1}
    assert office.collaboration.connections == 0
    kept.trouble = None
    await said(office.come_by(), '"connected"')


async def test_an_app_without_such_sessions(kept: Kept) -> None:
    """If the database has no such tables, a cookie without a token is refused."""
    kept.trouble = SessionsNotStored("no table")
    assert "Authentication failed" in await said(Office(kept).come_by(), "44")


async def test_a_client_that_disconnects_meanwhile_is_not_signed_in() -> None:
    office = Office(Kept())
    transport = office.come_by()
    (session,) = office.server._registry
    session.transport_closed(transport, session._end_reason)
    for _ in range(10):
        await asyncio.sleep(0)
    assert office.collaboration.connections == 0


async def test_a_deleted_session_ends_the_connection(kept: Kept) -> None:
    office = Office(kept, recheck=0.02)
    transport = office.come_by()
    await said(transport, '"connected"')
    await until(lambda: len(kept.asked) > 2)
    assert office.collaboration.connections == 1
    del kept.sessions[KEY]
    await said(transport, "Session expired")
    assert office.collaboration.connections == 0


async def test_members_stay_while_the_database_is_unavailable(kept: Kept) -> None:
    office = Office(kept, recheck=0.02)
    await said(office.come_by(), '"connected"')
    kept.trouble = AccessUnavailable("the database is down")
    asked = len(kept.asked)
    await until(lambda: len(kept.asked) > asked + 2)
    assert office.collaboration.connections == 1


async def test_a_session_that_the_app_renews_continues() -> None:
    """Until its new expiry. Without a renewal it ends at its first expiry."""
    for renewed in (True, False):
        kept = Kept()
        kept.sessions[KEY] = replace(ANN, expires_at=time.time() + 0.3)
        office = Office(kept, recheck=0.02)
        transport = office.come_by()
        await said(transport, '"connected"')
        if renewed:
            kept.sessions[KEY] = replace(ANN, expires_at=time.time() + 3600)
            (member,) = office.collaboration.members.values()
            await until(lambda member=member: member.user.expires_at > time.time() + 1000)
        else:
            await said(transport, "Session expired")


async def test_without_a_database_the_log_has_advice() -> None:
    """Once, however many clients connect. Each is refused."""
    office = Office(None)
    with capture_logs() as logs:
        for _ in range(3):
            await said(office.come_by(), "Authentication failed")
    cautions: list[Any] = [line["text"] for line in logs if line["event"] == "caution"]
    assert len(cautions) == 1
    assert "set DATABASE_URL" in cautions[0]
    assert KEY not in str(logs)
    (tally,) = office.server.incidents.take()
    assert "DATABASE_URL is not set" in tally.label
