"""One message to one or many clients, each of its wire forms made once and kept.

The WebSocket frames are made at once, since nearly every client needs them, the others when first asked for.
"""

from synkora.protocol import compression, engineio, websocket


class Outgoing:
    """An Engine.IO text packet, with the binary ones that follow it.

    `volatile` marks what may be dropped for a client that does not keep up.
    """

    __slots__ = ("_base64", "_blocks", "_deflated", "_polling", "attachments", "frames", "packet", "volatile")

    def __init__(self, packet: bytes, attachments: tuple[bytes, ...] = (), *, volatile: bool = False) -> None:
        self.packet = packet
        self.attachments = attachments
        self.volatile = volatile
        self.frames = websocket.text_frame(packet)
        if attachments:
            self.frames += b"".join(map(websocket.binary_frame, attachments))
        self._base64: bytes | None = None
        self._deflated: bytes | None = None
        self._polling: bytes | None = None
        self._blocks: bytes | None = None

    @property
    def size(self) -> int:
        """Its bytes on a WebSocket, about those on any transport."""
        return len(self.frames)

    def messages(self, *, base64: bool = False) -> list[str | bytes]:
        """Its WebSocket messages, for a server that makes the frames itself; with `base64` all of them are text."""
        if base64:
            return [self.packet.decode(), *(engineio.encode_base64(data).decode() for data in self.attachments)]
        return [self.packet.decode(), *self.attachments]

    def base64_frames(self) -> bytes:
        """Its WebSocket frames for a client that takes nothing but text."""
        if not self.attachments:
            return self.frames
        if self._base64 is None:
            packets = (self.packet, *map(engineio.encode_base64, self.attachments))
            self._base64 = b"".join(map(websocket.text_frame, packets))
        return self._base64

    def deflated_frames(self, threshold: int) -> bytes:
        """Its WebSocket frames, those of `threshold` bytes and more compressed; the threshold is the server's one."""
        if self._deflated is None:
            parts = [self._deflate(self.packet, threshold, binary=False)]
            parts += [self._deflate(data, threshold, binary=True) for data in self.attachments]
            self._deflated = b"".join(parts)
        return self._deflated

    @staticmethod
    def _deflate(data: bytes, threshold: int, *, binary: bool) -> bytes:
        if len(data) >= threshold:
            return websocket.compressed_frame(data, binary=binary)
        return websocket.binary_frame(data) if binary else websocket.text_frame(data)

    def polling_part(self) -> bytes:
        """Its part of a polling payload."""
        if self._polling is None:
            self._polling = engineio.encode_polling(self.packet, self.attachments)
        return self._polling

    def polling_blocks(self, threshold: int) -> bytes:
        """Its part of a gzipped polling payload: compressed from `threshold` bytes up, which is the server's one."""
        if self._blocks is None:
            part = self.polling_part()
            encode = compression.compressed_blocks if len(part) >= threshold else compression.stored_blocks
            self._blocks = encode(part)
        return self._blocks


CLOSE = Outgoing(engineio.CLOSE)
PING = Outgoing(engineio.PING)
NOOP = Outgoing(engineio.NOOP)
PROBE_PONG = Outgoing(engineio.PROBE_PONG)
