"""The checks that need only the settings."""

from collections.abc import Callable

import pytest
from tests.app.check.conftest import GOOD, MakeSettings

from synkora.app.check import settings as checks
from synkora.app.check.finding import Finding, FindingStatus
from synkora.app.settings import Settings

WEAK = "hunter2-hunter3"


@pytest.mark.parametrize(
    ("secret", "environment", "status"),
    [
        (GOOD, "production", FindingStatus.WELL),
        (WEAK, "production", FindingStatus.WRONG),
        (WEAK, "development", FindingStatus.RISKY),
        ("your-secret-here", "production", FindingStatus.WRONG),
    ],
)
def test_the_secret(settings: MakeSettings, secret: str, environment: str, status: FindingStatus) -> None:
    """A weak secret is wrong if the server refuses it, and otherwise risky. It is never shown."""
    (finding,) = checks.check_secret(settings(NEXTAUTH_SECRET=secret, SYNKORA_ENV=environment))
    assert finding.status is status
    assert secret not in str(finding)
    assert ("openssl rand" in finding.advice) is (status is not FindingStatus.WELL)


@pytest.mark.parametrize(
    ("previous", "environment", "status"),
    [
        ("", "production", FindingStatus.SKIPPED),
        (GOOD[::-1], "production", FindingStatus.WELL),
        (f"{GOOD[::-1]},{WEAK}", "production", FindingStatus.WRONG),
        (WEAK, "development", FindingStatus.RISKY),
        (GOOD, "production", FindingStatus.RISKY),
    ],
)
def test_previous_secrets(settings: MakeSettings, previous: str, environment: str, status: FindingStatus) -> None:
    """Previous secrets are also accepted for sign-ins, so each is checked."""
    (finding,) = checks.check_previous_secrets(settings(NEXTAUTH_SECRET_PREVIOUS=previous, SYNKORA_ENV=environment))
    assert finding.status is status
    assert not previous or previous not in str(finding)


@pytest.mark.parametrize(
    ("environment", "origins", "status"),
    [
        ("production", "https://app.example.com", FindingStatus.WELL),
        ("development", "http://localhost:3000,http://127.0.0.1:3000,http://[::1]:3000", FindingStatus.WELL),
        ("development", "http://localhost:3000,https://app.example.com", FindingStatus.RISKY),
        ("development", "*", FindingStatus.RISKY),
    ],
)
def test_the_environment(settings: MakeSettings, environment: str, origins: str, status: FindingStatus) -> None:
    """Development mode is for pages of this machine."""
    (finding,) = checks.check_environment(settings(SYNKORA_ENV=environment, ALLOWED_ORIGINS=origins))
    assert finding.status is status


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({"SYNKORA_ENV": "production"}, FindingStatus.RISKY),
        ({"PROJECT_ACCESS": "open"}, FindingStatus.WELL),
        ({"SYNKORA_ENV": "production", "PROJECT_ACCESS": "http", "APP_URL": "http://localhost"}, FindingStatus.WELL),
        ({"SYNKORA_ENV": "production", "PROJECT_ACCESS": "postgres", "DATABASE_URL": "x"}, FindingStatus.WELL),
    ],
)
def test_open_projects(settings: MakeSettings, variables: dict[str, str], status: FindingStatus) -> None:
    (finding,) = checks.check_access(settings(**variables))
    assert finding.status is status


@pytest.mark.parametrize(
    ("origins", "in_production", "in_development"),
    [
        ("https://app.example.com,https://*.example.org/", 0, 0),
        ("*", 1, 1),
        ("https://*.com", 1, 1),
        ("capacitor://localhost,tauri://localhost,app://.", 0, 0),
        ("null,file://", 2, 2),
        ("http://localhost:*", 1, 0),
        ("http://app.example.com", 1, 0),
        ("http://localhost:3000", 1, 0),
        ("https://app.example.com,http://localhost:3000,http://app.example.com", 2, 0),
    ],
)
def test_origins(settings: MakeSettings, origins: str, in_production: int, in_development: int) -> None:
    """An origin that admits more than the app's pages is risky. The advice has the origin to write instead."""
    for environment, expected in (("production", in_production), ("development", in_development)):
        findings = list(checks.check_origins(settings(ALLOWED_ORIGINS=origins, SYNKORA_ENV=environment)))
        assert sum(finding.status is FindingStatus.RISKY for finding in findings) == expected
        assert all(finding.advice for finding in findings if finding.status is FindingStatus.RISKY)
        assert findings


