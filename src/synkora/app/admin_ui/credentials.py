"""Credentials of the Admin UI: a password, and a session so that the UI does not ask for the password again."""

import hmac
import time
from collections.abc import Callable
from typing import Final

SESSION: Final = 86_400  # seconds
_LONGEST: Final = 100  # characters of a session id; `new_session` makes 75


class Credentials:
    """Checks what the Admin UI signs in with. `token` is the password.

    A session id is an expiry time, signed with the token. The server stores no sessions, each instance with the same
    token accepts the id, and a new token invalidates all ids.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._clock = clock

    def are_password(self, given: object) -> bool:
        return isinstance(given, str) and hmac.compare_digest(given.encode(), self._token)

    def new_session(self) -> str:
        """Return the id of a session that begins now."""
        end = f"{int(self._clock()) + SESSION}"
        return f"{end}.{self._sign(end)}"

    def are_session(self, given: object) -> bool:
        """Whether `given` is the id of a session that has not expired."""
        if not isinstance(given, str) or len(given) > _LONGEST:
            return False
        end, _, signature = given.partition(".")
        return hmac.compare_digest(signature.encode(), self._sign(end).encode()) and self._clock() < int(end)

    def _sign(self, end: str) -> str:
        return hmac.digest(self._token, f"session of the admin UI until {end}".encode(), "sha256").hex()
