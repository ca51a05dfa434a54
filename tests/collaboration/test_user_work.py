"""The limit on the work that all connections of one user cause together."""

import json

import pytest
from tests.collaboration.guarded import EDIT, Guarded, errors, limited, names, settle
from tests.collaboration.site import MemoryClient, token_of
from tests.support.clocks import Clock

from synkora.collaboration import limits as limits_module
from synkora.collaboration import user_work as spending_module
from synkora.collaboration.collaboration import HALF_SIZE
from synkora.collaboration.limits import EventClass, Limits, RateLimiter
from synkora.collaboration.user_work import (
    CONNECT_SIZE,
    DECODED_SIZE,
    DELIVERY_SIZE,
    EVENT_SIZE,
    JOIN_SIZE,
    TOLD_JOIN_SIZE,
    UserWork,
    UserWorks,
)
from synkora.engine.incidents import Limit
from synkora.sockets.internals import session_of

TIMED = (limits_module, spending_module)


async def join_counted(site: Guarded) -> tuple[MemoryClient, UserWork]:
    """Join a client; return it with the work of its user."""
    client = await site.join("Ann")
    await settle()
    work = site.collaboration.members[client.id].rate_limiter.work
    assert work is not None
    return client, work


async def test_connections_of_one_user_share_a_rate(clock: Clock) -> None:
    """The work of one delays the others. Another user's connections are not affected."""
    site = limited(user_byte_rate=3 * JOIN_SIZE + 20 * EVENT_SIZE)
    tabs = [await site.join("Ann") for _ in range(3)]
    bob = await site.join("Bob")
    await settle()
    for client in (*tabs, bob):
        client.take()
    for _ in range(10):
        tabs[0].emit(*EDIT)
    await settle()
    tabs[1].emit(*EDIT)
    bob.emit(*EDIT)
    await settle()
    (error,) = errors(tabs[1])
    assert (error["message"], error["event"]) == ("Too much for one user: slow down", "task:create")
    assert names(tabs[2]).count("task:create") == names(bob).count("task:create") + 1 < 11
    assert site.collaboration._incidents.limits[Limit.USER_WORK] >= 1
    clock.now += 10
    tabs[1].emit(*EDIT)
    await settle()
    assert names(bob) == ["task:create"]


async def test_a_delivery_counts_for_each_recipient(clock: Clock) -> None:
    """An event for a large project costs more than one without recipients."""
    site = limited(user_byte_rate=10_000_000)
    ann, work = await join_counted(site)

    async def cost() -> float:
        clock.now += 100
        ann.emit(*EDIT)
        await settle()
        return (work.due - clock.now) * 10_000_000

    alone = await cost()
    for _ in range(10):
        await site.join("Bob")
    await settle()
    assert await cost() - alone == pytest.approx(10 * DELIVERY_SIZE, rel=0.1)


async def test_values_of_an_event_with_attachments_count_for_the_user(clock: Clock) -> None:
    """Each instance decodes them, for each connection of the user."""
    site = limited(user_byte_rate=10_000_000)
    ann, work = await join_counted(site)
    binary = '451-["canvas:update",{"projectId":"p","changes":[{"_placeholder":true,"num":0}%s]}]'

    async def cost(changes: str) -> float:
        clock.now += 100
        ann.send(binary % changes)
        ann.session.receive_binary(ann.session.transport, b"x")
        await settle()
        return (work.due - clock.now) * 10_000_000

    assert await cost(",0" * 500) - await cost("") == pytest.approx(500 * DECODED_SIZE, rel=0.15)


async def test_a_join_counts_for_more(clock: Clock) -> None:
    """Also an edit that needs a question about access, but no edit to a known project."""
    site = limited(user_byte_rate=1_000_000)
    ann = site.come("Ann")
    await settle()
    work = site.collaboration.members[ann.id].rate_limiter.work
    assert work is not None

    async def cost(*event: object) -> float:
        clock.now += 100
        ann.emit(*event)
        await settle()
        return (work.due - clock.now) * 1_000_000

    assert await cost(*EDIT) > JOIN_SIZE
    assert await cost(*EDIT) < JOIN_SIZE / 2
    assert await cost("join-project", "p") > JOIN_SIZE


