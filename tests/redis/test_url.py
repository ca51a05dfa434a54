"""Valid values of `REDIS_URL`, and the messages for invalid ones."""

import re
import ssl
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.redis.url import RedisUrl

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("redis://", "localhost", 6379, 0),
        ("redis://redis.example.com", "redis.example.com", 6379, 0),
        ("redis://127.0.0.1:7000/", "127.0.0.1", 7000, 0),
        ("redis://localhost/3", "localhost", 6379, 3),
        ("redis://localhost?db=4", "localhost", 6379, 4),
        ("redis://[::1]:7000/12", "::1", 7000, 12),
        ("redis://[::1]", "::1", 6379, 0),
    ],
)
def test_an_address_is_read(url: str, host: str, port: int, database: int) -> None:
    """Missing parts have the defaults of Redis' own programs."""
    parsed = RedisUrl.parse(url)
    redis = parsed.redis
    assert (redis.host, redis.port, parsed.database) == (host, port, database)
    assert (redis.path, redis.user, redis.password, redis.ssl) == (None, None, None, None)
    assert (parsed.servers, parsed.master, parsed.is_cluster) == ((redis,), None, False)


def test_sentinels_are_read() -> None:
    """With the master's name and a database. The user and the password before the hosts are those of Redis."""
    url = RedisUrl.parse("redis+sentinel://alice:secret@a,b:7000,[::1]:7001/my%20master/3?sentinel_password=s%20t")
    assert (url.master, url.database, url.is_cluster) == ("my master", 3, False)
    assert [(each.host, each.port) for each in url.servers] == [("a", 26379), ("b", 7000), ("::1", 7001)]
    assert {(each.user, each.password) for each in url.servers} == {(None, "s t")}
    assert (url.redis.user, url.redis.password) == ("alice", "secret")
    assert url.address == "a:26379, b:7000, [::1]:7001"
    assert RedisUrl.parse("redis+sentinel://a/mymaster?db=4").database == 4
    both = RedisUrl.parse("redis+sentinel://a/mymaster?sentinel_username=bob&sentinel_password=x").servers[0]
    assert (both.user, both.password) == ("bob", "x")


def test_sentinels_have_the_tls_of_redis_unless_told_otherwise() -> None:
    url = RedisUrl.parse("rediss+sentinel://a/mymaster?ssl_cert_reqs=none")
    assert url.redis.ssl is not None
    assert url.servers[0].ssl is url.redis.ssl
    assert RedisUrl.parse("rediss+sentinel://a/mymaster?sentinel_tls=false").servers[0].ssl is None
    assert RedisUrl.parse("redis+sentinel://a/mymaster").servers[0].ssl is None


def test_nodes_of_a_cluster_are_read() -> None:
    url = RedisUrl.parse("rediss+cluster://:secret@a,b:7000")
    assert (url.is_cluster, url.master, url.database) == (True, None, 0)
    assert [(each.host, each.port, each.password) for each in url.servers] == [
        ("a", 6379, "secret"),
        ("b", 7000, "secret"),
    ]
    assert all(each.ssl is not None for each in url.servers)


