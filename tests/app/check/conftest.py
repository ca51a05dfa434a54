"""Settings for the checks, in an empty folder and an empty environment."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.access.fixtures import app, app_process, database, postgres

from synkora.app.settings import Settings
from synkora.app.settings.variables import describe

__all__ = ["app", "app_process", "database", "postgres"]

GOOD = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="
#: Leads to this machine, by an address that does not say so.
ELSEWHERE = "0.0.0.0"  # noqa: S104  # nothing listens there

MakeSettings = Callable[..., Settings]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder. It and the environment are empty."""
    monkeypatch.chdir(tmp_path)
    for variable in describe():
        monkeypatch.delenv(variable.name, raising=False)
    return tmp_path


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> MakeSettings:
    """Makes settings from variables, with a strong secret by default."""

    def make(**variables: str) -> Settings:
        with monkeypatch.context() as environment:
            for name, value in {"NEXTAUTH_SECRET": GOOD, **variables}.items():
                environment.setenv(name, value)
            return Settings()  # as the mypy plugin, which knows no environment, puts up with

    return make
