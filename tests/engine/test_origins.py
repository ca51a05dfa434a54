import pytest
from tests.support.sessions import request_of

from synkora.engine.origins import Origins, is_on_host, normalized, refused_origin
from synkora.engine.request import Request

APP = "https://app.example.com"
HOST = "ws.example.com"


def asked(origin: str | None, host: str | None = HOST, **options: bool) -> Request:
    headers = {name: value for name, value in (("origin", origin), ("host", host)) if value is not None}
    return request_of(**headers, **options)  # type: ignore[arg-type]  # both are keywords


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ([APP], APP),
        ([APP], "HTTPS://App.Example.com"),
        ([APP + "/"], APP),
        (["http://localhost:3000", APP], APP),
        (["https://*.example.com"], APP),
        (["https://*.example.com"], "https://a.b.example.com"),
        (["https://*.example.com:8443"], "https://a.example.com:8443"),
    ],
)
def test_an_allowed_page_is_admitted_and_trusted(allowed: list[str], origin: str) -> None:
    """An origin that is listed, exactly or by its domain, may connect, and its cookies count."""
    origins = Origins(allowed)
    assert origins.allows(asked(origin, HOST))
    assert origins.trusts(asked(origin, HOST))


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ([], APP),
        ([APP], "http://app.example.com"),
        ([APP], "https://app.example.com:8443"),
        ([APP], "https://app.example.com.evil.net"),
        ([APP], "null"),
        ([APP], ""),
        (["https://*.example.com"], "https://example.com"),
        (["https://*.example.com"], "https://.example.com"),
        (["https://*.example.com"], "http://a.example.com"),
        (["https://*.example.com"], "https://evilexample.com"),
        (["https://*.example.com"], "https://a.example.com.evil.net"),
        (["https://*.example.com"], "https://a.example.com:444"),
        (["https://*.example.com"], "https://evil.net/.example.com"),
        (["https://*.example.com"], "https://evil.net?.example.com"),
        ([APP], "https://[::1"),
    ],
)
def test_any_other_page_is_neither(allowed: list[str], origin: str) -> None:
    """Another scheme, port, domain or path, and an invalid origin, is refused."""
    origins = Origins(allowed)
    assert not origins.allows(asked(origin, HOST))
    assert not origins.trusts(asked(origin, HOST))


def test_over_tls_a_page_without_tls_is_not_the_servers_own() -> None:
    """An attacker on the network can write such a page. A page over TLS is the server's own even if a proxy
    terminates TLS.
    """
    origins = Origins()
    assert not origins.trusts(asked("http://ws.example.com", HOST, secure=True))
    assert not origins.allows(asked("http://ws.example.com", HOST, secure=True))
    assert origins.trusts(asked("https://ws.example.com", HOST, secure=True))
    assert origins.trusts(asked("https://ws.example.com", HOST, secure=False))
    assert origins.trusts(asked("http://ws.example.com", HOST, secure=False))
    assert Origins(["http://ws.example.com"]).trusts(asked("http://ws.example.com", HOST, secure=True))


def test_the_servers_own_page_is_always_allowed() -> None:
    """A page of the request's host and port need not be listed."""
    origins = Origins()
    assert origins.trusts(asked("https://WS.example.com", HOST))
    assert origins.trusts(asked("http://localhost:3001", "localhost:3001"))
    assert not origins.trusts(asked("http://localhost:3000", "localhost:3001"))
    assert not origins.allows(asked("https://ws.example.com", None))


def test_a_star_admits_every_page_and_trusts_none() -> None:
    """Cookies are ignored, except from origins that are listed as well."""
    origins = Origins(["*", APP])
    assert origins.allows_all
    assert origins.allows(asked("https://anywhere.net", HOST))
    assert not origins.trusts(asked("https://anywhere.net", HOST))
    assert origins.trusts(asked(APP, HOST))


def test_a_request_without_an_origin_is_admitted_but_not_trusted() -> None:
    """Clients other than browsers may connect. Their cookies are ignored."""
    origins = Origins([APP])
    assert origins.allows(asked(None, HOST))
    assert not origins.trusts(asked(None, HOST))


