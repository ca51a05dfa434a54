"""Secrets, and whether they are taken in earnest."""

import pytest
from tests.app.check.conftest import GOOD, MakeSettings

from synkora.app.check.finding import FindingStatus
from synkora.app.check.mode import check_environment, check_previous_secrets, check_secret

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
    """A weak one is wrong where the server refuses it, and risky elsewhere; it is never shown."""
    (finding,) = check_secret(settings(NEXTAUTH_SECRET=secret, SYNKORA_ENV=environment))
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
    """Each of them signs people in as well, and the present one is none of them."""
    (finding,) = check_previous_secrets(settings(NEXTAUTH_SECRET_PREVIOUS=previous, SYNKORA_ENV=environment))
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
    """Development is for pages of this machine."""
    (finding,) = check_environment(settings(SYNKORA_ENV=environment, ALLOWED_ORIGINS=origins))
    assert finding.status is status
