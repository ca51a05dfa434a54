"""The checks of Redis: suitable and unsuitable real ones."""

import asyncio
import re
import time
from importlib.resources import files
from urllib.parse import quote

import pytest
from tests.access.listeners import listening
from tests.app.check.conftest import ELSEWHERE, MakeSettings
from tests.support.redis_server import running_redis
from tests.support.redis_sets import running_cluster, running_sentinels

from synkora.app.check.finding import Finding, FindingStatus
from synkora.app.check.redis import PROBES, check_redis

PASSWORD = "p@ss:w/o?r#d% with more"  # must be escaped in a URL
ESCAPED = quote(PASSWORD, safe="")
#: The rights of the user in docs/scaling.md.
RIGHTS = (
    "resetchannels &socket.io* &synkora:* ~synkora:* -@all +@connection +@pubsub +@scripting +@hash +@set +@sortedset "
    "+@stream +get +set +del +expire +time -@dangerous +info"
)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.check for finding in findings}) == len(findings)
    assert not any(secret in str(findings) for secret in (PASSWORD, ESCAPED))
    return {finding.check: finding for finding in findings}


async def test_no_redis(settings: MakeSettings) -> None:
    assert {finding.status for finding in await check_redis(settings())} == {FindingStatus.SKIPPED}


async def test_a_good_one(settings: MakeSettings) -> None:
    with running_redis(password=PASSWORD) as redis:
        found = by_name(await check_redis(settings(REDIS_URL=redis.url)))
        assert redis.do("KEYS", "*") == []
    assert list(found) == ["redis", "redis-rights", "redis-memory", "redis-clock", "redis-failover"]
    assert {found.pop("redis-failover").status} == {FindingStatus.SKIPPED}
    assert {finding.status for finding in found.values()} == {FindingStatus.WELL}
    assert re.fullmatch(r"Redis \d+\.\d+\.\d+ answers in \d+\.\d ms", found["redis"].message)


async def test_the_documented_user(settings: MakeSettings) -> None:
    """The documented rights suffice."""
    with running_redis() as redis:
        redis.do("ACL", "SETUSER", "synkora", "on", f">{PASSWORD}", *RIGHTS.split())
        url = f"redis://synkora:{ESCAPED}@127.0.0.1:{redis.port}"
        found = by_name(await check_redis(settings(REDIS_URL=url)))
    statuses = {name: finding.status for name, finding in found.items()}
    assert statuses == {
        "redis": FindingStatus.WELL,
        "redis-rights": FindingStatus.WELL,
        "redis-memory": FindingStatus.WELL,
        "redis-clock": FindingStatus.WELL,
        "redis-failover": FindingStatus.SKIPPED,
    }


async def test_a_user_that_may_not_ask_for_information(settings: MakeSettings) -> None:
    """The server works, and cannot notice each loss."""
    with running_redis() as redis:
        redis.do("ACL", "SETUSER", "synkora", "on", f">{PASSWORD}", *RIGHTS.split(), "-info")
        url = f"redis://synkora:{ESCAPED}@127.0.0.1:{redis.port}"
        found = by_name(await check_redis(settings(REDIS_URL=url)))
    assert found["redis-memory"].status is FindingStatus.SKIPPED
    assert found["redis-failover"].status is FindingStatus.RISKY
    assert "+info" in found["redis-failover"].advice


async def test_sentinels(settings: MakeSettings) -> None:
    """The finding names the master, its replicas, and how many Sentinels know it."""
    with running_sentinels(password=PASSWORD, replicas=1) as sentinels:
        url = sentinels.url.replace("://", f"://:{ESCAPED}@")
        master = sentinels.master
        told = f"the master is 127.0.0.1:{master.port}, with 1 replica; 3 of 3 Sentinels of REDIS_URL know it"
        finding = by_name(await check_redis(settings(REDIS_URL=url)))["redis-failover"]
        assert (finding.status, finding.message.startswith(told)) == (FindingStatus.RISKY, True)
        assert "min-replicas-to-write" in finding.advice
        master.do("CONFIG", "SET", "min-replicas-to-write", "1")
        found = by_name(await check_redis(settings(REDIS_URL=url)))
        assert {each.status for each in found.values()} == {FindingStatus.WELL}
        assert found["redis-failover"].message == told
        sentinels.sentinels[0].kill()
        finding = by_name(await check_redis(settings(REDIS_URL=url)))["redis-failover"]
        assert (finding.status, "2 of 3 Sentinels" in finding.message) == (FindingStatus.RISKY, True)


