"""The handshake with Redis: each kind of Redis, and the messages for unsuitable ones."""

import asyncio
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.access.listeners import listening
from tests.support.links import QUICK, MakeLink, started
from tests.support.logs import capture_logs
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import until

from synkora.redis.link import Link, Script
from synkora.redis.url import RedisUrl

PASSWORD = "p@ss:w/o?r#d% with more"  # must be escaped in a URL
ESCAPED = quote(PASSWORD, safe="")
NEEDED = ("+select", "+eval", "+evalsha", "+publish", "+subscribe", "+unsubscribe")


async def works(link: Link) -> None:
    """Fail unless the link comes up and works."""
    assert await link.start(PATIENCE), link.problem
    heard: list[bytes] = []
    link.subscribe(b"synkora:news", heard.append)
    link.publish(b"synkora:news", b"x")
    await until(lambda: heard == [b"x"])
    assert await link.run(Script("return KEYS[1]"), ["synkora:a"], []) == b"synkora:a"


async def problem_of(link: Link) -> str:
    """The reason why it does not come up: the same in `problem` and in the log, without a password or a name."""
    with capture_logs() as logs:
        await link.start(0)
        await until(lambda: link.is_up or link.problem != "Redis has not been connected yet")
    assert not link.is_up
    problem = link.problem
    assert problem is not None
    assert [entry["problem"] for entry in logs if "problem" in entry] == [problem]
    for secret in (PASSWORD, PASSWORD[:5], ESCAPED, "alice"):
        assert secret not in str(logs)
        assert secret not in problem
    return problem


async def test_a_password_is_given(make_link: MakeLink) -> None:
    with running_redis(password=PASSWORD) as redis:
        await works(make_link(redis.url))
        await works(make_link(f"redis://default:{ESCAPED}@127.0.0.1:{redis.port}"))


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ("", "Redis needs a password, and its URL has none"),
        (f":{ESCAPED}x@", "does not accept the user and password"),
    ],
)
async def test_a_missing_or_wrong_password_is_reported(make_link: MakeLink, credentials: str, words: str) -> None:
    with running_redis(password=PASSWORD) as redis:
        link = make_link(f"redis://{credentials}127.0.0.1:{redis.port}")
        assert words in await problem_of(link)
        redis.do("CONFIG", "SET", "requirepass", f"{PASSWORD}x" if credentials else "")
        await until(lambda: link.is_up)


async def test_a_user_needs_few_rights(make_link: MakeLink, redis: RedisServer) -> None:
    """These commands, and the channels and keys of ours and of Socket.IO, are enough."""
    redis.do("ACL", "SETUSER", "alice", "on", f">{PASSWORD}", "~synkora:*", "&synkora:*", *NEEDED)
    await works(make_link(f"redis://alice:{ESCAPED}@127.0.0.1:{redis.port}/1"))


async def test_a_user_who_may_load_no_scripts_runs_them(make_link: MakeLink, redis: RedisServer) -> None:
    """Without SCRIPT LOAD the text comes with the first run. A Redis may then forget it, and the link begins again."""
    for more, loads in ((("+script|load",), 1), (("-script",), 0)):
        redis.do("ACL", "SETUSER", "alice", "on", f">{PASSWORD}", "~*", "&*", *NEEDED, *more)
        redis.do("SCRIPT", "FLUSH")
        link = make_link(f"redis://alice:{ESCAPED}@127.0.0.1:{redis.port}")
        await works(link)
        redis.do("CONFIG", "RESETSTAT")
        script = Script("return ARGV[1]")
        assert await asyncio.gather(*(link.run(script, (), (each,)) for each in "ab")) == [b"a", b"b"]
        stats = redis.do("INFO", "commandstats").decode()
        assert stats.count("cmdstat_script|load:calls=1,") == loads
        assert stats.count("cmdstat_eval:calls=1,") == 1 - loads
        assert link.reconnects == 0


@pytest.mark.parametrize("lacking", NEEDED[:-1])
async def test_a_right_that_a_user_lacks_is_named(make_link: MakeLink, redis: RedisServer, lacking: str) -> None:
    redis.do("ACL", "SETUSER", "alice", "on", f">{PASSWORD}", "~*", "&*", *NEEDED, f"-{lacking[1:]}")
    link = make_link(f"redis://alice:{ESCAPED}@127.0.0.1:{redis.port}/1")
    if lacking == "+evalsha":
        await works(link)
        with pytest.raises(Exception, match="lack the command EVALSHA"):
            await link.run(Script("return KEYS[1]"), ["synkora:a"], [])
    else:
        assert (
            await problem_of(link)
            == f"the rights (ACL) of the user in Redis' URL lack the command {lacking[1:].upper()}"
        )


