import ssl
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.access.database_url import DatabaseUrl

PLAIN = "postgresql://app:password@db.example.com:6543/synkora"
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


def test_a_url_is_read() -> None:
    url = DatabaseUrl.parse(PLAIN)
    assert (url.host, url.port, url.user, url.password) == ("db.example.com", 6543, "app", "password")
    assert (url.database, url.schema, url.connections, url.pgbouncer) == ("synkora", "public", 5, False)
    assert url.ssl == "prefer"
    shortest = DatabaseUrl.parse("postgres://")
    assert (shortest.host, shortest.port, shortest.user, shortest.database) == ("localhost", 5432, None, None)


@given(TEXT, TEXT, TEXT)
def test_escapes_are_undone(user: str, password: str, database: str) -> None:
    escaped = [quote(part, safe="") for part in (user, password, database)]
    url = DatabaseUrl.parse("postgresql://{}:{}@localhost/{}".format(*escaped))
    assert (url.user, url.password, url.database) == (user, password, database)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("localhost", "localhost", 5432),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]", "::1", 5432),
        ("[::1]:6000", "::1", 6000),
        ("%2Fvar%2Frun", "/var/run", 5432),
    ],
)
def test_an_address_may_have_any_form(address: str, host: str, port: int) -> None:
    url = DatabaseUrl.parse(f"postgresql://app@{address}/synkora")
    assert (url.host, url.port) == (host, port)


def test_known_parameters_are_used_and_others_dropped() -> None:
    url = DatabaseUrl.parse(
        PLAIN + "?schema=my%20app&connection_limit=3&pgbouncer=true&host=/var/run/postgresql&sslmode=disable"
        "&pool_timeout=10&connect_timeout=10&socket_timeout=5&sslaccept=accept_invalid_certs&sslidentity=x"
        "&statement_cache_size=0&directConnection=true"
    )
    assert (url.schema, url.connections, url.pgbouncer, url.host) == ("my app", 3, True, "/var/run/postgresql")
    assert url.ssl == "disable"


def test_encryption_is_as_strict_as_the_url_says() -> None:
    """As with Prisma, `require` alone verifies no certificate. `sslaccept=strict` and `verify-full` verify certificate
    and name.
    """
    assert DatabaseUrl.parse(PLAIN + "?sslmode=require").ssl == "require"
    for parameters in ("?sslmode=require&sslaccept=strict", "?sslmode=verify-full", "?sslmode=verify-ca"):
        context = DatabaseUrl.parse(PLAIN + parameters).ssl
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname is not parameters.endswith("-ca")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begin with postgresql://"),
        ("mysql://app:hunter2@localhost/x", "begin with postgresql://"),
        ("prisma+postgres://localhost:1/?api_key=hunter2", "begin with postgresql://"),
        ("postgresql://app:hunter2/x@localhost/x", "percent-encoded"),
        ("postgresql://app:hunter2#x@localhost/x", "percent-encoded"),
        ("postgresql://app:hunter2?x@localhost/x", "percent-encoded"),
        ("postgresql://app:hunter2[@localhost/x", "percent-encoded"),
        ("postgresql://app:hunter2@localhost:65536/x", "percent-encoded"),
        ("postgresql://app:hunter2@localhost:0/x", "percent-encoded"),
        ("postgresql://app:hunter2@localhost:²/x", "percent-encoded"),
        ("postgresql://app:hunter2@localhost/x?connection_limit=0", "connection_limit"),
        ("postgresql://app:hunter2@localhost/x?connection_limit=many", "connection_limit"),
        ("postgresql://app:hunter2@localhost/x?sslmode=hunter2", "sslmode"),
        ("postgresql://app:hunter2@localhost/x?schema=%00", "NUL"),
        ("postgresql://app:hunter2@localhost/x?sslmode=verify-full&sslrootcert=/hunter2", "certificate file"),
    ],
)
def test_a_bad_url_is_refused_without_quoting_it(url: str, words: str) -> None:
    """The message says what to change, and contains no part of the URL."""
    with pytest.raises(ValueError, match=words) as refused:
        DatabaseUrl.parse(url)
    assert "hunter2" not in str(refused.value)


def test_the_password_is_not_shown() -> None:
    assert "password" not in repr(DatabaseUrl.parse(PLAIN))


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.touch()
    with pytest.raises(ValueError, match="certificate file"):
        DatabaseUrl.parse(f"{PLAIN}?sslmode=verify-full&sslrootcert={empty}")
