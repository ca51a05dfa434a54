"""Redis at `REDIS_URL`."""

import asyncio
import secrets
from time import monotonic, time
from typing import Final

from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.check.network import is_loopback, judge_clock
from synkora.app.check.redis_failover import NAME as FAILOVER
from synkora.app.check.redis_failover import check_failover
from synkora.app.check.redis_probe import RedisProbe
from synkora.app.settings import Settings
from synkora.redis.errors import LinkDown, RedisRefused, unreachable
from synkora.redis.link import Script
from synkora.redis.url import RedisUrl, Server

_PATIENCE: Final = 4.0  # seconds for all
_REST: Final = ("redis-rights", "redis-memory", "redis-clock", FAILOVER)
_LIFETIME: Final = 60  # seconds
_FULL: Final = 0.9  # of maxmemory
#: The commands of the scripts of presence and recovery, each with the arguments after its key. They run one by one,
#: since a script does not say which right is missing. In this order nothing stays in Redis if a right is missing.
PROBES: Final[tuple[tuple[str | int, ...], ...]] = (
    ("DEL",),
    ("EXPIRE", _LIFETIME),
    ("HSET", "field", "1"),
    ("EXPIRE", _LIFETIME),
    ("HSETNX", "field", "1"),
    ("HINCRBY", "field", 1),
    ("HGET", "field"),
    ("HMGET", "field"),
    ("HGETALL",),
    ("HKEYS",),
    ("HSTRLEN", "field"),
    ("HLEN",),
    ("HEXISTS", "field"),
    ("HDEL", "field"),
    ("SADD", "member"),
    ("EXPIRE", _LIFETIME),
    ("SREM", "member"),
    ("SRANDMEMBER", 1),
    ("ZADD", 1, "member"),
    ("EXPIRE", _LIFETIME),
    ("ZSCORE", "member"),
    ("ZCARD",),
    ("ZRANGE", 0, 0),
    ("ZREVRANGE", 0, 0),
    ("ZRANGEBYSCORE", "-inf", 1),
    ("ZREVRANGEBYSCORE", 1, "-inf"),
    ("ZREMRANGEBYSCORE", "-inf", 0),
    ("ZREM", "member"),
    ("ZPOPMIN",),
    ("XADD", "1-0", "field", "1"),
    ("EXPIRE", _LIFETIME),
    ("XRANGE", "-", "+"),
    ("XLEN",),
    ("XTRIM", "MAXLEN", 1),
    ("XDEL", "1-0"),
    ("DEL",),  # a stream stays without entries
    ("SET", "1", "EX", _LIFETIME),
    ("GET",),
    ("DEL",),
)


async def check_redis(settings: Settings) -> list[Finding]:
    """Check that the server can use Redis."""
    if settings.redis_url is None:
        return [skipped(name, "REDIS_URL is not set: this instance is the only one") for name in ("redis", *_REST)]
    url = RedisUrl.parse(settings.redis_url.get_secret_value())
    visit = RedisProbe(url, f"synkora:{settings.redis_prefix}")
    try:
        async with asyncio.timeout(_PATIENCE):
            server = await visit.begin()
            reached, memory, clock = await _reached(visit, server), await _memory(visit), await _clock(visit)
            # Last, since a missing right may end the connection.
            failover = await check_failover(visit, url, server)
            return [reached, await _rights(visit, settings.redis_prefix), memory, clock, failover]
    except TimeoutError:
        return _not_asked(f"Redis did not answer within {_PATIENCE:g} s")
    except (LinkDown, RedisRefused) as error:
        return _not_asked(str(error))
    except OSError as error:
        return _not_asked(unreachable(error))
    finally:
        visit.end()


async def _reached(visit: RedisProbe, server: Server) -> Finding:
    before = monotonic()
    hello = await visit.ask("HELLO")
    name, version = (hello.get(word, b"?").decode() for word in (b"server", b"version"))  # it may be Valkey
    answer = f"{name.capitalize()} {version} answers in {(monotonic() - before) * 1000:.1f} ms"
    if server.path is not None or is_loopback(server.host):
        return well("redis", answer)
    if server.password is None:
        message = "but needs no password: everyone who can reach Redis can send anything to every client"
        return risky("redis", f"{answer}, {message}", "Give it one (requirepass, or a user by ACL SETUSER)")
    if server.ssl is None:
        message = "but without TLS: an attacker on the network can read and change what clients get"
        return risky("redis", f"{answer}, {message}", "Use rediss://, unless the network is private")
    return well("redis", answer)


async def _rights(visit: RedisProbe, prefix: str) -> Finding:
    own = visit.key(f"synkora:{prefix}:check:{secrets.token_hex(8)}")
    try:
        for command, *arguments in PROBES:
            await visit.ask(command, own, *arguments)
        await visit.ask("EVALSHA", Script("return 1").sha, 0)  # known from the greeting
        await visit.hear_itself(f"{prefix}#check".encode(), own)
    except (LinkDown, RedisRefused) as error:
        advice = "Give the user of REDIS_URL what the line in docs/scaling.md has (ACL SETUSER …)"
        return wrong("redis-rights", str(error), advice)
    return well("redis-rights", "the user of REDIS_URL has all rights that are needed, and messages arrive")


async def _memory(visit: RedisProbe) -> Finding:
    name = "redis-memory"
    try:
        lines = (await visit.ask("INFO", "memory")).decode().splitlines()
    except RedisRefused:
        return skipped(name, "REDIS_URL's user may not ask (INFO); redis-cli CONFIG GET maxmemory-policy: noeviction")
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    used, most, policy = int(info["used_memory"]), int(info.get("maxmemory", 0)), info.get("maxmemory_policy", "")
    if not most:
        return well(name, "Redis has no memory limit (maxmemory), and evicts nothing")
    if policy != "noeviction":
        return risky(
            name,
            f"when its memory is full Redis evicts presence and kept edits: maxmemory-policy is {policy}",
            "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        )
    if used > _FULL * most:
        message = f"Redis has used {used} of {most} bytes (maxmemory): full, it accepts no presence and keeps no edits"
        return risky(name, message, "Raise maxmemory, or see who else uses this Redis")
    return well(name, f"{used * 100 // most} % of maxmemory is used, and nothing is evicted")


async def _clock(visit: RedisProbe) -> Finding:
    before = time()
    try:
        seconds, microseconds = await visit.ask("TIME")
    except RedisRefused as error:
        return skipped("redis-clock", str(error))
    return judge_clock("redis-clock", "Redis'", int(seconds) + int(microseconds) / 1e6, before, time())


def _not_asked(why: str) -> list[Finding]:
    advice = "Start Redis, or correct REDIS_URL: without Redis, users on other instances are missing here"
    return [wrong("redis", why, advice), *(skipped(name, "not checked: Redis is unavailable") for name in _REST)]
