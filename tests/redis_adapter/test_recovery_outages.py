"""Recovery while Redis cannot be reached, refuses to keep events, or has lost its memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from tests.redis_adapter.returning import Page, got, is_alone, joined, server_on, session_of, until_count
from tests.support.page import outcomes, recovery_of, without_offsets
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay, relaying
from tests.support.servers import until

from synkora import SocketServer
from synkora.recovery.ports import Incomplete, LogUnavailable
from synkora.sockets.packets import Draft
from synkora.sockets.socket_recovery import RecoveryOutcome


async def test_events_that_redis_refuses_to_keep_reach_everybody(
    redis: RedisServer, servers: list[SocketServer]
) -> None:
    """Its memory is full, or another program has written to the keys: the events come without a position."""
    ann, ben = await joined(servers[0]), await joined(servers[1])
    redis.do("CONFIG", "SET", "maxmemory", "1")
    for value in (1, "text", {"a": b"bytes"}):
        servers[0].to("r").emit("said", value)
    for page in (ann, ben):
        await until_count(page, 3)
        values = sorted(json.dumps(event[1]) for event in page.events if event[0] == "said")
        assert values == ['"text"', "1", '{"a": {"_placeholder": true, "num": 0}}']
        assert not any(event[1:] == ["text"] for event in page.events)  # the page would take it for a position


async def test_clients_of_a_server_continue_without_redis(redis: RedisServer, servers: list[SocketServer]) -> None:
    """The others get the events when Redis is back, once each."""
    here, there = await joined(servers[0]), await joined(servers[1])
    redis.kill()
    await until(lambda: all(map(is_alone, servers)))
    servers[0].to("r").emit("n", 1)
    assert await got(here, 1) == [["n", 1]]
    redis.start()
    assert await got(there, 1) == [["n", 1]]
    servers[1].to("r").emit("n", 2)
    assert await got(here, 2) == [["n", 1], ["n", 2]]
    assert await got(there, 2) == [["n", 1], ["n", 2]]
    assert outcomes(servers[0]) == {}


@pytest.mark.parametrize("forgets", [False, True], ids=["Redis has kept it", "Redis has lost its memory"])
async def test_an_event_whose_reply_is_lost_comes_once(redis: RedisServer, *, forgets: bool) -> None:
    """The sender's server sends it again. All clients get it once, and other servers' events."""
    async with relaying(redis.port) as relay:
        deaf, other = server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)
        async with deaf.lifespan(), other.lifespan():
            here, there = await joined(deaf), await joined(other)
            relay.is_deaf = True
            for number in (0, 1):
                deaf.to("r").emit("n", number)
                await got(there, number + 1)
            if forgets:
                redis.do("FLUSHALL")
            other.to("r").emit("n", 2)
            await got(there, 3)
            relay.cut()
            relay.is_deaf = False
            await until(lambda: is_alone(deaf))
            await until(lambda: not is_alone(deaf))
            deaf.to("r").emit("n", 3)
            expected = [["n", number] for number in range(4)]
            assert await got(here, 4) == expected
            assert await got(there, 4) == expected


async def test_edits_behind_a_named_event_are_kept_once_if_the_replies_are_lost(redis: RedisServer) -> None:
    """All are sent again. Redis knows the first one by its name, and the others by their numbers."""
    async with relaying(redis.port) as relay:
        deaf, other = server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)
        async with deaf.lifespan(), other.lifespan():
            here, there = await joined(deaf), await joined(other)
            began = recovery_of(other).log.position
            relay.is_deaf = True
            named = recovery_of(deaf).publish_once(Draft(b'["n",0]', ()), ("r",), (), "save-1")
            publishing = asyncio.create_task(named)
            await asyncio.sleep(0)
            for number in (1, 2):
                deaf.to("r").emit("n", number)
            await got(there, 3)
            relay.cut()
            relay.is_deaf = False
            await until(lambda: is_alone(deaf))
            await until(lambda: not is_alone(deaf))
            with suppress(LogUnavailable):
                await publishing
            deaf.to("r").emit("n", 3)
            expected = [["n", number] for number in range(4)]
            assert await got(here, 4) == expected
            assert await got(there, 4) == expected
            kept = await recovery_of(other).log.read(("r",), began)
            assert not isinstance(kept, Incomplete)
            assert [json.loads(each.data) for each in kept] == expected


@asynccontextmanager
async def alone_with_events(redis: RedisServer) -> AsyncIterator[tuple[list[SocketServer], Relay, Page, Page]]:
    """Two servers with a page each. The first server has lost Redis, and then sent the events 1 and 2."""
    async with relaying(redis.port) as relay:
        servers = [server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)]
        async with servers[0].lifespan(), servers[1].lifespan():
            page, other = await joined(servers[0]), await joined(servers[1])
            servers[1].to("r").emit("n", 0)
            await got(page, 1)
            relay.is_stuck = True
            relay.cut()
            await until(lambda: is_alone(servers[0]))
            for number in (1, 2):
                servers[0].to("r").emit("n", number)
            await got(page, 3)
            yield servers, relay, page, other


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "after an event of another server"])
async def test_an_event_that_came_without_redis_is_not_replayed(redis: RedisServer, back: int, *, later: bool) -> None:
    """It has a place in the log after the position that the client has. What others sent meanwhile is replayed."""
    async with alone_with_events(redis) as (servers, relay, page, other):
        if not later:
            await page.lose()
        servers[1].to("r").emit("n", 3)
        relay.is_stuck = False
        await got(other, 4)
        if later:
            await got(page, 4)
            await page.lose()
        servers[0].to("r").emit("n", 4)
        await got(other, 5)
        page.move_to(servers[back])
        await page.restore()
        assert await got(page, 5) == [["n", number] for number in range(5)]


@pytest.mark.parametrize("back", [0, 1])
async def test_an_event_that_came_without_redis_is_not_replayed_at_a_second_return(
    redis: RedisServer, back: int
) -> None:
    """The connection is lost again before another event comes: the position of the replay has the event, too."""
    async with alone_with_events(redis) as (servers, relay, page, other):
        await page.lose()
        servers[1].to("r").emit("n", 3)
        await got(other, 2)
        relay.is_stuck = False
        await got(other, 4)
        await until(lambda: not is_alone(servers[0]))
        page.move_to(servers[back])
        for _ in range(2):
            await page.restore()
            assert await got(page, 4) == [["n", number] for number in range(4)]
            await page.lose()


async def test_a_client_that_came_while_its_server_sent_what_had_waited_gets_nothing_older(redis: RedisServer) -> None:
    """What had waited gets its place in the log after the client has come, but was sent before."""
    async with relaying(redis.port) as relay:
        servers = [server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)]
        async with servers[0].lifespan(), servers[1].lifespan():
            page, other = await joined(servers[0]), await joined(servers[1])
            relay.is_stuck = True
            relay.cut()
            await until(lambda: is_alone(servers[0]))
            for number in range(2000):  # more than is sent at once
                servers[0].to("r").emit("n", number)
            await got(page, 2000)
            relay.upload_rate = 2_000_000
            relay.is_stuck = False
            await until(lambda: not is_alone(servers[0]))
            late = await joined(servers[0])
            assert recovery_of(servers[0]).log.kept_bytes > 0
            await late.lose()
            relay.upload_rate = 0
            await got(other, 2000)
            assert await late.restore() == []


async def test_while_redis_is_away_a_client_returns_without_a_replay(
    redis: RedisServer, servers: list[SocketServer], page: Page
) -> None:
    """Without the log, no client is recovered."""
    redis.kill()
    await until(lambda: is_alone(servers[0]))
    await page.lose()
    await page.come()
    assert not page.recovered
    assert outcomes(servers[0]) == {RecoveryOutcome.UNKNOWN: 1}


@pytest.mark.parametrize("heard", [True, False], ids=["with an event of it", "without an event of it"])
async def test_a_client_continues_in_a_log_that_has_begun_again(
    redis: RedisServer, servers: list[SocketServer], heard: bool
) -> None:
    """Redis lost its memory while the client was connected. It is recovered if it got an event of the new log."""
    page, other = await joined(servers[0]), await joined(servers[1])
    for number in range(5):
        servers[1].to("r").emit("n", number)
    await got(page, 5)
    redis.kill()
    await until(lambda: all(map(is_alone, servers)))
    redis.start()
    await until(lambda: not any(map(is_alone, servers)))
    sid = page.sid
    if heard:
        servers[1].to("r").emit("n", 5)
        await got(page, 6)
    await page.lose()
    servers[1].to("r").emit("n", 6)
    await got(other, 6 + heard)
    page.move_to(servers[1])
    await page.come()
    assert page.sid == sid
    assert page.recovered == heard
    assert without_offsets(page.events)[5:] == ([["n", 5], ["n", 6]] if heard else [])


async def test_a_client_that_comes_as_the_first_of_a_log_that_has_begun_again_is_recovered(
    redis: RedisServer, servers: list[SocketServer]
) -> None:
    """Its session begins in the new log before its server knows of it."""
    await joined(servers[1])
    redis.do("FLUSHALL")
    page = await joined(servers[0])
    await until(lambda: recovery_of(servers[0]).log.epoch != session_of(servers[0], page).began.epoch)
    servers[1].to("r").emit("n", 0)
    await got(page, 1)
    await page.lose()
    servers[1].to("r").emit("n", 1)
    assert await page.restore() == [["n", 0], ["n", 1]]


@pytest.mark.parametrize("back", [0, 1])
async def test_fault_01_a_server_that_was_away_from_redis_learns_that_a_client_has_moved(
    redis: RedisServer, back: int
) -> None:
    """The client has lost its connection unnoticed, and joins a room on the other server, where it loses it again."""
    async with relaying(redis.port) as relay:
        servers = [server_on(f"redis://127.0.0.1:{relay.port}"), server_on(redis.url)]
        async with servers[0].lifespan(), servers[1].lifespan():
            page = await joined(servers[0])
            relay.is_stuck = True
            relay.cut()
            await until(lambda: is_alone(servers[0]))
            page.move_to(servers[1])
            await page.restore()
            page.emit("join", "s")
            await page.read()
            await servers[1].everyone.fetch_sockets()
            relay.is_stuck = False
            await until(lambda: not is_alone(servers[0]))
            await servers[0].everyone.fetch_sockets()
            servers[1].to("s").emit("n", 1)
            page.move_to(servers[back])
            await page.come()
            assert page.recovered
            assert await got(page, 1) == [["n", 1]]
            await until(lambda: not servers[1 - back].of("/").sockets)
            assert [*servers[back].of("/").sockets] == [page.sid]
