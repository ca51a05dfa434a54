"""The sessions of lost connections in Redis."""

import asyncio
import sys
from dataclasses import replace

import msgspec
import pytest
from tests.contracts.session_store import NOW, SESSION, SessionStoreContract, lost
from tests.redis_adapter.recovery_stores import Followed, lose
from tests.support.clocks import Clock
from tests.support.links import QUICK, MakeLink, started
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.recovery.changes import encode
from synkora.recovery.ports import SavedSession
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis.url import Server
from synkora.redis_adapter import session_store


class TestRedisSessions(SessionStoreContract):
    pass


def large(number: int) -> SavedSession:
    """A session with many long names of rooms."""
    rooms = tuple(f"{number}-{room}-" + "x" * 700 for room in range(50))
    return msgspec.structs.replace(SESSION, pid=f"pid-{number}", rooms=rooms, joined=(1,) * 50)


async def test_many_large_sessions_do_not_end_the_link(redis: RedisServer, make_link: MakeLink) -> None:
    """When Redis is back, together they are more than a link holds: they are saved a part at a time."""
    link = await started(make_link(settings=replace(QUICK, max_waiting=2_000_000, timeout=10)))
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    for number in range(200):
        sessions.save(large(number))
    await until(lambda: redis.do("DBSIZE") == 200)
    redis.do("FLUSHALL")
    lose(link)
    await until(lambda: link.is_up)
    await until(lambda: redis.do("DBSIZE") == 200)
    assert link.reconnects == 1
    assert await sessions.take("pid-199") == large(199)


async def test_a_session_that_is_saved_repeatedly_in_a_turn_is_written_once(redis: RedisServer, link: Link) -> None:
    """Each join of very many saves it, with the names of all rooms."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    await until(lambda: redis.do("DBSIZE") == 1)
    redis.do("CONFIG", "RESETSTAT")
    for number in range(50):
        sessions.save(large(7 + number % 2))
    await until(lambda: redis.do("DBSIZE") == 3)
    assert redis.do("INFO", "commandstats").decode().count("cmdstat_set:calls=2,") == 1


async def test_a_newer_state_is_what_is_saved_after_a_loss_of_the_link(redis: RedisServer, link: Link) -> None:
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    redis.pause()
    sessions.save(msgspec.structs.replace(SESSION, rooms=(), joined=()))
    await asyncio.sleep(0.01)
    sessions.save(SESSION)
    await asyncio.sleep(0.01)
    lose(link)
    redis.resume()
    await until(lambda: link.is_up)
    assert await sessions.take("pid-1") == SESSION


async def test_sessions_that_wait_for_redis_are_bounded_in_bytes(
    redis: RedisServer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_store, "_MAX_UNSAVED", 4 * large(0).size)
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    redis.kill()
    await until(lambda: not link.is_up)
    for number in range(8):
        sessions.save(msgspec.structs.replace(large(number), lost_at=NOW))
    redis.start()
    await until(lambda: link.is_up)
    found = [await sessions.take(f"pid-{number}") for number in range(8)]
    assert [session is not None for session in found] == [False] * 4 + [True] * 4


async def test_sessions_that_expire_together_are_dropped_a_part_at_a_time(redis: RedisServer, link: Link) -> None:
    """Redis would do nothing else meanwhile. An expired session is useless anyway."""
    clock = Clock()
    sessions = Followed(link, RecoverySettings(session_age=60), clock).sessions("/")
    for number in range(250):
        sessions.save(lost(f"pid-{number}"))
    await until(lambda: redis.do("ZCARD", sessions._prefix + "times") == 250)
    clock.now += 61
    assert await sessions.take("pid-249") is None
    assert redis.do("ZCARD", sessions._prefix + "times") == 149


@pytest.mark.parametrize(
    "written",
    [
        b"junk",
        b"another:0:junk",
        b"another:0:" + encode(SESSION).replace(b"user", b"\xff" * 4),
        b"another:0:" + encode(SESSION).replace(encode(SESSION.joined), encode(SESSION.joined[:1])),
    ],
    ids=["junk", "with junk for data", "not UTF-8", "another number of rooms"],
)
async def test_a_session_of_another_version_is_unknown(
    redis: RedisServer, link: Link, written: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    redis.do("SET", sessions._prefix + "pid:pid-1", written)
    assert await sessions.take("pid-1") is None
    assert "session_unreadable" in caplog.text


async def test_sessions_that_could_not_be_saved_are_saved_later(redis: RedisServer, link: Link) -> None:
    """Also those that Redis has lost with its data."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    redis.kill()
    await until(lambda: not link.is_up)
    sessions.save(lost("pid-2"))
    assert await sessions.take("pid-1") is None
    redis.start()
    await until(lambda: link.is_up)
    assert await sessions.take("pid-1") == SESSION
    assert await sessions.take("pid-2") == lost("pid-2")


