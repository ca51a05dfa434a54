"""What can be wrong with a token."""

from typing import Final, Literal

Reason = Literal[
    "too long",
    "malformed",
    "algorithm not accepted",
    "header not accepted",
    "wrong key or tampered with",
    "claims malformed",
    "not valid yet",
    "expired",
]


class TokenInvalid(Exception):
    """A token that is not to be trusted; `reason` says why, in words that hold nothing of the token."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Final = reason
