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
    assert (parsed.host, parsed.port, parsed.database) == (host, port, database)
    assert (parsed.path, parsed.user, parsed.password, parsed.ssl) == (None, None, None, None)


@given(TEXT, TEXT)
def test_escapes_are_undone(user: str, password: str) -> None:
    """For any character in a name or a password. No text of the URL shows them."""
    url = RedisUrl.parse(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@localhost")
    assert (url.user, url.password) == (user, password)
    assert "password" not in repr(url)


def test_a_password_may_come_alone_or_as_an_option() -> None:
    """With a user it is that user's. The address precedes the option."""
    alone = RedisUrl.parse("redis://:secret@localhost")
    assert (alone.user, alone.password) == (None, "secret")
    options = RedisUrl.parse("redis://localhost?username=alice&password=se%23cret")
    assert (options.user, options.password) == ("alice", "se#cret")
    both = RedisUrl.parse("redis://bob:one@localhost?username=alice&password=two")
    assert (both.user, both.password) == ("bob", "one")


def test_a_unix_socket_is_read() -> None:
    """The URL's path is the socket's, so the database is an option."""
    url = RedisUrl.parse("unix:///run/my%20redis/redis.sock")
    assert (url.path, url.database, url.password, url.address) == (
        "/run/my redis/redis.sock",
        0,
        None,
        "/run/my redis/redis.sock",
    )
    url = RedisUrl.parse("unix://alice:secret@/run/redis.sock?db=2")
    assert (url.path, url.database, url.user, url.password) == ("/run/redis.sock", 2, "alice", "secret")


@pytest.mark.parametrize(
    ("url", "address"), [("redis://:secret@a.example/1", "a.example:6379"), ("rediss://[::1]:1", "[::1]:1")]
)
def test_an_address_can_be_shown(url: str, address: str) -> None:
    """It contains no user, password or option."""
    assert RedisUrl.parse(url).address == address


def test_tls_verifies_unless_it_is_told_not_to() -> None:
    """The options have the usual names and values of Redis clients."""
    strict = RedisUrl.parse("rediss://localhost").ssl
    assert strict is not None
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    for value in ("required", "CERT_REQUIRED", "optional"):
        context = RedisUrl.parse(f"rediss://localhost?ssl_cert_reqs={value}").ssl
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
    for value in ("none", "CERT_NONE"):
        context = RedisUrl.parse(f"rediss://localhost?ssl_cert_reqs={value}").ssl
        assert context is not None
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    context = RedisUrl.parse("rediss://localhost?ssl_check_hostname=false").ssl
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
    context = RedisUrl.parse(url + "&ssl_password=secret").ssl
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    for wrong in ("", "&ssl_password=wrong"):
        with pytest.raises(ValueError, match="cannot be read"):
            RedisUrl.parse(url + wrong)


def test_options_of_other_programs_are_ignored() -> None:
    """An app in another language may share the variable."""
    url = RedisUrl.parse("redis://localhost/1?family=6&socket_timeout=5&client_name=x&protocol=2")
    assert (url.host, url.database) == ("localhost", 1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with redis://, rediss:// or unix://"),
        ("localhost:6379", "must begin with redis://"),
        ("http://secret@localhost", "must begin with redis://"),
        ("redis+sentinel://:secret@a:26379/mymaster", "Sentinel and Redis Cluster are not supported yet"),
        ("rediss+cluster://:secret@a:6379", "Sentinel and Redis Cluster are not supported yet"),
        ("redis://:secret@a:6379,b:6379", "Sentinel and Redis Cluster are not supported yet"),
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
    for part in ("secret", "sec", "ret@", "mymaster", "26379"):
        assert part not in str(refusal.value)
    assert refusal.value.__cause__ is None


@given(st.text(max_size=60))
def test_nothing_else_is_raised(rest: str) -> None:
    """Any text after the scheme is parsed or refused."""
    for scheme in ("redis", "rediss", "unix"):
        try:
            RedisUrl.parse(f"{scheme}://{rest}")
        except ValueError:
            pass