@pytest.mark.parametrize("origin", ["null", "file://"])
def test_an_origin_that_any_page_can_have(settings: MakeSettings, origin: str) -> None:
    """The advice says that cookies of such pages are ignored."""
    (finding,) = checks.check_origins(settings(ALLOWED_ORIGINS=origin))
    assert origin in finding.message
    assert "cookies of such pages never count" in finding.advice


def test_limits(settings: MakeSettings) -> None:
    assert [finding.status for finding in checks.check_limits(settings())] == [FindingStatus.WELL]
    (finding,) = checks.check_limits(settings(LIMIT_CLIENTS="0", LIMIT_EDIT_RATE="0"))
    assert (finding.status, finding.message) == (FindingStatus.RISKY, "0 is no limit: LIMIT_EDIT_RATE, LIMIT_CLIENTS")


SECRET = "hunter2-hunter2-hunter2"
PRODUCTION = {"SYNKORA_ENV": "production"}
METRICS = [
    (PRODUCTION, FindingStatus.RISKY),
    ({**PRODUCTION, "WS_HOST": "10.0.0.7"}, FindingStatus.RISKY),
    ({**PRODUCTION, "WS_HOST": "127.0.0.1"}, FindingStatus.WELL),
    ({**PRODUCTION, "METRICS_TOKEN": "hunter2"}, FindingStatus.WELL),
    ({}, FindingStatus.WELL),
]
CONSOLE = [
    ({}, FindingStatus.WELL),
    ({"CONSOLE_TOKEN": SECRET}, FindingStatus.WELL),
    (PRODUCTION, FindingStatus.WELL),
    ({**PRODUCTION, "CONSOLE_TOKEN": SECRET}, FindingStatus.RISKY),
    ({**PRODUCTION, "CONSOLE_TOKEN": SECRET, "WS_HOST": "::1"}, FindingStatus.WELL),
    ({"CONSOLE_TOKEN": SECRET, "WS_HOST": "::1", "ADMIN_UI": "true"}, FindingStatus.RISKY),
]


@pytest.mark.parametrize(
    ("check", "variables", "status"),
    [*((checks.check_metrics, *case) for case in METRICS), *((checks.check_console, *case) for case in CONSOLE)],
)
def test_metrics_and_console_need_a_token_in_production(
    settings: MakeSettings, check: Callable[[Settings], list[Finding]], variables: dict[str, str], status: FindingStatus
) -> None:
    """A loopback address needs none. The Admin UI is reachable like Socket.IO."""
    (finding,) = check(settings(**variables))
    assert finding.status is status
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("status", "host", "proxies"),
    [
        (FindingStatus.WELL, "127.0.0.1", "127.0.0.1"),
        (FindingStatus.WELL, "127.0.0.1", "unix"),
        (FindingStatus.RISKY, "", "127.0.0.1"),
        (FindingStatus.RISKY, "", "unix,::1"),
        (FindingStatus.WELL, "", "10.0.0.7"),
        (FindingStatus.WELL, "", "127.0.0.1,10.0.0.7"),
        (FindingStatus.WELL, "", "10.0.0.0/8,fd00::/8"),
        (FindingStatus.RISKY, "", "10.0.0.7,0.0.0.0/0"),
        (FindingStatus.RISKY, "", "::/0"),
    ],
)
def test_proxies(settings: MakeSettings, host: str, proxies: str, status: FindingStatus) -> None:
    """Only the proxy is trusted, and clients cannot bypass it."""
    (finding,) = checks.check_proxies(settings(WS_HOST=host, TRUSTED_PROXIES=proxies))
    assert finding.status is status
    assert bool(finding.advice) is (status is FindingStatus.RISKY)


def test_no_proxies(settings: MakeSettings) -> None:
    """A loopback address without a proxy is a risk only in production."""
    for variables in ({}, {"WS_HOST": "127.0.0.1"}):
        assert [finding.status for finding in checks.check_proxies(settings(**variables))] == [FindingStatus.SKIPPED]
    (finding,) = checks.check_proxies(settings(**PRODUCTION, WS_HOST="127.0.0.1"))
    assert (finding.status, bool(finding.advice)) == (FindingStatus.RISKY, True)