class Away:
    """Lets a link be down until it may return."""

    def __init__(self, link: Link, patch: pytest.MonkeyPatch) -> None:
        self._link = link
        self._may_return = asyncio.Event()
        find = link._discovery.find

        async def find_later() -> Server:
            await self._may_return.wait()
            return await find()

        patch.setattr(link._discovery, "find", find_later)
        lose(link)

    async def end(self) -> None:
        self._may_return.set()
        await until(lambda: self._link.is_up)
        await self._link.call("PING")


MOVED = msgspec.structs.replace(SESSION, rooms=("p1", "p2", "s"), joined=(7, 9, 11))


@pytest.mark.parametrize(
    "newer",
    [MOVED, msgspec.structs.replace(MOVED, lost_at=NOW), None],
    ids=["saved again", "lost again", "not yet saved"],
)
@pytest.mark.parametrize("change", ["none", "a loss", "an end"])
async def test_an_instance_that_was_away_leaves_a_session_to_the_one_that_has_taken_it(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch, newer: SavedSession | None, change: str
) -> None:
    """It has missed the message, and ends its own connection, which only seems alive, if that has not ended before."""
    ended: list[str] = []
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", ended.append)
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    await link.call("PING")
    away = Away(link, monkeypatch)
    assert await others.take("pid-1") == SESSION
    if newer is not None:
        others.save(newer)
        await others._link.call("PING")
    if change == "a loss":
        sessions.save(lost("pid-1"))
    elif change == "an end":
        sessions.forget("pid-1")
    await away.end()
    assert ended == (["sid-1"] if change == "none" else [])
    assert (sessions._connected, sessions._unsaved, sessions._unsaved_size) == ({}, {}, 0)
    await link.call("PING")
    third = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    assert await third.take("pid-1") == (newer or SESSION)


