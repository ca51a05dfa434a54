"""Random names of instances."""

import secrets
import string
from typing import Final

_UID_LETTERS: Final = string.ascii_letters + string.digits
_UID_SIZE: Final = 6


def new_uid() -> str:
    """Return a random name for an instance."""
    return "".join(secrets.choice(_UID_LETTERS) for _ in range(_UID_SIZE))
