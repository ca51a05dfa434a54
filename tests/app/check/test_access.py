"""Who may join a project."""

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check.access import check_access
from synkora.app.check.finding import FindingStatus


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
    """In production it is risky to ask nobody."""
    (finding,) = check_access(settings(**variables))
    assert finding.status is status
