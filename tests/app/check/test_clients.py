"""Who may connect, how much they may send, and what strangers may read."""

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check.clients import check_console, check_limits, check_metrics, check_origins
from synkora.app.check.finding import FindingStatus


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
    """Each that lets in more than the app's pages is risky, with what to write instead."""
    for environment, expected in (("production", in_production), ("development", in_development)):
        findings = list(check_origins(settings(ALLOWED_ORIGINS=origins, SYNKORA_ENV=environment)))
        assert sum(finding.status is FindingStatus.RISKY for finding in findings) == expected
        assert all(finding.advice for finding in findings if finding.status is FindingStatus.RISKY)
        assert findings


@pytest.mark.parametrize("origin", ["null", "file://"])
def test_an_origin_that_any_page_can_have(settings: MakeSettings, origin: str) -> None:
    """It is told that cookies of such pages never count."""
    (finding,) = check_origins(settings(ALLOWED_ORIGINS=origin))
    assert origin in finding.message
    assert "cookies of such pages never count" in finding.advice


def test_limits(settings: MakeSettings) -> None:
    """One that is off is named."""
    assert [finding.status for finding in check_limits(settings())] == [FindingStatus.WELL]
    (finding,) = check_limits(settings(LIMIT_CLIENTS="0", LIMIT_EDIT_RATE="0"))
    assert (finding.status, finding.message) == (FindingStatus.RISKY, "0 is no limit: LIMIT_EDIT_RATE, LIMIT_CLIENTS")


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({"SYNKORA_ENV": "production"}, FindingStatus.RISKY),
        ({"SYNKORA_ENV": "production", "WS_HOST": "10.0.0.7"}, FindingStatus.RISKY),
        ({"SYNKORA_ENV": "production", "WS_HOST": "127.0.0.1"}, FindingStatus.WELL),
        ({"SYNKORA_ENV": "production", "METRICS_TOKEN": "hunter2"}, FindingStatus.WELL),
        ({}, FindingStatus.WELL),
    ],
)
def test_metrics(settings: MakeSettings, variables: dict[str, str], status: FindingStatus) -> None:
    """In production whoever reaches the port may not read /metrics, unless they have the token."""
    (finding,) = check_metrics(settings(**variables))
    assert finding.status is status
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({}, FindingStatus.WELL),
        ({"CONSOLE_TOKEN": "hunter2-hunter2-hunter2"}, FindingStatus.WELL),
        ({"SYNKORA_ENV": "production"}, FindingStatus.WELL),
        ({"SYNKORA_ENV": "production", "CONSOLE_TOKEN": "hunter2-hunter2-hunter2"}, FindingStatus.RISKY),
        (
            {"SYNKORA_ENV": "production", "CONSOLE_TOKEN": "hunter2-hunter2-hunter2", "WS_HOST": "::1"},
            FindingStatus.WELL,
        ),
        ({"CONSOLE_TOKEN": "hunter2-hunter2-hunter2", "WS_HOST": "::1", "ADMIN_UI": "true"}, FindingStatus.RISKY),
    ],
)
def test_console(settings: MakeSettings, variables: dict[str, str], status: FindingStatus) -> None:
    """In production strangers are not to try tokens; the Admin UI is wherever clients are."""
    (finding,) = check_console(settings(**variables))
    assert finding.status is status
    assert "hunter2" not in str(finding)
