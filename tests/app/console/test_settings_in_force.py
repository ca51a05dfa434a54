"""The settings in force, as the console shows them."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from synkora.app.console.settings_in_force import SettingInForce, masked, settings_in_force
from synkora.app.settings import Settings
from synkora.app.settings.variables import describe

SECRET = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="


def shown(**given: Any) -> dict[str, SettingInForce]:
    settings = Settings(**{"NEXTAUTH_SECRET": SECRET, **given}, _env_file=None)
    return {setting.variable: setting for setting in settings_in_force(settings)}


def test_every_variable_is_listed() -> None:
    """In the documentation's order, with description. Unset variables have their default."""
    settings = shown()
    assert list(settings) == [variable.name for variable in describe()]
    for variable in describe():
        setting = settings[variable.name]
        assert setting.description == variable.description
        if variable.name != "NEXTAUTH_SECRET":
            assert (setting.value, setting.is_default) == (variable.default or None, True)


def test_set_values_are_shown_as_written() -> None:
    """Lists with commas, flags as words. A variable that is set to its default counts as set."""
    settings = shown(ALLOWED_ORIGINS="https://a.example, https://b.example", WS_COMPRESSION="true", WS_PORT="3001")
    assert settings["ALLOWED_ORIGINS"].value == "https://a.example,https://b.example"
    assert settings["WS_COMPRESSION"].value == "true"
    assert (settings["WS_PORT"].value, settings["WS_PORT"].is_default) == ("3001", False)


@pytest.mark.parametrize("variable", ["NEXTAUTH_SECRET", "NEXTAUTH_SECRET_PREVIOUS", "METRICS_TOKEN", "CONSOLE_TOKEN"])
def test_secrets_are_only_said_to_be_set(variable: str) -> None:
    setting = shown(**{variable: "a-secret-of-some-length"})[variable]
    assert (setting.value, setting.is_default) == ("set", False)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:hunter2@redis.test:6380/3", "redis://:***@redis.test:6380/3"),
        ("rediss://app:hunter2@redis.test?ssl_password=hunter2", "rediss://app:***@redis.test?…"),
        ("redis://redis.test", "redis://redis.test"),
        ("unix:///run/redis.sock?password=hunter2", "unix:///run/redis.sock?…"),
        ("postgresql://app:hunter2@db.test/app?schema=public", "postgresql://app:***@db.test/app?…"),
        ("prisma://accelerate.test/?api_key=hunter2", "prisma://accelerate.test/?…"),
        ("postgresql://app:hunter2/x@db.test/app", "set"),
        ("postgresql://app:12/hunter2@db.test/app", "set"),
        ("postgresql://app:12?hunter2@db.test/app", "set"),
        ("postgresql://app:12#hunter2@db.test/app", "set"),
        ("postgresql://app:hunter2@x@db.test/app", "postgresql://app:***@db.test/app"),
        ("hunter2", "set"),
        ("http://[hunter2", "set"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, words: str) -> None:
    """Address and user are shown. A URL with a password that cannot be parsed is hidden completely."""
    assert masked(url) == words


@given(st.text("abc123:/?#[]@%&=+ é", min_size=3).filter(lambda text: text.strip()))
def test_no_password_is_ever_shown(password: str) -> None:
    """Not even a part, also if the password is not escaped properly."""
    marked = f"SeCrEt{password}TeRcEs"
    for url in (f"postgresql://app:{marked}@db.test/app", f"redis://:{marked}@redis.test:6379/0"):
        words = masked(url)
        assert "SeCrEt" not in words
        assert "TeRcEs" not in words


def test_urls_among_the_settings() -> None:
    """Those of Redis, the database and the app."""
    settings = shown(
        REDIS_URL="redis://:hunter2@redis.test",
        DATABASE_URL="postgresql://a:hunter2@db.test/x",
        APP_URL="http://app.test",
    )
    assert settings["REDIS_URL"].value == "redis://:***@redis.test"
    assert settings["DATABASE_URL"].value == "postgresql://a:***@db.test/x"
    assert settings["APP_URL"].value == "http://app.test"
