"""The checks of the machine."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.check.conftest import MakeSettings

from synkora.app.check import host
from synkora.app.check.finding import FindingStatus
from synkora.app.check.host import check_backlog, check_files, check_memory, check_user


@pytest.fixture
def files() -> Iterator[int]:
    """This process's limit on open files, which is set low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    yield 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("clients", "status"),
    [
        ("900", FindingStatus.WELL),
        ("901", FindingStatus.RISKY),
        ("50000", FindingStatus.RISKY),
        ("0", FindingStatus.RISKY),
    ],
)
def test_files(settings: MakeSettings, files: int, clients: str, status: FindingStatus) -> None:
    """Each client needs one, and the server needs some."""
    (finding,) = check_files(settings(SYNKORA_ENV="production", LIMIT_CLIENTS=clients))
    assert finding.status is status
    assert str(files) in finding.message


def test_memory(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The backlogs of all clients together must fit into the memory of the machine or the container."""
    (finding,) = check_memory(settings(SYNKORA_ENV="production", LIMIT_CLIENTS="1", WS_MAX_OUTBOX="1000000"))
    assert finding.status is FindingStatus.WELL
    (finding,) = check_memory(settings(SYNKORA_ENV="production", LIMIT_CLIENTS="1000000", WS_MAX_OUTBOX="1000000000"))
    assert finding.status is FindingStatus.RISKY
    assert "1000000.0 GB" in finding.message
    (tmp_path / "memory.max").write_text("64000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(host, "_MEMORY_LIMITS", (tmp_path / "memory.max", tmp_path / "none", tmp_path / "nowhere"))
    (finding,) = check_memory(settings(SYNKORA_ENV="production", LIMIT_CLIENTS="17"))
    assert finding.status is FindingStatus.RISKY
    assert "LIMIT_CLIENTS to the clients that you expect: 16 " in finding.advice
    assert [finding.status for finding in check_memory(settings(SYNKORA_ENV="production", LIMIT_CLIENTS="16"))] == [
        FindingStatus.WELL
    ]
    assert [finding.status for finding in check_memory(settings(SYNKORA_ENV="production", LIMIT_CLIENTS="0"))] == [
        FindingStatus.RISKY
    ]


def test_a_desk_need_not_hold_them_all(settings: MakeSettings, files: int) -> None:
    """In development, the default limits are not expected to be reached."""
    for check in (check_files, check_memory):
        (finding,) = check(settings(LIMIT_CLIENTS="50000", WS_MAX_OUTBOX="1000000000"))
        assert finding.status is FindingStatus.SKIPPED
        assert "development" in finding.message


def test_connections_that_wait(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The accept queue must hold a burst of new connections."""
    assert [finding.status for finding in check_backlog(settings(LIMIT_CLIENTS="1"))] == [FindingStatus.WELL]
    (tmp_path / "somaxconn").write_text("128\n")
    monkeypatch.setattr(host, "_SOMAXCONN", tmp_path / "somaxconn")
    for clients, status in (("128", FindingStatus.WELL), ("129", FindingStatus.RISKY), ("0", FindingStatus.RISKY)):
        assert [finding.status for finding in check_backlog(settings(LIMIT_CLIENTS=clients))] == [status]
    monkeypatch.setattr(host, "_SOMAXCONN", tmp_path / "nowhere")
    assert [finding.status for finding in check_backlog(settings())] == [FindingStatus.SKIPPED]


def test_the_user(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    development, production = settings(), settings(SYNKORA_ENV="production")
    for user, expected in (
        (0, (FindingStatus.SKIPPED, FindingStatus.RISKY)),
        (1000, (FindingStatus.WELL, FindingStatus.WELL)),
    ):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert tuple(next(iter(check_user(each))).status for each in (development, production)) == expected