@given(TEXT, TEXT)
def test_escapes_are_undone(user: str, password: str) -> None:
    """For any character in a name or a password. No text of the URL shows them."""
    url = RedisUrl.parse(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@localhost")
    assert (url.redis.user, url.redis.password) == (user, password)
    assert "password" not in repr(url)


def test_a_password_may_come_alone_or_as_an_option() -> None:
    """With a user it is that user's. The address precedes the option."""
    alone = RedisUrl.parse("redis://:secret@localhost")
    assert (alone.redis.user, alone.redis.password) == (None, "secret")
    options = RedisUrl.parse("redis://localhost?username=alice&password=se%23cret")
    assert (options.redis.user, options.redis.password) == ("alice", "se#cret")
    both = RedisUrl.parse("redis://bob:one@localhost?username=alice&password=two")
    assert (both.redis.user, both.redis.password) == ("bob", "one")


def test_a_unix_socket_is_read() -> None:
    """The URL's path is the socket's, so the database is an option."""
    url = RedisUrl.parse("unix:///run/my%20redis/redis.sock")
    assert (url.redis.path, url.database, url.redis.password, url.address) == (
        "/run/my redis/redis.sock",
        0,
        None,
        "/run/my redis/redis.sock",
    )
    url = RedisUrl.parse("unix://alice:secret@/run/redis.sock?db=2")
    assert (url.redis.path, url.database, url.redis.user, url.redis.password) == (
        "/run/redis.sock",
        2,
        "alice",
        "secret",
    )


@pytest.mark.parametrize(
    ("url", "address"), [("redis://:secret@a.example/1", "a.example:6379"), ("rediss://[::1]:1", "[::1]:1")]
)
def test_an_address_can_be_shown(url: str, address: str) -> None:
    """It contains no user, password or option."""
    assert RedisUrl.parse(url).address == address


def test_tls_verifies_unless_it_is_told_not_to() -> None:
    """The options have the usual names and values of Redis clients."""
    strict = RedisUrl.parse("rediss://localhost").redis.ssl
    assert strict is not None
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    for value in ("required", "CERT_REQUIRED", "optional"):
        context = RedisUrl.parse(f"rediss://localhost?ssl_cert_reqs={value}").redis.ssl
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
    for value in ("none", "CERT_NONE"):
        context = RedisUrl.parse(f"rediss://localhost?ssl_cert_reqs={value}").redis.ssl
        assert context is not None
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    context = RedisUrl.parse("rediss://localhost?ssl_check_hostname=false").redis.ssl
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_certificates_of_ones_own_are_read(tmp_path: Path) -> None:
    """An authority, and a client certificate. A key's password is never asked for on the terminal."""
    certfile, keyfile = tmp_path / "client.crt", tmp_path / "client.key"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-passout", "pass:secret"]
    files = ["-keyout", str(keyfile), "-out", str(certfile)]
    subprocess.run(
        ["openssl", "req", "-x509", *options, *files, "-days", "2", "-subj", "/CN=x"], check=True, capture_output=True
    )
    url = f"rediss://localhost?ssl_ca_certs={certfile}&ssl_certfile={certfile}&ssl_keyfile={keyfile}"
    context = RedisUrl.parse(url + "&ssl_password=secret").redis.ssl
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    for wrong in ("", "&ssl_password=wrong"):
        with pytest.raises(ValueError, match="cannot be read"):
            RedisUrl.parse(url + wrong)


def test_options_of_other_programs_are_ignored() -> None:
    """An app in another language may share the variable."""
    url = RedisUrl.parse("redis://localhost/1?family=6&socket_timeout=5&client_name=x&protocol=2")
    assert (url.redis.host, url.database) == ("localhost", 1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with redis://, rediss:// (TLS), unix://"),
        ("localhost:6379", "must begin with redis://"),
        ("http://secret@localhost", "must begin with redis://"),
        ("redis+sentinel://:secret@a:26379", "must name the master"),
        ("redis+sentinel://:secret@a:26379/", "must name the master"),
        ("redis+sentinel://:secret@a:26379,/mymaster", "must name a host"),
        ("redis+sentinel:///mymaster", "must name a host"),
        ("redis+sentinel://a:26379/mymaster/secret", "database that is not a number"),
        ("redis+sentinel://a/mymaster?sentinel_username=secret", "without a sentinel_password"),
        ("redis+sentinel://a/mymaster?sentinel_tls=secret", "neither true nor false"),
        ("redis+cluster://:secret@a:6379/1", "a Redis Cluster has none"),
        ("redis+cluster://", "must name a host"),
        ("redis+secret://a", "must begin with redis://"),
        ("redis://:secret@a:6379,b:6379", "Sentinels take redis+sentinel://, a Cluster redis+cluster://"),
        ("redis://:sec#ret@localhost", "percent-encoded"),
        ("redis://:sec/ret@localhost", "percent-encoded"),
        ("redis://:sec?ret@localhost", "percent-encoded"),
        ("redis://:sec[ret@localhost", "percent-encoded"),
        ("redis://localhost:secret", "percent-encoded"),
        ("redis://localhost:0", "port"),
        ("redis://localhost:65536", "port"),
        ("redis://localhost/secret", "database that is not a number"),
        ("redis://localhost?db=secret", "database that is not a number"),
        ("redis://secret@localhost", "a user without a password"),
        ("unix://secret/redis.sock", "whole path"),
        ("unix://", "whole path"),
        ("unix:///", "whole path"),
        ("unix:///secret%00", "whole path"),
        ("rediss://localhost?ssl_cert_reqs=secret", "neither required nor none"),
        ("rediss://localhost?ssl_check_hostname=secret", "neither true nor false"),
        ("rediss://localhost?ssl_secret=1", "ssl_ option that is not known"),
        ("rediss://localhost?ssl_ca_certs=/secret", "cannot be read"),
        ("rediss://localhost?ssl_certfile=/secret", "cannot be read"),
        ("redis://localhost?ssl_cert_reqs=none", "rediss://"),
    ],
)
def test_unusable_values_are_reported_without_their_content(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as refusal:
        RedisUrl.parse(url)
    for part in ("secret", "sec", "ret@"):
        assert part not in str(refusal.value)
    assert refusal.value.__cause__ is None


@given(st.text(max_size=60))
def test_nothing_else_is_raised(rest: str) -> None:
    """Any text after the scheme is parsed or refused."""
    for scheme in ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster"):
        try:
            RedisUrl.parse(f"{scheme}://{rest}")
        except ValueError:
            pass
