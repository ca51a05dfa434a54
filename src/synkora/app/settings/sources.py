"""Where settings come from: the environment, and files in the working folder."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from synkora.app.dotenv import file_names, load, parse

#: The names of the secret, NextAuth v4's first, and Auth.js v5's names for former secrets.
SECRET_NAMES: Final = ("NEXTAUTH_SECRET", "AUTH_SECRET")
FORMER_SECRETS: Final = ("AUTH_SECRET_1", "AUTH_SECRET_2", "AUTH_SECRET_3")

_MODE: Final = "SYNKORA_ENV"
_PRODUCTION: Final = "production"
_DEVELOPMENT: Final = "development"


def files() -> list[Path]:
    """Return the files that may hold settings, by precedence.

    As in the app, some are only for development or production. SYNKORA_ENV, or else NODE_ENV, sets the mode.
    Raises `UnicodeDecodeError` and `OSError`.
    """
    shared = load(map(Path, (".env.local", ".env")), _given())
    mode = unquoted(shared.get(_MODE) or os.environ.get("NODE_ENV") or "")
    return [Path(name) for name in file_names(_PRODUCTION if mode.strip().lower() == _PRODUCTION else _DEVELOPMENT)]


def variables() -> dict[str, str]:
    """Return all variables that are not empty, as the app would read them, with values of the environment unquoted.

    A variable that is empty in a file is taken from the next file. Raises `UnicodeDecodeError` and `OSError`.
    """
    given = _given()
    found: dict[str, str] = {}
    paths = files()
    for first in range(len(paths)):
        found = {name: value for name, value in load(paths[first:], given).items() if value} | found
    return {name: unquoted(value) if name in given else value for name, value in found.items()}


def names() -> dict[str, set[str]]:
    """Return the names of each source's variables, by precedence."""
    found = {"the environment": set(os.environ)}
    for file in files():
        if file.is_file():
            found[str(file)] = set(parse(file.read_text(encoding="utf-8")))
    return found


def quoted_names() -> list[str]:
    """Return the variables of the environment with quoted values, as `docker --env-file` leaves them."""
    return [name for name, value in _given().items() if unquoted(value) != value]


def secrets_besides(found: Mapping[str, str]) -> Iterator[str]:
    """Yield other secrets that the app may use: under the secret's other names, and with quotes."""
    given = _given()
    taken = next((name for name in SECRET_NAMES if found.get(name)), "")
    for name in (*SECRET_NAMES, *FORMER_SECRETS):
        written = (found.get(name, ""), given.get(name, ""))
        yield from (secret for secret in dict.fromkeys(written) if secret.strip() and secret != found.get(taken))


def unquoted(value: str) -> str:
    """Return a value without surrounding quotes."""
    return value[1:-1] if len(value) > 2 and value[0] == value[-1] and value[0] in "\"'" else value


def _given() -> dict[str, str]:
    """Return the environment. An empty variable counts as unset, since Compose sets unset variables to empty."""
    return {name: value for name, value in os.environ.items() if value}
