"""Signatures of Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
_SHORTEST: Final = 24  # bytes of a key
_LONGEST: Final = 64


def parse_secret(secret: str) -> bytes:
    """Return the key in a secret. Raises `ValueError`, without the secret."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except binascii.Error:
        key = b""
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"not {PREFIX} and {_SHORTEST} to {_LONGEST} bytes in base64")
    return key


class Signer:
    """Signs messages with each of the secrets, so that a receiver may know any of them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = [parse_secret(secret) for secret in secrets]

    def headers(self, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the headers of a message; `timestamp` is in seconds since 1970."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        macs = (hmac.digest(key, signed, hashlib.sha256) for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join("v1," + b64encode(mac).decode() for mac in macs),
        }
