"""A link over real Sentinels: it finds the master, and finds the next one after a failover."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.support.certificates import issue_certificate
from tests.support.links import QUICK, MakeLink
from tests.support.processes import PATIENCE
from tests.support.redis_server import running_redis
from tests.support.redis_sets import MASTER, Sentinels, await_that, running_sentinels
from tests.support.servers import until

from synkora.redis.discovery import Discovery
from synkora.redis.link import Link, Script
from synkora.redis.url import RedisUrl

PASSWORD = "p@ss:w/o?r#d"
WRITE = Script("return redis.call('SET', KEYS[1], ARGV[1])")
SETTINGS = replace(QUICK, timeout=3)
#: Of a user of the Sentinels, as docs/scaling.md gives them.
RIGHTS = "resetchannels &+switch-master -@all +hello +auth +subscribe +sentinel|get-master-addr-by-name"


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with running_sentinels(password=PASSWORD) as sentinels:
        yield sentinels


def with_password(sentinels: Sentinels, rest: str = "") -> str:
    return sentinels.url.replace("://", f"://:{quote(PASSWORD, safe='')}@") + rest


async def written(link: Link, sentinels: Sentinels, value: str) -> None:
    """Check that the link writes to the master that the Sentinels know."""
    assert await link.run(WRITE, ["synkora:a"], [value]) == b"OK"
    assert sentinels.master.do("GET", "synkora:a") == value.encode()


async def test_the_master_is_found(make_link: MakeLink, sentinels: Sentinels) -> None:
    """Also if the first Sentinels of the URL do not answer, or do not know the master."""
    with running_redis("--sentinel") as ignorant:
        hosts = f"127.0.0.1:1,127.0.0.1:{ignorant.port},"
        url = with_password(sentinels).replace("@", f"@{hosts}")
        link = make_link(url, SETTINGS)
        assert await link.start(PATIENCE), link.problem
        await written(link, sentinels, "found")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"redis+sentinel://127.0.0.1:1,127.0.0.1:2/{MASTER}", "no Sentinel tells which Redis to use: nothing listens"),
        ("redis+sentinel://{0}/another", "the Sentinel knows no master of the name in its URL"),
        (f"redis+sentinel://{{0}}/{MASTER}", "Redis needs a password, and its URL has none"),
    ],
)
async def test_what_is_wrong_is_named(make_link: MakeLink, sentinels: Sentinels, url: str, words: str) -> None:
    link = make_link(url.format(f"127.0.0.1:{sentinels.sentinels[0].port}"), SETTINGS)
    await link.start(0)
    await until(lambda: words in (link.problem or ""))
    assert PASSWORD not in (link.problem or "")


async def test_sentinels_may_have_a_password_of_their_own(make_link: MakeLink, sentinels: Sentinels) -> None:
    own = "the-sentinels'"
    with running_redis("--sentinel", password=own) as guarded:
        link = make_link(f"redis+sentinel://127.0.0.1:{guarded.port}/{MASTER}", SETTINGS)
        await link.start(0)
        await until(lambda: "sentinel_username and sentinel_password" in (link.problem or ""))
        link = make_link(f"redis+sentinel://127.0.0.1:{guarded.port}/{MASTER}?sentinel_password={quote(own)}", SETTINGS)
        await link.start(0)
        await until(lambda: "knows no master" in (link.problem or ""))


async def test_everything_over_tls_with_passwords(make_link: MakeLink, tmp_path: Path) -> None:
    """Certificates of a private authority, a password of Redis, and a user of the Sentinels with no more rights than
    docs/scaling.md gives. After a failover, too.
    """
    tls = issue_certificate(tmp_path)
    with running_sentinels(password=PASSWORD, replicas=1, tls=tls) as sentinels:
        for each in sentinels.sentinels:
            each.do("ACL", "SETUSER", "synkora", "on", ">the-sentinels'", *RIGHTS.split())
        options = f"?ssl_ca_certs={quote(str(tls.authority))}&sentinel_username=synkora&sentinel_password="
        stranger = make_link(with_password(sentinels, options + "another"), SETTINGS)
        await stranger.start(0)
        await until(lambda: "does not accept sentinel_username and sentinel_password" in (stranger.problem or ""))
        unverified = make_link(with_password(sentinels), SETTINGS)
        await unverified.start(0)
        await until(lambda: "the certificate of Redis is not accepted" in (unverified.problem or ""))
        link = make_link(with_password(sentinels, options + quote("the-sentinels'")), SETTINGS)
        assert await link.start(PATIENCE), link.problem
        await written(link, sentinels, "over TLS")
        before = sentinels.master
        await_that(lambda: b"state=online" in before.do("INFO", "replication"), "the replica follows")
        before.kill()
        with sentinels.replacing():
            await until(lambda: link.is_up and sentinels.master is not before, PATIENCE)
        await written(link, sentinels, "after a failover")


async def test_a_link_follows_a_failover_after_a_death(make_link: MakeLink, sentinels: Sentinels) -> None:
    """Also while the dead one is back and does not know yet that it is no longer the master."""
    link = make_link(with_password(sentinels), SETTINGS)
    assert await link.start(PATIENCE), link.problem
    dead = sentinels.master
    await_that(lambda: b"state=online" in dead.do("INFO", "replication"), "the replica follows")
    dead.kill()
    await until(lambda: not link.is_up)
    with sentinels.replacing():
        await until(lambda: link.is_up and sentinels.master_port != dead.port)
    await written(link, sentinels, "after a death")
    dead.start()
    late = make_link(with_password(sentinels), SETTINGS)
    assert await late.start(PATIENCE), late.problem
    for each in (link, late):
        await written(each, sentinels, "still")


async def test_a_link_follows_a_planned_failover(make_link: MakeLink, sentinels: Sentinels) -> None:
    """The master becomes a replica while it runs. The link leaves it."""
    link = make_link(with_password(sentinels), SETTINGS)
    assert await link.start(PATIENCE), link.problem
    before, data = sentinels.master_port, link.data_id
    heard: list[bytes] = []
    link.subscribe(b"synkora:news", heard.append)
    first = sentinels.sentinels[0]
    await_that(lambda: first.do("SENTINEL", "FAILOVER", MASTER) == b"OK", "no other failover is in progress")
    await until(lambda: sentinels.master_port != before and link.is_up and link.data_id != data)
    await written(link, sentinels, "after a planned failover")
    link.publish(b"synkora:news", b"x")
    await until(lambda: heard == [b"x"])


async def test_an_answer_of_another_form_does_not_end_the_watch() -> None:
    """Otherwise the next failover would not be noticed, and writes to the former master would be lost."""
    unreadable = [b"*1\r\n$4\r\none.\r\n", b"*2\r\n$4\r\none.\r\n,inf\r\n"]
    answers = [b"*2\r\n$4\r\none.\r\n$1\r\n1\r\n", *unreadable, b"*2\r\n$4\r\ntwo.\r\n$1\r\n2\r\n"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            command = [(await reader.readline(), await reader.readline())[1].strip() for _ in range(int(line[1:]))]
            match command[0].upper():
                case b"HELLO":
                    writer.write(b"%1\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n")
                case b"SUBSCRIBE":
                    writer.write(b">3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(command[1]), command[1]))
                case b"SENTINEL":
                    writer.write(answers.pop(0) if len(answers) > 1 else answers[0])
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as sentinel:
        port = sentinel.sockets[0].getsockname()[1]
        discovery = Discovery(RedisUrl.parse(f"redis+sentinel://127.0.0.1:{port}/{MASTER}"), "synkora:")
        found = await discovery.find()
        assert (found.host, found.port) == ("one.", 1)
        async with asyncio.timeout(PATIENCE):
            await discovery.left(found)
        assert (await discovery.find()).port == 2