async def test_a_join_may_count_for_even_more(clock: Clock) -> None:
    """Where the app's backend is told of it."""
    site = limited(user_byte_rate=1_000_000, join_size=TOLD_JOIN_SIZE)
    ann = site.come("Ann")
    await settle()
    work = site.collaboration.members[ann.id].rate_limiter.work
    assert work is not None
    clock.now += 100
    ann.emit("join-project", "p")
    await settle()
    assert (work.due - clock.now) * 1_000_000 > TOLD_JOIN_SIZE


async def test_repeated_connects_count_too(clock: Clock) -> None:
    """The first CONNECT of a connection does not: a user may open many tabs together."""
    site = limited(user_byte_rate=25_000_000)
    tabs = [site.come("Ann") for _ in range(10)]
    await settle()
    work = site.collaboration.members[tabs[0].id].rate_limiter.work
    assert work is not None
    assert work.due <= clock.now
    for tab in tabs[:3]:
        tab.send("41")
        tab.send("40" + json.dumps({"token": token_of("Ann")}))
    await settle()
    assert (work.due - clock.now) * 25_000_000 == pytest.approx(3 * CONNECT_SIZE, rel=0.1)
    tabs[0].take()
    tabs[0].send("41")
    tabs[0].send("40" + json.dumps({"token": token_of("Ann")}))
    await settle()
    assert "Too much for one user: slow down" in str(tabs[0].transport.packets)


def test_reconnecting_does_not_clear_a_debt(clock: Clock) -> None:
    works = UserWorks(1000)
    work = works.of("ann")
    assert work is not None
    work.count_delivery(1000, 1)
    due = work.due
    works.store_debt("ann")
    del work
    assert len(works._works) == 0
    again = works.of("ann")
    assert again is not None
    assert again.due == due
    clock.now += 100
    works.store_debt("ann")
    assert not works._debts


def test_debts_of_very_many_users_are_not_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending_module, "_MAX_DEBTORS", 2)
    works = UserWorks(1000)
    for name in ("ann", "bob", "eve"):
        work = works.of(name)
        assert work is not None
        work.count_delivery(1000, 1)
        works.store_debt(name)
    assert list(works._debts) == ["bob", "eve"]


def test_the_default_is_above_the_apps_traffic(clock: Clock) -> None:
    """Five busy tabs of a user among 250 others, with a document of 20 kB once a second each, are never refused."""
    limits = Limits()
    work = UserWorks(limits.user_byte_rate).of("ann")
    assert work is not None
    tabs = [RateLimiter(limits, work) for _ in range(5)]
    for _ in range(60):
        for tab in tabs:
            for kind, often, size in (
                (EventClass.VOLATILE, 13, 100),
                (EventClass.EDIT, 4, 500),
                (EventClass.EDIT, 1, 20_000),
            ):
                for _ in range(often):
                    tab.take(kind, size)
                    work.count_delivery(size, 250)
        clock.now += 1


async def test_halves_of_surrogate_pairs_count_as_more(clock: Clock) -> None:
    """Reading them takes longer. A few are a few hundred bytes more."""
    site = limited(byte_rate=HALF_SIZE * 100)
    ann = await site.join("Ann")
    await settle()
    ann.take()
    edit = '42["task:create",{"projectId":"p","task":"%s"}]'
    ann.send(edit % (r"\ud83d" * 10))
    await settle()
    assert errors(ann) == []
    ann.send(edit % (r"\ud83d\uDE00" * 200))
    ann.send(edit % "x")
    await settle()
    assert [error["message"] for error in errors(ann)] == ["Too much data: slow down"]


