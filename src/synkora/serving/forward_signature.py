"""The signature of a request that one instance forwards to another.

The header says which client the request is from. It holds the time in seconds, a nonce, the scheme of the client's
connection, the client's address, and an HMAC (RFC 2104) with SHA-256 over these, the method and the target.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from synkora.engine.transports.websocket_heads import Peer

HEADER: Final = b"x-synkora-forwarded"
VALID_FOR: Final = 30  # seconds, before and after the owner's clock
_NONCE_SIZE: Final = 12  # bytes
_NO_ADDRESS: Final = "-"  # of a client at a Unix socket
#: Nonces are kept until their requests have expired. Only signed requests for sessions fill this memory: 16,000 a
#: second, which is more than one process answers.
MAX_NONCES: Final = 500_000


class BadSignature(Exception):
    """A request's signature is not valid. The message says why."""


def sign(key: bytes, method: bytes, target: bytes, peer: Peer) -> bytes:
    """Return the header's value for a request of `peer`. No two values are the same."""
    scheme = "https" if peer.over_tls else "http"
    said = f"{time.time():.3f} {secrets.token_hex(_NONCE_SIZE)} {scheme} {peer.address or _NO_ADDRESS}".encode()
    return said + b" " + _mac(key, method, target, said)


def _mac(key: bytes, method: bytes, target: bytes, said: bytes) -> bytes:
    return hmac.digest(key, b"\n".join((method, target, said)), "sha256").hex().encode()


class Signed(NamedTuple):
    """What the valid signature of a request says."""

    peer: Peer
    nonce: bytes
    at: float  # by the clock of the instance that has signed


def verify(key: bytes, value: bytes, method: bytes, target: bytes, now: float) -> Signed:
    """Check a signature, which may have been used before. Raises `BadSignature`."""
    said, _, mac = value.rpartition(b" ")
    if not hmac.compare_digest(mac, _mac(key, method, target, said)):
        raise BadSignature("forged")
    at, nonce, scheme, address = said.split(b" ")
    if abs(float(at) - now) > VALID_FOR:
        raise BadSignature(f"expired: its time differs by {float(at) - now:.0f} s from this machine's")
    peer = Peer("" if address == _NO_ADDRESS.encode() else address.decode(), scheme == b"https")
    return Signed(peer, nonce, float(at))


class Verifier:
    """Checks the signatures of requests to one instance. A request is valid once, for `VALID_FOR` seconds."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._nonces: dict[int, set[bytes]] = {}  # by the second of their signatures

    def __len__(self) -> int:
        return sum(map(len, self._nonces.values()))

    def check(self, value: bytes, method: bytes, target: bytes, *, is_once: bool = True) -> Peer:
        """Return the client that a signed request is from. Raises `BadSignature`.

        Without `is_once`, the request may be repeated, and its nonce is not remembered.
        """
        now = self._clock()
        signed = verify(self._key, value, method, target, now)
        if is_once:
            self._remember(signed, now)
        return signed.peer

    def _remember(self, signed: Signed, now: float) -> None:
        """Raises `BadSignature` for a nonce that has been used."""
        second = int(signed.at)
        if second not in self._nonces:
            self._nonces = {each: self._nonces[each] for each in self._nonces if each + 1 + VALID_FOR > now}
            self._nonces[second] = set()
        if signed.nonce in self._nonces[second]:
            raise BadSignature("replayed")
        if len(self) >= MAX_NONCES:
            raise BadSignature("too many at a time")
        self._nonces[second].add(signed.nonce)
