"""Loads the settings, or says which variables are wrong."""

import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from synkora.app.settings.settings import Settings
from synkora.app.settings.variables import allowed

_LONGEST_SHOWN = 100


class SettingsError(Exception):
    """Invalid settings; each of `lines` names a variable and its allowed values."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def load_settings(*, host: str | None = None, port: int | None = None, workers: str | None = None) -> Settings:
    """Read the settings; arguments override variables.

    Raises `SettingsError` with one line for each invalid variable and each contradiction.
    """
    settings = read_settings(host=host, port=port, workers=workers)
    if problems := settings.problems():
        raise SettingsError(problems)
    return settings


def read_settings(*, host: str | None = None, port: int | None = None, workers: str | None = None) -> Settings:
    """Like `load_settings`, but without the check for contradictions."""
    options = {"WS_HOST": host, "WS_PORT": port, "WS_WORKERS": workers}
    given: dict[str, Any] = {variable: value for variable, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(list(dict.fromkeys(map(_refusal_text, error.errors())))) from None
    except UnicodeDecodeError:
        raise SettingsError([".env.local, or another file of variables, is not text in UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{error.filename} cannot be read: {error.strerror}"]) from None


def _refusal_text(error: ErrorDetails) -> str:
    """Return the error in one line, without secrets."""
    variable = str(error["loc"][0])
    match variable:
        case "NEXTAUTH_SECRET":
            return f"{variable} is not set: put the secret of the web app into the environment or into .env.local"
        case "REDIS_URL" | "CONSOLE_TOKEN" | "API_TOKEN" | "WEBHOOK_URL" | "WEBHOOK_SECRET":  # secret values
            return f"{variable} {error['ctx']['words']}"
    value = error.get("ctx", {}).get("value", error["input"])
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "…"
    return f"{variable}: {shown} is not {allowed(variable)}"