async def test_a_channel_without_rights_is_reported(make_link: MakeLink, redis: RedisServer) -> None:
    """At the start, or at the first subscription or publication."""
    redis.do("ACL", "SETUSER", "alice", "on", f">{PASSWORD}", "~*", "&else*", *NEEDED)
    url = f"redis://alice:{ESCAPED}@127.0.0.1:{redis.port}"
    assert "lack a channel that is needed" in await problem_of(make_link(url))
    redis.do("ACL", "SETUSER", "alice", "&synkora:*")
    link = await started(make_link(url))
    link.publish(b"socket.io#/#", b"x")
    await until(lambda: not link.is_up)
    assert "lack a channel that is needed" in (link.problem or "")
    redis.do("ACL", "SETUSER", "alice", "&socket.io*")
    await until(lambda: link.is_up)
    link.subscribe(b"third", lambda _: None)
    await until(lambda: not link.is_up)
    assert "lack a channel that is needed" in (link.problem or "")


async def test_a_database_is_chosen(make_link: MakeLink, redis: RedisServer) -> None:
    link = make_link(f"{redis.url}/3")
    await works(link)
    await link.call("SET", "a", "x")
    assert b"db3:keys=1" in redis.do("INFO", "keyspace")
    assert await problem_of(make_link(f"{redis.url}/99")) == "Redis has no database of the number that its URL gives"


async def test_a_unix_socket_will_do(make_link: MakeLink) -> None:
    """With a password and a database, as over TCP."""
    with running_redis(password=PASSWORD) as redis:
        await works(make_link(f"unix://:{ESCAPED}@{redis.socket}?db=2"))
        path = redis.folder / "none.sock"
        assert await problem_of(make_link(f"unix://{path}")) == "Redis cannot be reached: No such file or directory"


def certificate(folder: Path) -> tuple[Path, Path]:
    certfile, keyfile = folder / "redis.crt", folder / "redis.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", keyfile, "-out", certfile, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certfile, keyfile


async def test_tls_will_do_and_certificates_are_verified(make_link: MakeLink, tmp_path: Path) -> None:
    """Against the system's authorities or the URL's, unless the URL disables this."""
    files = certificate(tmp_path)
    with running_redis(password=PASSWORD, tls=files) as redis:
        address = f"127.0.0.1:{redis.tls_port}"
        await works(make_link(f"rediss://:{ESCAPED}@{address}/1?ssl_ca_certs={files[0]}"))
        await works(make_link(f"rediss://:{ESCAPED}@{address}?ssl_cert_reqs=none"))
        unknown = await problem_of(make_link(f"rediss://:{ESCAPED}@{address}"))
        assert unknown == "the certificate of Redis is not accepted: self-signed certificate"
        plain = await problem_of(make_link(f"rediss://:{ESCAPED}@127.0.0.1:{redis.port}?ssl_cert_reqs=none"))
        assert plain == "Redis did not answer within 1 s"
        without = await problem_of(make_link(f"redis://:{ESCAPED}@{address}"))
        assert without == "Redis ended the connection at once: perhaps only one side speaks TLS"


async def test_a_redis_that_demands_a_certificate_gets_one(make_link: MakeLink, tmp_path: Path) -> None:
    """Of the URL. Without one, or with one that this Redis does not trust, the reason is said."""
    files = certificate(tmp_path)
    (tmp_path / "stranger").mkdir()
    stranger = certificate(tmp_path / "stranger")
    with running_redis("--tls-auth-clients", "yes", tls=files) as redis:
        url = f"rediss://127.0.0.1:{redis.tls_port}?ssl_ca_certs={files[0]}"
        await works(make_link(f"{url}&ssl_certfile={files[0]}&ssl_keyfile={files[1]}"))
        for shown in ("", f"&ssl_certfile={stranger[0]}&ssl_keyfile={stranger[1]}"):
            assert "perhaps it wants a certificate of this client" in await problem_of(make_link(url + shown))


async def test_large_messages_go_over_tls(make_link: MakeLink, tmp_path: Path) -> None:
    with running_redis(tls=certificate(tmp_path)) as redis:
        link = await started(make_link(f"rediss://127.0.0.1:{redis.tls_port}?ssl_cert_reqs=none"))
        heard: list[bytes] = []
        link.subscribe(b"a", heard.append)
        link.publish(b"a", b"x" * 3_000_000)
        await until(lambda: heard == [b"x" * 3_000_000])