async def test_a_text_with_a_half_counts_as_several_texts(clock: Clock) -> None:
    """It is searched and decoded repeatedly, however long it is. A text with a whole pair counts once."""
    text = "x" * 3000
    site = limited(byte_rate=2000)  # three times as many at once
    ann = await site.join("Ann")
    await settle()
    for start, refused in ((r"\ud83d\ude00", 0), (r"\ud83d", 1)):
        clock.now += 10
        ann.take()
        ann.send(f'42["task:create",{{"projectId":"p","task":"{start}{text}"}}]')
        ann.send('42["task:create",{"projectId":"p","task":1}]')
        await settle()
        assert [error["message"] for error in errors(ann)] == ["Too much data: slow down"] * refused


async def test_many_connections_of_one_user_share_a_part_of_each_turn() -> None:
    """Those beyond the first few: what they receive delays others by no more. Another user has a part of their own."""
    site = limited(user_byte_rate=200_000_000)
    tabs = [await site.join("Ann") for _ in range(7)]
    bobs = [await site.join("Bob") for _ in range(5)]
    ann, bob = ([session_of(site.collaboration.members[tab.id].socket).budget for tab in each] for each in (tabs, bobs))
    assert ann[:4] == bob[:4] == [None] * 4
    assert ann[4] is ann[5] is ann[6]
    assert None not in (ann[4], bob[4])
    assert ann[4] is not bob[4]


async def test_the_first_connections_of_one_user_share_the_time_for_their_http_requests() -> None:
    """Each could take a part of each turn, over plain HTTP connections, which count for nobody."""
    site = limited(user_byte_rate=200_000_000)
    tabs = [await site.join(name) for name in ("Ann", "Ann", "Ann", "Ann", "Bob")]
    *ann, bob = [session_of(site.collaboration.members[tab.id].socket).request_budget for tab in tabs]
    assert ann == [ann[0]] * 4
    assert bob is not ann[0]


async def test_many_connections_of_one_user_share_what_they_hold_of_unfinished_messages() -> None:
    site = limited(user_byte_rate=200_000_000)
    sessions = [session_of(site.collaboration.members[(await site.join("Ann")).id].socket) for _ in range(6)]
    assert [session.unfinished for session in sessions[:4]] == [None] * 4
    assert sessions[4].unfinished is sessions[5].unfinished is not None
    assert sessions[3].outbox.of_user is None
    assert sessions[4].outbox.of_user is sessions[5].outbox.of_user is not None


async def test_what_waits_counts_for_the_user_of_the_latest_connect() -> None:
    """Another user may sign in over the same connection, while messages wait for it."""
    site = limited(user_byte_rate=200_000_000)
    ann = [await site.join("Ann") for _ in range(6)]
    bob = [await site.join("Bob") for _ in range(5)]
    members = site.collaboration.members
    of_ann, of_bob = (session_of(members[tabs[-1].id].socket).outbox.of_user for tabs in (ann, bob))
    assert of_ann is not None
    assert of_bob is not None
    await settle()
    tab = ann[-1]
    tab.transport.writable = False
    for _ in range(5):
        ann[0].emit(*EDIT)
        await settle()
    waiting = of_ann.messages
    assert waiting >= 5
    tab.send("41")
    tab.send("40" + json.dumps({"token": token_of("Bob")}))
    await settle()
    assert of_ann.messages == 0
    assert of_bob.messages >= waiting
    tab.transport.writable = True
    tab.session.outbox.flush()
    assert (of_ann.messages, of_bob.messages) == (0, 0)


async def test_an_event_counts_the_same_whether_it_is_found_for_a_return_or_read_in_vain(clock: Clock) -> None:
    """It is read either way: the longest replay is no cheaper than one that is refused as too long."""
    in_vain, found = (UserWorks(200_000_000).of("ann") for _ in range(2))
    assert in_vain is not None
    assert found is not None
    in_vain.count_read(5000)
    found.count_replay(5000, 0)
    assert in_vain.due == found.due > clock.now
