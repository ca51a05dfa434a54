"""Where settings come from: the environment, and files in the working folder."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from synkora.app.dotenv import file_names, load, parse

#: The secret's names, that of NextAuth v4 first, and those that Auth.js v5 has for former ones.
SECRET_NAMES: Final = ("NEXTAUTH_SECRET", "AUTH_SECRET")
FORMER_SECRETS: Final = ("AUTH_SECRET_1", "AUTH_SECRET_2", "AUTH_SECRET_3")

_MODE: Final = "SYNKORA_ENV"
_PRODUCTION: Final = "production"
_DEVELOPMENT: Final = "development"


def files() -> list[Path]:
    """The files that may hold settings, the one that wins first.

    As for the app, some are for development or production alone. The mode is that of SYNKORA_ENV, or else of NODE_ENV.
    Raises `UnicodeDecodeError` and `OSError`.
    """
    shared = load(map(Path, (".env.local", ".env")), _given())
    mode = unquoted(shared.get(_MODE) or os.environ.get("NODE_ENV") or "")
    return [Path(name) for name in file_names(_PRODUCTION if mode.strip().lower() == _PRODUCTION else _DEVELOPMENT)]


def variables() -> dict[str, str]:
    """All variables that are not empty, as the app would read them, without quotes around those of the environment.

    One that is empty in a file is looked for in the next. Raises `UnicodeDecodeError` and `OSError`.
    """
    given = _given()
    found: dict[str, str] = {}
    paths = files()
    for first in range(len(paths)):
        found = {name: value for name, value in load(paths[first:], given).items() if value} | found
    return {name: unquoted(value) if name in given else value for name, value in found.items()}


def names() -> dict[str, set[str]]:
    """The names of the variables of each source, the one that wins first."""
    found = {"the environment": set(os.environ)}
    for file in files():
        if file.is_file():
            found[str(file)] = set(parse(file.read_text(encoding="utf-8")))
    return found


def quoted_names() -> list[str]:
    """The variables of the environment with quotes around their values, as `docker --env-file` leaves them."""
    return [name for name, value in _given().items() if unquoted(value) != value]


def secrets_besides(found: Mapping[str, str]) -> Iterator[str]:
    """What else the app may make its tokens with: the other names of its secret, and a secret with its quotes."""
    given = _given()
    taken = next((name for name in SECRET_NAMES if found.get(name)), "")
    for name in (*SECRET_NAMES, *FORMER_SECRETS):
        written = (found.get(name, ""), given.get(name, ""))
        yield from (secret for secret in dict.fromkeys(written) if secret.strip() and secret != found.get(taken))


def unquoted(value: str) -> str:
    """A value without a pair of quotes around it."""
    return value[1:-1] if len(value) > 2 and value[0] == value[-1] and value[0] in "\"'" else value


def _given() -> dict[str, str]:
    """The environment: an empty variable counts as one that is not set, as Compose makes them."""
    return {name: value for name, value in os.environ.items() if value}
