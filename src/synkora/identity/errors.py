"""Reasons to reject a token."""

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
    """A token was rejected; `reason` contains no part of the token."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Final = reason
