"""The checks of TLS with real certificates of different ages and kinds."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.app.check.authority import Authority
from tests.app.check.conftest import MakeSettings

from synkora.app.check.finding import Finding, FindingStatus
from synkora.app.check.tls import check_tls


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def look(settings: MakeSettings) -> Any:
    def look(files: tuple[Path, Path]) -> list[Finding]:
        return list(check_tls(settings(SSL_CERTFILE=str(files[0]), SSL_KEYFILE=str(files[1]))))

    return look


def test_a_good_certificate(authority: Authority, look: Any) -> None:
    """The finding has the names and the remaining days."""
    (finding,) = look(authority.issue("app.example.com", "*.example.org"))
    assert finding.status is FindingStatus.WELL
    assert finding.message == "the certificate is for app.example.com, *.example.org, and good for 90 days"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"end": timedelta(hours=-1)}, FindingStatus.WRONG, "has expired on"),
        ({"end": timedelta(days=13, hours=1)}, FindingStatus.RISKY, "in 13 days"),
        ({"end": timedelta(days=15)}, FindingStatus.WELL, "14 days"),
        ({"begin": timedelta(hours=1)}, FindingStatus.WRONG, "is not valid before"),
        ({"chain": False}, FindingStatus.RISKY, "without the one that it was issued by"),
        ({"itself": True}, FindingStatus.RISKY, "signed by itself"),
    ],
)
def test_certificates(
    authority: Authority, look: Any, options: dict[str, Any], status: FindingStatus, words: str
) -> None:
    """A certificate that clients refuse is wrong. One that some refuse, or will refuse soon, is risky."""
    (finding,) = look(authority.issue("app.example.com", **options))
    assert finding.status is status
    assert words in finding.message
    assert bool(finding.advice) is (status is not FindingStatus.WELL)


def test_a_certificate_without_a_name(authority: Authority, look: Any) -> None:
    """Browsers read only the alternative names."""
    (finding,) = look(authority.issue())
    assert (finding.status, "names no host" in finding.message) == (FindingStatus.WRONG, True)


def test_a_key_that_others_may_read(authority: Authority, look: Any) -> None:
    certfile, keyfile = authority.issue("app.example.com")
    keyfile.chmod(0o644)
    (finding,) = look((certfile, keyfile))
    assert (finding.status, finding.advice) == (FindingStatus.RISKY, f"chmod 600 {keyfile}")


def test_files_that_do_not_fit(authority: Authority, look: Any, tmp_path: Path) -> None:
    """The findings have the server's own messages."""
    certfile, keyfile = authority.issue("app.example.com")
    former = tmp_path / "former.key"
    keyfile.rename(former)
    authority.issue("app.example.com")
    for files, words in (
        ((certfile, former), "is not the key of the certificate"),
        ((certfile, tmp_path / "nowhere"), "cannot be read"),
        ((former, former), "are not a certificate and its key"),
    ):
        (finding,) = look(files)
        assert finding.status is FindingStatus.WRONG
        assert words in finding.message
        assert finding.advice


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({}, FindingStatus.SKIPPED),
        ({"SYNKORA_ENV": "production"}, FindingStatus.RISKY),
        ({"SYNKORA_ENV": "production", "WS_HOST": "127.0.0.1"}, FindingStatus.SKIPPED),
        ({"SYNKORA_ENV": "production", "TRUSTED_PROXIES": "10.0.0.7"}, FindingStatus.SKIPPED),
        ({"SSL_CERTFILE": "/nowhere"}, FindingStatus.SKIPPED),
    ],
)
def test_no_certificate(settings: MakeSettings, variables: dict[str, str], status: FindingStatus) -> None:
    """In production, either the server or a proxy needs one."""
    (finding,) = check_tls(settings(**variables))
    assert finding.status is status
