"""WebSocket messages that come in several frames (RFC 6455 section 5.4), or compressed."""

from typing import Final

from synkora.protocol.errors import PayloadTooLarge
from synkora.protocol.websocket import decompress

SMALL: Final = 64  # bytes: a smaller fragment that is not the last counts as a packet without use


class Fragments:
    """One message whose frames are still coming; it may have up to `limit` bytes, compressed and inflated."""

    __slots__ = ("_data", "_deflated", "_limit", "is_binary")

    def __init__(self, is_binary: bool, deflated: bool, limit: int) -> None:
        self.is_binary = is_binary
        self._deflated = deflated
        self._limit = limit
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Append a frame's payload. Raises `PayloadTooLarge`."""
        self._data += data
        if len(self._data) > self._limit:
            raise PayloadTooLarge(f"message is larger than {self._limit} bytes")

    def message(self) -> bytes:
        """The whole message. Raises `ProtocolError`."""
        data = bytes(self._data)
        return decompress(data, self._limit) if self._deflated else data
