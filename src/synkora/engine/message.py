"""One message for one or many clients. Each wire form (frames, compressed frames, poll) is made once and cached.

The WebSocket frames are made immediately, since nearly all clients need them; other forms are made on demand.
"""

from typing import Final

from synkora.protocol import deflate, engineio, websocket

LARGEST_COMPRESSED: Final = 131_072  # bytes: more would take the event loop for too long, up to 55 ms for a megabyte


class Message:
    """A text message, with the binary messages that follow it.

    The text is `head` and `data`: `data` is an event's JSON array, and `head` the header that Socket.IO puts before it.
    What is never passed on to other servers may be whole in `data`. A `volatile` message may be dropped for a slow
    consumer. Without `compress`, the message is sent uncompressed whatever its size, for example an image.
    """

    __slots__ = (
        "__weakref__",
        "_base64",
        "_blocks",
        "_deflated",
        "_polling",
        "_text",
        "attachments",
        "compress",
        "data",
        "frames",
        "head",
        "volatile",
    )

    _type = engineio.MESSAGE

    def __init__(
        self,
        data: bytes,
        attachments: tuple[bytes, ...] = (),
        head: bytes = b"",  # not keyword-only: a call with keywords costs a third more
        volatile: bool = False,
        compress: bool = True,
    ) -> None:
        self.data = data
        self.head = head
        self.attachments = attachments
        self.volatile = volatile
        self.compress = compress
        self.frames = websocket.text_frame(self._type + head + data)
        if attachments:
            self.frames += b"".join(map(websocket.binary_frame, attachments))
        self._text: str | None = None
        self._base64: bytes | None = None
        self._deflated: bytes | None = None
        self._polling: bytes | None = None
        self._blocks: bytes | None = None

    @property
    def packet(self) -> bytes:
        """The Engine.IO text packet."""
        return self._type + self.head + self.data

    @property
    def size(self) -> int:
        """Bytes as WebSocket frames, an estimate for all transports."""
        return len(self.frames)

    def messages(self, *, base64: bool = False) -> list[str | bytes]:
        """Return the WebSocket messages, for a server that makes the frames; with `base64` all messages are text."""
        if self._text is None:
            self._text = self.packet.decode()
        if base64:
            return [self._text, *(engineio.encode_base64(data).decode() for data in self.attachments)]
        return [self._text, *self.attachments]

    def base64_frames(self) -> bytes:
        """Return the WebSocket frames for a client that accepts only text."""
        if not self.attachments:
            return self.frames
        if self._base64 is None:
            packets = (self.packet, *map(engineio.encode_base64, self.attachments))
            self._base64 = b"".join(map(websocket.text_frame, packets))
        return self._base64

    def deflated_frames(self, threshold: int) -> bytes:
        """Return the WebSocket frames, compressed from `threshold` bytes up to `LARGEST_COMPRESSED`.

        The frames are cached: all calls have the server's threshold.
        """
        if not self.compress:
            return self.frames
        if self._deflated is None:
            parts = [self._deflate(self.packet, threshold, binary=False)]
            parts += [self._deflate(data, threshold, binary=True) for data in self.attachments]
            self._deflated = b"".join(parts)
        return self._deflated

    @staticmethod
    def _deflate(data: bytes, threshold: int, *, binary: bool) -> bytes:
        if threshold <= len(data) <= LARGEST_COMPRESSED:
            return websocket.compressed_frame(data, binary=binary)
        return websocket.binary_frame(data) if binary else websocket.text_frame(data)

    def polling_part(self) -> bytes:
        """Return the message as a part of a polling payload."""
        if self._polling is None:
            self._polling = engineio.encode_polling(self.packet, self.attachments)
        return self._polling

    def polling_blocks(self, threshold: int) -> bytes:
        """Return the DEFLATE blocks of the polling part, compressed from `threshold` bytes up to `LARGEST_COMPRESSED`.

        The blocks are cached: all calls have the server's threshold.
        """
        if self._blocks is None:
            part = self.polling_part()
            is_compressed = self.compress and threshold <= len(part) <= LARGEST_COMPRESSED
            self._blocks = deflate.compressed_blocks(part) if is_compressed else deflate.stored_blocks(part)
        return self._blocks


class ControlPacket(Message):
    """A packet of Engine.IO itself: `data` begins with the packet's type."""

    __slots__ = ()

    _type = b""


CLOSE = ControlPacket(engineio.CLOSE)
PING = ControlPacket(engineio.PING)
NOOP = ControlPacket(engineio.NOOP)
PROBE_PONG = ControlPacket(engineio.PROBE_PONG)
