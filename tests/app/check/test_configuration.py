"""The checks of the settings as files and the environment have them."""

from pathlib import Path

import pytest
from tests.app.check.conftest import GOOD

from synkora.app.check.configuration import NAMES, read_configuration
from synkora.app.check.finding import Finding, FindingStatus


def found(check: str) -> list[Finding]:
    return [finding for finding in read_configuration()[1] if finding.check == check]


def test_good_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / ".env.local").write_text(f"NEXTAUTH_SECRET={GOOD}\nWS_PORT=4000\nWS_HOST=127.0.0.1\nOTHER=1\n")
    (folder / ".env").write_text("LOG_LEVEL=debug\n")
    for file in (".env", ".env.local"):
        (folder / file).chmod(0o600)
    monkeypatch.setenv("WS_PORT", "5000")
    settings, findings = read_configuration(host="127.0.0.2")
    assert settings is not None
    assert (settings.port, settings.host) == (5000, "127.0.0.2")
    assert [finding.check for finding in findings] == list(NAMES)
    assert {finding.status for finding in findings} == {FindingStatus.WELL}
    assert findings[0].message == "valid and consistent: 1 from the environment, 3 from .env.local, 1 from .env"


def test_values_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the server's own message, and nothing is raised."""
    monkeypatch.setenv("WS_PORT", "abc")
    settings, findings = read_configuration()
    assert settings is None
    assert [(finding.check, finding.status) for finding in findings] == [("settings", FindingStatus.WRONG)] * 2
    assert "NEXTAUTH_SECRET is not set" in findings[0].message
    assert findings[1].message == 'WS_PORT: "abc" is not a port: a whole number from 0 to 65535'
    assert all(finding.advice for finding in findings)


def test_quotes_that_docker_leaves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finding does not contain the value."""
    monkeypatch.setenv("NEXTAUTH_SECRET", f'"{GOOD}"')
    settings, findings = read_configuration()
    assert settings is not None
    assert findings[0].status is FindingStatus.RISKY
    assert findings[0].message.startswith("NEXTAUTH_SECRET, from the environment, has quotes around its value")
    assert GOOD not in str(findings)


def test_a_file_that_is_not_text(folder: Path) -> None:
    (folder / ".env.local").write_bytes(b"NEXTAUTH_SECRET=\xff\xfe")
    settings, findings = read_configuration()
    assert settings is None
    assert [finding.message for finding in findings] == [
        ".env.local, or another file of variables, is not text in UTF-8"
    ]


def test_settings_that_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server would not start, but the other checks still run."""
    monkeypatch.setenv("NEXTAUTH_SECRET", GOOD)
    monkeypatch.setenv("PROJECT_ACCESS", "http")
    settings, _ = read_configuration()
    assert settings is not None
    (finding,) = found("settings")
    assert (finding.status, finding.message) == (
        FindingStatus.WRONG,
        "PROJECT_ACCESS is http, but APP_URL is not set: it is where to ask",
    )


@pytest.mark.parametrize(
    ("mode", "status"), [(0o600, FindingStatus.WELL), (0o640, FindingStatus.WELL), (0o644, FindingStatus.RISKY)]
)
def test_a_file_that_other_users_can_read_is_risky(
    monkeypatch: pytest.MonkeyPatch, folder: Path, mode: int, status: FindingStatus
) -> None:
    """Only the server's user and its group may read the file with the secret."""
    monkeypatch.setenv("NEXTAUTH_SECRET", GOOD)
    (folder / ".env.local").write_text("WS_PORT=4000\n")
    (folder / ".env.local").chmod(mode)
    (finding,) = found("settings-files")
    assert finding.status is status
    assert (finding.advice == "chmod 600 .env.local") is (status is FindingStatus.RISKY)


def test_names_that_look_like_mistakes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A variable that the server would ignore is reported with the similar setting. Others are not reported."""
    monkeypatch.setenv("NEXTAUTH_SECRET", GOOD)
    monkeypatch.setenv("LIMIT_CLIENT", "100")
    (folder / ".env.local").write_text("REDIS_URI=redis://:hunter2@localhost\nREDIS_TLS_URL=x\nNEXTAUTH_URL=y\n")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/certs")
    findings = found("settings-names")
    assert {finding.status for finding in findings} == {FindingStatus.RISKY}
    assert [finding.message for finding in findings] == [
        "LIMIT_CLIENT, from the environment, is no setting of this server's",
        "REDIS_URI, from .env.local, is no setting of this server's",
    ]
    assert [finding.advice.split(",")[0] for finding in findings] == ["Write LIMIT_CLIENTS", "Write REDIS_URL"]
    assert "hunter2" not in str(findings)
