import pytest

from synkora.engine.origins import Origins

APP = "https://app.example.com"
HOST = "ws.example.com"


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
    """An origin that is named, exactly or by its domain, may connect, and its cookies count."""
    origins = Origins(allowed)
    assert origins.admits(origin, HOST)
    assert origins.trusts(origin, HOST)


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
    """Another scheme, port, domain or path, and what is no origin at all, is refused."""
    origins = Origins(allowed)
    assert not origins.admits(origin, HOST)
    assert not origins.trusts(origin, HOST)


def test_over_tls_a_page_without_tls_is_not_the_servers_own() -> None:
    """Anybody on the line can write such a page; one over TLS is the server's own though a proxy took TLS off."""
    origins = Origins()
    assert not origins.trusts("http://ws.example.com", HOST, secure=True)
    assert not origins.admits("http://ws.example.com", HOST, secure=True)
    assert origins.trusts("https://ws.example.com", HOST, secure=True)
    assert origins.trusts("https://ws.example.com", HOST, secure=False)
    assert origins.trusts("http://ws.example.com", HOST, secure=False)
    assert Origins(["http://ws.example.com"]).trusts("http://ws.example.com", HOST, secure=True)


def test_the_servers_own_page_is_always_allowed() -> None:
    """A page of the address that the request was sent to needs no entry; its port belongs to it."""
    origins = Origins()
    assert origins.trusts("https://WS.example.com", HOST)
    assert origins.trusts("http://localhost:3001", "localhost:3001")
    assert not origins.trusts("http://localhost:3000", "localhost:3001")
    assert not origins.admits("https://ws.example.com", None)


def test_a_star_admits_every_page_and_trusts_none() -> None:
    """Open to all means that cookies prove nothing, except from pages named besides."""
    origins = Origins(["*", APP])
    assert origins.open_to_all
    assert origins.admits("https://anywhere.net", HOST)
    assert not origins.trusts("https://anywhere.net", HOST)
    assert origins.trusts(APP, HOST)


def test_a_request_without_an_origin_is_admitted_but_not_trusted() -> None:
    """What is no browser may connect; cookies that come with it are not believed."""
    origins = Origins([APP])
    assert origins.admits(None, HOST)
    assert not origins.trusts(None, HOST)


def test_a_refusal_names_the_origin_and_what_to_do() -> None:
    """The words show the origin, shortened, and the server's hint."""
    origins = Origins(hint=": add it to ALLOWED_ORIGINS")
    assert origins.refusal(APP) == f"Origin {APP} is not allowed: add it to ALLOWED_ORIGINS"
    assert len(origins.refusal("x" * 10_000)) < 300
