"""The proxy in front, if there is one."""

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check.finding import FindingStatus
from synkora.app.check.proxies import check_proxies


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({}, FindingStatus.SKIPPED),
        ({"WS_HOST": "127.0.0.1"}, FindingStatus.SKIPPED),
        ({"WS_HOST": "127.0.0.1", "SYNKORA_ENV": "production"}, FindingStatus.RISKY),
        ({"WS_HOST": "127.0.0.1", "TRUSTED_PROXIES": "127.0.0.1"}, FindingStatus.WELL),
        ({"WS_HOST": "127.0.0.1", "TRUSTED_PROXIES": "unix"}, FindingStatus.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "127.0.0.1"}, FindingStatus.RISKY),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "unix,::1"}, FindingStatus.RISKY),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "10.0.0.7"}, FindingStatus.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "127.0.0.1,10.0.0.7"}, FindingStatus.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8"}, FindingStatus.WELL),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "10.0.0.7,0.0.0.0/0"}, FindingStatus.RISKY),
        ({"WS_HOST": "", "TRUSTED_PROXIES": "::/0"}, FindingStatus.RISKY),
    ],
)
def test_proxies(settings: MakeSettings, variables: dict[str, str], status: FindingStatus) -> None:
    """Who is trusted is the proxy and nobody else, and clients do not come past it."""
    (finding,) = check_proxies(settings(**variables))
    assert finding.status is status
    assert bool(finding.advice) is (status is FindingStatus.RISKY)