async def test_an_older_redis_is_reported_without_its_quoted_command(make_link: MakeLink) -> None:
    """Without HELLO, it quotes the command, which contains the password."""
    with running_redis("--rename-command", "HELLO", "", password=PASSWORD) as redis:
        assert "Redis 6 or newer is needed" in await problem_of(make_link(redis.url))


async def test_a_sentinel_in_place_of_redis_is_reported(make_link: MakeLink) -> None:
    """And Redis in place of a Sentinel, or of a Cluster's node. Each describes itself in its greeting."""
    with running_redis("--sentinel") as sentinel, running_redis() as redis:
        assert "redis+sentinel://host:26379/mymaster" in await problem_of(make_link(sentinel.url))
        url = f"redis+sentinel://127.0.0.1:{redis.port}/mymaster"
        assert "a Redis instead of a Sentinel" in await problem_of(make_link(url))
        assert "is not of a Cluster" in await problem_of(make_link(f"redis+cluster://127.0.0.1:{redis.port}"))


async def test_a_database_of_a_cluster_is_refused(make_link: MakeLink) -> None:
    """A Unix socket leads to one node only."""
    with running_redis("--cluster-enabled", "yes") as node:
        assert "a Redis Cluster has none" in await problem_of(make_link(f"{node.url}/1"))
        assert "needs the address of a node" in await problem_of(make_link(f"unix://{node.socket}"))


async def test_a_read_only_redis_replica_is_refused(make_link: MakeLink, redis: RedisServer) -> None:
    with running_redis("--replicaof", f"127.0.0.1 {redis.port}") as replica:
        assert "its URL must name the master" in await problem_of(make_link(replica.url))


async def test_a_redis_that_loads_its_data_is_waited_for(make_link: MakeLink) -> None:
    """It greets, but does nothing else until the data is loaded."""
    slow = ("--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024")
    server = RedisServer(*slow)
    try:
        server.start()
        for number in range(20):
            server.do("SET", f"key {number}", "x" * 5000)
        server.do("CONFIG", "SET", "rdbcompression", "no")
        server.do("SAVE")
        server.kill()
        server.start()
        link = make_link(server.url)
        assert not await link.start(0)
        await until(lambda: link.problem == "Redis is still loading its data")
        await works(link)
    finally:
        server.remove()


async def test_a_full_redis_is_reported(make_link: MakeLink, redis: RedisServer) -> None:
    redis.do("CONFIG", "SET", "maxclients", "1")
    await started(make_link())
    further = make_link()
    await further.start(0)
    await until(lambda: further.problem == "Redis has its maximum of clients (maxclients)")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers at the address of Redis is not Redis"),
        (b"", "Redis ended the connection at once"),
        (b"+hello\r\n", "what answers at the address of Redis is not Redis"),
        (b"%0\r\n:1\r\n:2\r\n:3\r\n", "what answers at the address of Redis is not Redis"),
    ],
)
async def test_a_server_other_than_redis_is_reported(make_link: MakeLink, answer: bytes, words: str) -> None:
    """A web server on the port, or a server that closes."""

    async def serve(reader: object, writer: object) -> None:
        writer.write(answer)  # type: ignore[attr-defined]  # a StreamWriter

    async with listening(serve) as other:
        assert words in await problem_of(make_link(f"redis://127.0.0.1:{other.port}"))


async def test_messages_that_may_repeat_the_password_are_not_shown(make_link: MakeLink) -> None:
    """Other implementations have their own error messages, and /health is public."""

    async def serve(reader: object, writer: object) -> None:
        writer.write(f"-ERR syntax error near '{PASSWORD}'\r\n".encode())  # type: ignore[attr-defined]  # a StreamWriter

    async with listening(serve) as other:
        link = make_link(f"redis://alice:{ESCAPED}@127.0.0.1:{other.port}")
        assert "refuses to sign this instance in" in await problem_of(link)


async def test_an_address_that_cannot_be_looked_up_does_not_end_the_trying(make_link: MakeLink) -> None:
    link = make_link("redis://." + "a" * 100)
    assert await problem_of(link) == "the address of Redis is not valid"
    assert link._task is not None
    assert not link._task.done()


async def test_a_password_is_in_no_text(make_link: MakeLink) -> None:
    """Not in the `repr` of a URL or of a link."""
    url = RedisUrl.parse(f"redis://alice:{ESCAPED}@127.0.0.1:1")
    link = Link(url, QUICK)
    for text in (repr(url), str(url), repr(link), url.address):
        assert PASSWORD not in text
        assert ESCAPED not in text
