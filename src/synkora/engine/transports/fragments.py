"""Fragmented (RFC 6455 section 5.4) and compressed WebSocket messages."""

from typing import Final

from synkora.protocol.errors import PayloadTooLarge
from synkora.protocol.websocket import decompress

SMALL: Final = 64  # bytes; a smaller fragment, unless it is the last, counts as overhead


class Fragments:
    """An incomplete message; it may have `limit` bytes, both compressed and decompressed."""

    __slots__ = ("_data", "_deflated", "_limit", "is_binary")

    def __init__(self, is_binary: bool, deflated: bool, limit: int) -> None:
        self.is_binary = is_binary
        self._deflated = deflated
        self._limit = limit
        self._data = bytearray()

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Append a frame's payload. Raises `PayloadTooLarge`."""
        self._data += data
        if len(self._data) > self._limit:
            raise PayloadTooLarge(f"message is larger than {self._limit} bytes")

    def message(self) -> bytes:
        """Return the whole message. Raises `ProtocolError`."""
        data = bytes(self._data)
        return decompress(data, self._limit) if self._deflated else data
