"""Who may use the admin UI: its password, and the session that spares people typing it again."""

import hmac
import time
from collections.abc import Callable
from typing import Final

SESSION: Final = 86_400  # seconds
_LONGEST: Final = 100  # characters of a session's id that may be one: those made here have 75


class Credentials:
    """Judges what the admin UI signs in with, where `token` is the password.

    A session's id is the time of its end with a signature made by the token. So nothing is kept of it, every instance
    that has the same token takes it, and with the token it ends.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._clock = clock

    def are_password(self, given: object) -> bool:
        """Whether this is the password."""
        return isinstance(given, str) and hmac.compare_digest(given.encode(), self._token)

    def new_session(self) -> str:
        """The id of a session that begins now."""
        end = f"{int(self._clock()) + SESSION}"
        return f"{end}.{self._sign(end)}"

    def are_session(self, given: object) -> bool:
        """Whether this is the id of a session that goes on."""
        if not isinstance(given, str) or len(given) > _LONGEST:
            return False
        end, _, signature = given.partition(".")
        return hmac.compare_digest(signature.encode(), self._sign(end).encode()) and self._clock() < int(end)

    def _sign(self, end: str) -> str:
        return hmac.digest(self._token, f"session of the admin UI until {end}".encode(), "sha256").hex()
