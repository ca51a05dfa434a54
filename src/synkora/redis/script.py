"""A Lua script that Redis runs."""

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Script:
    """The text of a script, and the name under which Redis remembers it."""

    text: str

    @cached_property
    def sha(self) -> str:
        """The SHA-1 of the text in hexadecimal digits: https://redis.io/docs/latest/commands/evalsha/."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
