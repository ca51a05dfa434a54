"""Who may use the console."""

from typing import Any

import pytest
from starlette.requests import Request
from tests.support.clocks import Clock

from synkora.app.console.sign_in import ConsoleRefused, ConsoleSignIn
from synkora.app.token_guard import MOST_FAILURES
from synkora.collaboration import failure_backoff as failures_module
from synkora.engine.addresses import TrustedProxies
from synkora.engine.incidents import Incidents

TOKEN = "0123456789abcdef"
HOST = "synkora.example"


def request_of(peer: str | None = "192.0.2.1", **headers: str) -> Request:
    given = {"host": HOST, **headers}
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/console/api/notice",
        "client": None if peer is None else (peer, 50_000),
        "server": ("127.0.0.1", 3001),
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in given.items()],
    }
    return Request(scope)


def guard_of(
    token: str | None = TOKEN, proxies: tuple[str, ...] = (), incidents: Incidents | None = None
) -> ConsoleSignIn:
    return ConsoleSignIn(token, TrustedProxies(proxies), Incidents() if incidents is None else incidents)


def refusal(guard: ConsoleSignIn, request: Request) -> ConsoleRefused:
    with pytest.raises(ConsoleRefused) as caught:
        guard.check(request)
    return caught.value


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN} "])
def test_a_request_with_the_token_is_accepted(given: str) -> None:
    guard_of().check(request_of(authorization=given))


@pytest.mark.parametrize("given", ["Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, ""])
def test_a_request_without_a_token_is_asked_to_sign_in(given: str) -> None:
    """This is no failure: each page starts without a token."""
    incidents = Incidents()
    guard = guard_of(incidents=incidents)
    for _ in range(MOST_FAILURES + 1):
        refused = refusal(guard, request_of(authorization=given))
        assert (refused.status, refused.headers) == (401, {"www-authenticate": "Bearer"})
        assert "CONSOLE_TOKEN" in str(refused)
    assert not incidents.totals


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer é"])
def test_a_wrong_token_is_refused_and_counted(given: str) -> None:
    """The incident does not contain the token."""
    incidents = Incidents()
    refused = refusal(guard_of(incidents=incidents), request_of(authorization=given))
    assert refused.status == 401
    assert TOKEN not in str(refused)
    (tally,) = incidents.take()
    assert (tally.kind, tally.times, tally.label) == ("console sign-in refused", 1, "wrong token")


def test_guessing_is_over_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten wrong tokens, an address must wait for a minute, even with the valid token. Other addresses are not
    affected.
    """
    clock = Clock()
    monkeypatch.setattr(failures_module, "monotonic", clock)
    guard = guard_of()
    for _ in range(MOST_FAILURES):
        assert refusal(guard, request_of(authorization="Bearer wrong")).status == 401
    for given in ("wrong", TOKEN):
        refused = refusal(guard, request_of(authorization=f"Bearer {given}"))
        assert (refused.status, refused.headers) == (429, {"retry-after": "60"})
    guard.check(request_of("192.0.2.2", authorization=f"Bearer {TOKEN}"))
    clock.now += 60
    guard.check(request_of(authorization=f"Bearer {TOKEN}"))


def test_failures_are_counted_per_client_behind_a_proxy() -> None:
    """By the address from a trusted proxy. Addresses from other peers are ignored."""
    guard = guard_of(proxies=("10.0.0.1",))
    for _ in range(MOST_FAILURES):
        refusal(guard, request_of("10.0.0.1", x_forwarded_for="192.0.2.1", authorization="Bearer wrong"))
    assert refusal(guard, request_of("192.0.2.1", authorization=f"Bearer {TOKEN}")).status == 429
    guard.check(request_of("10.0.0.1", x_forwarded_for="192.0.2.2", authorization=f"Bearer {TOKEN}"))
    guard.check(request_of("192.0.2.3", x_forwarded_for="192.0.2.1", authorization=f"Bearer {TOKEN}"))


def test_a_unix_socket_has_no_address() -> None:
    guard = guard_of()
    for _ in range(MOST_FAILURES):
        refusal(guard, request_of(None, authorization="Bearer wrong"))
    assert refusal(guard, request_of(None, authorization=f"Bearer {TOKEN}")).status == 429


def test_pages_of_other_sites_may_not_ask() -> None:
    """Not even with the token. The console's own page may."""
    guard = guard_of()
    for origin in ("https://evil.example", "null", f"https://{HOST}:8443"):
        assert refusal(guard, request_of(origin=origin, authorization=f"Bearer {TOKEN}")).status == 403
    guard.check(request_of(origin=f"https://{HOST}", authorization=f"Bearer {TOKEN}"))


def test_without_a_token_this_machine_may_ask() -> None:
    guard = guard_of(None)
    guard.check(request_of("127.0.0.1", host="localhost:3001"))
    guard.check(request_of("::1", host="localhost:3001", origin="http://localhost:3001"))
    for request in (
        request_of("192.0.2.1", host="localhost:3001"),
        request_of("127.0.0.1"),
        request_of("127.0.0.1", host="localhost:3001", x_forwarded_for="192.0.2.1"),
        request_of("127.0.0.1", host="localhost:3001", origin="http://localhost:3000"),
        request_of(None, host="localhost:3001"),
    ):
        refused = refusal(guard, request)
        assert refused.status == 403
        assert "CONSOLE_TOKEN" in str(refused)
        assert "ssh -L" in str(refused)


@pytest.mark.parametrize("version", ["0.9", "1.0"])
def test_old_http_is_a_proxys(version: str) -> None:
    """Browsers no longer send HTTP/1.0. A plain proxy on this machine does, for any client."""
    request = request_of("127.0.0.1", host="localhost:3001")
    request.scope["http_version"] = version
    assert refusal(guard_of(None), request).status == 403
    request.scope["http_version"] = "2"
    guard_of(None).check(request)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_browsers_fetch_metadata_decides(token: str | None) -> None:
    """Other pages are refused even without an Origin header, including pages on other ports of this machine."""
    guard = guard_of(token)
    given = {"host": "localhost:3001", "authorization": f"Bearer {TOKEN}"}
    for site in ("cross-site", "same-site"):
        assert refusal(guard, request_of("127.0.0.1", **given, sec_fetch_site=site)).status == 403
    for site in ("same-origin", "none"):
        guard.check(request_of("127.0.0.1", **given, sec_fetch_site=site))


def test_the_consoles_own_page_behind_a_proxy_that_replaces_host() -> None:
    """A trusted proxy's `X-Forwarded-Host`, or the browser's fetch metadata, identifies the console's page."""
    given = {"host": "127.0.0.1:3001", "origin": f"https://{HOST}", "authorization": f"Bearer {TOKEN}"}
    ways: list[dict[str, str]] = [{"x_forwarded_host": HOST}, {"sec_fetch_site": "same-origin"}]
    for way in ways:
        guard_of(proxies=("192.0.2.1",)).check(request_of(**given, **way))
        assert refusal(guard_of(), request_of(**given, **way)).status == 403