async def test_a_cluster(settings: MakeSettings) -> None:
    """Also behind the URL of one node."""
    with running_cluster() as cluster:
        for url in (cluster.url, *(each.url for each in cluster.nodes)):
            found = by_name(await check_redis(settings(REDIS_URL=url)))
            assert {each.status for each in found.values()} == {FindingStatus.WELL}
            assert re.fullmatch(
                r"the node of the Cluster is 127\.0\.0\.1:\d+, with 1 replica", found["redis-failover"].message
            )


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("-hset", "the command HSET"),
        ("-srandmember", "the command SRANDMEMBER"),
        ("-xadd", "the command XADD"),
        ("-xrange", "the command XRANGE"),
        ("-get", "the command GET"),
        ("-subscribe", "the command SUBSCRIBE"),
        ("resetchannels &synkora:*", "a channel"),
        ("resetchannels &socket.io*", "a channel"),
        ("resetkeys", "a key"),
    ],
)
async def test_a_right_that_is_lacking(settings: MakeSettings, lacking: str, words: str) -> None:
    """The finding names the command and the documentation of the rights. No key remains in Redis."""
    with running_redis() as redis:
        redis.do("ACL", "SETUSER", "synkora", "on", f">{PASSWORD}", *RIGHTS.split(), *lacking.split())
        url = f"redis://synkora:{ESCAPED}@127.0.0.1:{redis.port}"
        finding = by_name(await check_redis(settings(REDIS_URL=url)))["redis-rights"]
        assert [key for key in redis.do("KEYS", "*") if redis.do("TTL", key) < 0] == []
    assert finding.status is FindingStatus.WRONG
    assert words in finding.message
    assert "docs/scaling.md" in finding.advice


def test_every_command_is_tried() -> None:
    """The check runs each command that presence and recovery need."""
    folders = map(files, ("synkora.cluster", "synkora.redis_adapter", "synkora.app.webhooks"))
    scripts = [file.read_text() for folder in folders for file in folder.iterdir() if file.name.endswith(".lua")]
    asked = set(re.findall(r"redis\.call\('(\w+)'", "".join(scripts)))
    assert len(asked) > 10
    assert asked == {command for command, *_ in PROBES} | {"TIME", "PUBLISH"}


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--maxmemory", "100mb"), FindingStatus.WELL, "nothing is evicted"),
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), FindingStatus.RISKY, "allkeys-lru"),
        (("--maxmemory-policy", "allkeys-lru"), FindingStatus.WELL, "no memory limit"),
        (("--maxmemory", "1mb"), FindingStatus.RISKY, "full"),
    ],
)
async def test_memory(settings: MakeSettings, options: tuple[str, ...], status: FindingStatus, words: str) -> None:
    with running_redis(*options) as redis:
        findings = await check_redis(settings(REDIS_URL=redis.url))
    finding = by_name(findings).get("redis-memory")
    assert finding is not None
    assert finding.status is status
    assert words in finding.message


@pytest.mark.parametrize(
    ("credentials", "words"),
    [("", "Redis needs a password"), (f":{ESCAPED}x@", "does not accept the user and password")],
)
async def test_a_password_that_is_not_right(settings: MakeSettings, credentials: str, words: str) -> None:
    """A wrong password is distinguished from a missing one, and neither is shown."""
    with running_redis(password=PASSWORD) as redis:
        found = by_name(await check_redis(settings(REDIS_URL=f"redis://{credentials}127.0.0.1:{redis.port}")))
    assert found["redis"].status is FindingStatus.WRONG
    assert words in found["redis"].message
    assert {found[name].status for name in ("redis-rights", "redis-memory", "redis-clock")} == {FindingStatus.SKIPPED}


async def test_without_redis(settings: MakeSettings) -> None:
    found = by_name(await check_redis(settings(REDIS_URL="redis://127.0.0.1:1")))
    assert (found["redis"].status, found["redis"].message) == (
        FindingStatus.WRONG,
        "nothing listens at the address of Redis",
    )
    assert found["redis"].advice


async def test_a_frozen_one(settings: MakeSettings) -> None:
    with running_redis() as redis:
        redis.pause()
        found = by_name(await check_redis(settings(REDIS_URL=redis.url)))
        redis.resume()
    assert (found["redis"].status, found["redis"].message) == (FindingStatus.WRONG, "Redis did not answer within 4 s")


async def test_a_server_other_than_redis(settings: MakeSettings) -> None:
    async def serve(_: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(serve) as listener:
        found = by_name(await check_redis(settings(REDIS_URL=f"redis://127.0.0.1:{listener.port}")))
    assert (found["redis"].status, found["redis"].message) == (
        FindingStatus.WRONG,
        "what answers at the address of Redis is not Redis",
    )


async def test_a_redis_over_the_network(settings: MakeSettings) -> None:
    """Without a password, or without TLS, only this machine may reach it."""
    with running_redis() as redis:
        open_one = by_name(await check_redis(settings(REDIS_URL=f"redis://{ELSEWHERE}:{redis.port}")))
        redis.do("CONFIG", "SET", "requirepass", PASSWORD)
        plain = by_name(await check_redis(settings(REDIS_URL=f"redis://:{ESCAPED}@{ELSEWHERE}:{redis.port}")))
    assert (open_one["redis"].status, "no password" in open_one["redis"].message) == (FindingStatus.RISKY, True)
    assert (plain["redis"].status, "without TLS" in plain["redis"].message) == (FindingStatus.RISKY, True)


async def test_clocks_that_differ(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_redis() as redis:
        monkeypatch.setattr("synkora.app.check.redis.time", lambda: time.time() + 3600)
        found = by_name(await check_redis(settings(REDIS_URL=redis.url)))
    assert found["redis-clock"].status is FindingStatus.WRONG
    assert re.search(r"3600 s behind|3599 s behind", found["redis-clock"].message)