async def test_an_instance_learns_what_was_taken_before_presence_tells_redis_who_is_here(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sessions it saves again: the answer comes before those to later commands."""
    happened: list[str] = []
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", happened.append)
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    for number in range(1100):
        session = large(number) if number < 100 else msgspec.structs.replace(SESSION, pid=f"pid-{number}")
        sessions.save(msgspec.structs.replace(session, sid=f"sid-{number}"))
    await until(lambda: not (sessions._unsaved or sessions._sent))
    away = Away(link, monkeypatch)
    for number in (0, 1099):
        assert await others.take(f"pid-{number}") is not None

    def ask() -> None:
        link.call("PING", answered=lambda _: happened.append("answered"))

    link.on_up.append(ask)
    await away.end()
    assert happened == ["sid-0", "sid-1099", "answered"]


async def test_a_session_is_not_saved_over_one_that_was_taken(link: Link, make_link: MakeLink) -> None:
    """The message about it is on its way."""
    ended: list[str] = []
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", ended.append)
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    await link.call("PING")
    link.unsubscribe(sessions._channel)
    assert await others.take("pid-1") == SESSION
    others.save(MOVED)
    await others._link.call("PING")
    sessions.save(msgspec.structs.replace(SESSION, rooms=(), joined=()))
    await until(lambda: ended == ["sid-1"])
    assert sessions._connected == {}
    assert await others.take("pid-1") == MOVED
    link.subscribe(sessions._channel, sessions._heard)
    assert await sessions.take("pid-1") == MOVED
    sessions.save(SESSION)
    await link.call("PING")
    assert await others.take("pid-1") == SESSION
    await until(lambda: ended == ["sid-1"] * 2)


async def test_a_change_that_waits_for_redis_is_dropped_when_another_instance_takes_the_session(link: Link) -> None:
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    lose(link)
    sessions.save(lost("pid-1"))
    sessions._heard(encode(("another", "pid-1")))
    assert (sessions._unsaved, sessions._unsaved_size) == ({}, 0)


async def test_changes_of_sessions_that_redis_refuses_are_saved_when_it_takes_writes_again(
    redis: RedisServer, link: Link, make_link: MakeLink
) -> None:
    """It had too few replicas for a moment. The instance may be killed, and clients return to another one."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    for pid in ("pid-1", "pid-2", "pid-3"):
        sessions.save(msgspec.structs.replace(SESSION, pid=pid, rooms=(), joined=()))
    await until(lambda: redis.do("DBSIZE") == 3)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    sessions.save(SESSION)
    sessions.save(lost("pid-2"))
    sessions.forget("pid-3")
    await until(lambda: sessions._pause is not None)
    assert redis.do("DBSIZE") == 3
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    await until(lambda: redis.do("EXISTS", *(f"synkora:test:{{sessions:/}}:pid:pid-{each}" for each in (2, 3))) == 0)
    await until(lambda: not (sessions._stale or sessions._unsaved or sessions._sent))
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    assert await others.take("pid-1") == SESSION
    assert await others.take("pid-2") == lost("pid-2")
    assert await others.take("pid-3") is None


async def test_a_redis_that_refuses_sessions_gets_few_of_them(
    redis: RedisServer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an instance are not sent again and again, and a client that returns does not wait."""
    monkeypatch.setattr(session_store, "_PAUSE", PATIENCE)
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    sessions.save(lost("pid-x"))
    await until(lambda: redis.do("DBSIZE") == 2)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    redis.do("CONFIG", "RESETSTAT")
    changes = [large(number) for number in range(200)]
    for at in range(0, 200, 2):
        changes[at] = msgspec.structs.replace(changes[at], lost_at=NOW, identity="")
    for session in changes:
        sessions.save(session)
    await until(lambda: not sessions._sent and sessions._stale)
    assert len({*sessions._stale, *sessions._unsaved}) == 200
    calls = redis.do("INFO", "commandstats").decode().split("cmdstat_evalsha:calls=")[1]
    assert int(calls.split(",")[0]) < 50
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    assert await sessions.take("pid-x") == lost("pid-x")
    assert [await sessions.take(f"pid-{at}") for at in (10, 11, 150, 151)] == [*changes[10:12], *changes[150:152]]


async def test_a_client_returns_while_the_memory_of_redis_is_full(
    redis: RedisServer, link: Link, make_link: MakeLink
) -> None:
    """Its session is taken and saved in place of the former one."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    sessions.save(lost("pid-2"))
    await link.call("PING")
    redis.do("CONFIG", "SET", "maxmemory", "1")
    assert await others.take("pid-1") == SESSION
    assert await others.take("pid-2") == lost("pid-2")
    others.save(MOVED)
    await others._link.call("PING")
    assert await sessions.take("pid-1") == MOVED


async def test_a_session_whose_take_redis_has_lost_stays_with_its_instance(
    redis: RedisServer, link: Link, make_link: MakeLink
) -> None:
    """A failover has brought older data back, with the former instance. The client is connected to the later one."""
    ended: list[str] = []
    formers = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", ended.append)
    formers.save(SESSION)
    await formers._link.call("PING")
    key = sessions._prefix + "pid:pid-1"
    older = redis.do("GET", key)
    assert await sessions.take("pid-1") == SESSION
    sessions.save(MOVED)
    await link.call("PING")
    redis.do("SET", key, older)
    lose(link)
    await until(lambda: link.is_up)
    await link.call("PING")
    assert ended == []
    assert await formers.take("pid-1") == MOVED
    await until(lambda: ended == ["sid-1"])


@pytest.mark.parametrize("letter", ["x", "é", "語", "🚀"])
def test_a_session_counts_for_at_least_what_is_kept_of_it(letter: str) -> None:
    """In Redis and in memory, whatever the letters of its rooms are: by these bytes a user's sessions are bounded."""
    rooms = tuple(f"{number:03}".ljust(200, letter) for number in range(50))
    session = msgspec.structs.replace(SESSION, identity=letter * 200, rooms=rooms, joined=(2**40,) * 50)
    assert session.size >= len(encode(session))
    assert session.size >= sum(map(sys.getsizeof, rooms))
