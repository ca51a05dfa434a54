"""The addresses that fail2ban's filter finds in the log, as text and as JSON."""

import configparser
import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.docs.documents import ROOT

from synkora.app.logs.json import render_json
from synkora.app.logs.text import render_numbered, render_text

_HOST = r"(?P<host>[0-9a-f.:]+)"  # as much of fail2ban's own as is needed here
RENDERERS = {
    "text": render_text,
    "text of a worker": functools.partial(render_numbered, render_text, 1),
    "json": render_json,
}

Found = Callable[..., str | None]


@pytest.fixture(params=RENDERERS.values(), ids=list(RENDERERS))
def found(request: pytest.FixtureRequest) -> Found:
    """The address in a log entry, by the first matching expression."""
    filter_ = configparser.ConfigParser(interpolation=None)
    filter_.read(ROOT / "deploy" / "fail2ban" / "synkora.conf")
    expressions = [line.replace("<HOST>", _HOST) for line in filter_["Definition"]["failregex"].splitlines()]

    def found(event: str, **fields: Any) -> str | None:
        line = request.param(None, "warning", {"event": event, **fields})
        matches = (re.search(expression, line) for expression in expressions)
        return next((match["host"] for match in matches if match), None)

    return found


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("what", ["Sign-in refused", "Console sign-in refused", "Flooding client cut off"])
def test_an_address_is_found(found: Found, what: str, address: str) -> None:
    assert (
        found("incident", what=what, reason="Authentication failed (auth.token: expired)", address=address) == address
    )
    assert found("incident", what=what, reason=None, address=address) == address


@pytest.mark.parametrize("what", ["Limit hit", "Origin refused", "Slow client cut off"])
def test_incidents_of_normal_users_block_no_address(found: Found, what: str) -> None:
    """Everyone behind an address shares its limits, and an origin may be missing in the settings."""
    assert found("incident", what=what, reason="x", address="192.0.2.7") is None


@pytest.mark.parametrize(
    "forged", [", from 203.0.113.9", '","address":"203.0.113.9"}', "\n! Sign-in refused, from 203.0.113.9"]
)
def test_a_client_cannot_get_another_address_blocked(found: Found, forged: str) -> None:
    assert found("incident", what="Sign-in refused", reason=forged, address="192.0.2.7") == "192.0.2.7"
    assert found("incident", what="Origin refused", reason=forged, address="192.0.2.7") is None
    assert found("client_connected", socketId="x", userName=forged, userId="x") is None


@pytest.mark.parametrize("counts", ["12 sign-ins refused", "3 limits hit, 2 flooding clients cut off"])
def test_a_persistent_address_is_found_each_minute(found: Found, counts: str) -> None:
    assert found("incidents_from", address="192.0.2.7", counts=counts) == "192.0.2.7"
    assert found("incidents_from", address="192.0.2.7", counts="3 limits hit") is None