def test_a_refusal_has_the_origin_and_advice() -> None:
    """The message has the shortened origin and the server's hint."""
    origins = Origins(hint=": add it to ALLOWED_ORIGINS")
    assert origins.refusal(APP) == f"Origin {APP} is not allowed: add it to ALLOWED_ORIGINS"
    assert len(origins.refusal("x" * 10_000)) < 300


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://app.example.com", "app.example.com:443"),
        ("https://app.example.com:443", "app.example.com"),
        ("https://app.example.com:", "app.example.com:443"),
        ("http://app.example.com", "app.example.com:80"),
        ("http://app.example.com:80", "App.Example.com"),
        ("wss://app.example.com", "app.example.com:443"),
        ("wss://app.example.com:443", "app.example.com"),
        ("wss://app.example.com:8443", "app.example.com:8443"),
        ("ws://app.example.com", "app.example.com:80"),
        ("https://[2001:DB8::1]", "[2001:db8::1]:443"),
        ("http://[::1]:3001", "[::1]:3001"),
    ],
)
def test_a_default_port_may_be_written_or_not(origin: str, host: str) -> None:
    """The default port is the one of the page's scheme. Clients other than browsers may send the WebSocket's scheme."""
    assert is_on_host(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://app.example.com", "app.example.com:80"),
        ("http://app.example.com", "app.example.com:443"),
        ("https://app.example.com:8443", "app.example.com"),
        ("https://app.example.com", "app.example.com:8443"),
        ("https://app.example.com:443443", "app.example.com"),
        ("https://app.example.com@evil.net", "evil.net"),
        ("https://evil.net/app.example.com", "app.example.com"),
        ("capacitor://localhost", "localhost"),
        ("file://", ""),
        ("null", "null"),
        ("https://[::1", "[::1"),
        ("https://", ""),
        ("https://:443", ":443"),
    ],
)
def test_another_port_or_scheme_is_another_server(origin: str, host: str) -> None:
    assert not is_on_host(origin, host)


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("https://app.example.com", "https://app.example.com:443"),
        ("https://app.example.com", "wss://app.example.com"),
        ("http://localhost:*", "http://localhost:5173"),
        ("http://localhost:*", "http://localhost"),
        ("https://*.example.com:*", "https://a.example.com:8443"),
        ("http://[::1]:*", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("app://.", "app://."),
    ],
)
def test_an_origin_that_is_written_otherwise_or_is_of_an_app(allowed: str, origin: str) -> None:
    """Default ports, any port, and the schemes of apps."""
    origins = Origins([allowed])
    assert origins.allows(asked(origin))
    assert origins.trusts(asked(origin))


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("http://localhost:*", "https://localhost:3000"),
        ("http://localhost:*", "http://localhost.evil.net"),
        ("http://localhost:*", "http://localhost:3000.evil.net"),
        ("http://localhost:*", "http://localhost:3000@evil.net"),
        ("https://*.example.com:*", "https://example.com:8443"),
        ("capacitor://localhost", "ionic://localhost"),
        ("app://.", "app://x"),
    ],
)
def test_a_wildcard_is_for_the_port_alone(allowed: str, origin: str) -> None:
    """Every other part must match the listed origin."""
    assert not Origins([allowed]).allows(asked(origin))


@pytest.mark.parametrize("origin", ["null", "file://"])
def test_an_origin_that_any_page_can_have_is_never_trusted(origin: str) -> None:
    """Such a page may connect if the origin is listed, but its cookies are ignored."""
    assert not Origins([APP]).allows(asked(origin))
    origins = Origins([origin])
    assert origins.allows(asked(origin))
    assert not origins.trusts(asked(origin))
    assert not origins.trusts(request_of(origin=origin, host=HOST, sec_fetch_site="same-origin", is_proxied=True))


@pytest.mark.parametrize("forwarded", ["app.example.com", "app.example.com:443", "app.example.com, inner:8080"])
def test_the_host_is_the_one_sent_to_a_trusted_proxy(forwarded: str) -> None:
    """`X-Forwarded-Host` replaces the Host only from a trusted proxy."""
    origins = Origins()
    headers = {"origin": APP, "host": "127.0.0.1:3001", "x_forwarded_host": forwarded}
    assert origins.trusts(request_of(**headers, is_proxied=True))  # type: ignore[arg-type]  # only headers
    assert not origins.allows(request_of(**headers))  # type: ignore[arg-type]  # only headers
    other = {**headers, "origin": "https://evil.net"}
    assert not origins.allows(request_of(**other, is_proxied=True))  # type: ignore[arg-type]  # only headers


@pytest.mark.parametrize("site", ["same-site", "cross-site", "none"])
def test_a_browsers_word_counts_behind_a_trusted_proxy(site: str) -> None:
    """If a proxy has replaced Host, the browser's fetch metadata says whether the page has the same origin."""
    origins = Origins()
    headers = {"origin": APP, "host": "127.0.0.1:3001"}
    own = {**headers, "sec_fetch_site": "same-origin"}
    assert origins.trusts(request_of(**own, is_proxied=True))  # type: ignore[arg-type]  # only headers
    assert not origins.allows(request_of(**own))  # type: ignore[arg-type]  # only headers
    other = {**headers, "sec_fetch_site": site}
    assert not origins.allows(request_of(**other, is_proxied=True))  # type: ignore[arg-type]  # only headers


@pytest.mark.parametrize(
    ("host", "is_named"),
    [
        ("127.0.0.1:3001", True),
        ("synkora", True),
        ("backend:8080", True),
        ("ws.default.svc", True),
        ("ws.example.com", False),
    ],
)
def test_the_log_names_a_host_that_a_proxy_may_have_replaced(host: str, is_named: bool) -> None:
    """Operators need an internal name. A public one is not shown."""
    label = refused_origin(asked(APP, host))
    assert label == (f"{APP} (for the Host {host}, which a proxy may have replaced)" if is_named else APP)
    assert len(refused_origin(asked("x" * 1000, "y" * 1000))) <= 300


def test_an_origin_is_written_as_browsers_do() -> None:
    """In lower case, and without a default port."""
    assert normalized("HTTPS://App.Example.com:443") == APP
    assert normalized("ws://localhost:80") == "http://localhost"
    assert normalized("capacitor://localhost:80") == "capacitor://localhost:80"
