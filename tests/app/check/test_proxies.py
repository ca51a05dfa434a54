"""The proxy in front, if there is one."""

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check.finding import Status
from synkora.app.check.proxies import check_proxies


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({}, Status.SKIPPED),
        ({"WS_HOST": "127.0.0.1"}, Status.SKIPPED),
        ({"WS_HOST": "127.0.0.1", "SYNKORA_ENV": "production"}, Status.RISKY),
        ({"WS_HOST": "127.0.0.1", "TRUSTED_PROXIES": "127.0.0.1"}, Status.WELL),
        ({"WS_HOST": "127.0.0.1", "TRUSTED_PROXIES": "unix"}, Status.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "127.0.0.1"}, Status.RISKY),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "unix,::1"}, Status.RISKY),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "10.0.0.7"}, Status.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "127.0.0.1,10.0.0.7"}, Status.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8"}, Status.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "10.0.0.7,0.0.0.0/0"}, Status.RISKY),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "::/0"}, Status.RISKY),
    ],
)
def test_proxies(settings: MakeSettings, variables: dict[str, str], status: Status) -> None:
    """Who is trusted is the proxy and nobody else, and clients do not come past it."""
    (finding,) = check_proxies(settings(**variables))
    assert finding.status is status
    assert bool(finding.advice) is (status is Status.RISKY)
