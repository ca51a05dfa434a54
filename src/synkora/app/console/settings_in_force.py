"""The settings in force, without secrets."""

from typing import Final
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from synkora.app.settings import Settings
from synkora.app.settings.variables import written

_SET: Final = "set"
_URLS: Final = ("APP_URL", "DATABASE_URL", "REDIS_URL")  # only parts of these are secret


class SettingInForce(msgspec.Struct, rename="camel"):
    """A variable; `value` is None for an unset variable without a default."""

    variable: str
    value: str | None
    is_default: bool
    description: str


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    """Return each variable with its value; for a secret, only whether it is set."""
    return [
        SettingInForce(
            variable=str(field.validation_alias),
            value=_shown(str(field.validation_alias), getattr(settings, name)) or None,
            is_default=name not in settings.model_fields_set,
            description=field.description,
        )
        for name, field in Settings.model_fields.items()
        if field.description is not None
    ]


def _shown(variable: str, value: object) -> str:
    is_secret = isinstance(value, SecretStr)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if variable in _URLS and isinstance(value, str):
        return masked(value)
    if is_secret or (isinstance(value, tuple) and any(isinstance(item, SecretStr) for item in value)):
        return _SET
    return written(value)


def masked(url: str) -> str:
    """Return a URL without its password and its options, which may hold a password too.

    For a URL that cannot be parsed with certainty, the result says only that it is set.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return _SET
    if "@" in parts.path + parts.query + parts.fragment or parts.fragment or not parts.scheme:
        return _SET  # a password with an unescaped character was cut
    credentials, at, address = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    options = "?…" if parts.query else ""
    return f"{parts.scheme}://{user}{':***' if colon else ''}{at}{address}{parts.path}{options}"
