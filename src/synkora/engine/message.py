"""One message for one or many clients. Each wire form (frames, compressed frames, poll) is made once for all.

The WebSocket frames are made immediately, since nearly all clients need them; other forms are made on demand.
"""

import weakref
from collections import deque
from typing import Final

from synkora.protocol import deflate, engineio, websocket

LARGEST_COMPRESSED: Final = 131_072  # bytes: more would take the event loop for too long, up to 55 ms for a megabyte
SMALL_FORM: Final = 1024  # bytes
_ENTRY: Final = 200  # bytes that are counted besides
MOST_CACHED: Final = 32_000_000  # bytes of large wire forms, of all messages


class _LargeForms:
    """The messages whose large wire forms are cached: beyond `MOST_CACHED` bytes, the oldest forms are dropped.

    The forms of messages that wait for slow consumers could take five times the bytes that are counted. The forms of
    messages that are gone count until they are the oldest.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._made: deque[tuple[weakref.ref[Message], int]] = deque()

    def add(self, message: "Message", size: int) -> None:
        self._made.append((weakref.ref(message), size))
        self._bytes += size + _ENTRY
        while self._bytes > MOST_CACHED:
            oldest, size = self._made.popleft()
            self._bytes -= size + _ENTRY
            found = oldest()
            if found is not None:
                found.drop_forms()


_large_forms: Final = _LargeForms()


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

    def drop_forms(self) -> None:
        """Drop the cached wire forms; they are made again on demand."""
        self._text = self._base64 = self._deflated = self._polling = self._blocks = None

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
        text = self._text
        if text is None:
            text = self._text = self.packet.decode()
            self._note(len(text))
        if base64:
            return [text, *(engineio.encode_base64(data).decode() for data in self.attachments)]
        return [text, *self.attachments]

    def base64_frames(self) -> bytes:
        """Return the WebSocket frames for a client that accepts only text."""
        if not self.attachments:
            return self.frames
        frames = self._base64
        if frames is None:
            packets = (self.packet, *map(engineio.encode_base64, self.attachments))
            frames = self._base64 = b"".join(map(websocket.text_frame, packets))
            self._note(len(frames))
        return frames

    def deflated_frames(self, threshold: int) -> bytes:
        """Return the WebSocket frames, compressed from `threshold` bytes up to `LARGEST_COMPRESSED`.

        The frames are cached: all calls have the server's threshold.
        """
        if not self.compress:
            return self.frames
        frames = self._deflated
        if frames is None:
            parts = [self._deflate(self.packet, threshold, binary=False)]
            parts += [self._deflate(data, threshold, binary=True) for data in self.attachments]
            frames = self._deflated = b"".join(parts)
            self._note(len(frames))
        return frames

    @staticmethod
    def _deflate(data: bytes, threshold: int, *, binary: bool) -> bytes:
        if threshold <= len(data) <= LARGEST_COMPRESSED:
            return websocket.compressed_frame(data, binary=binary)
        return websocket.binary_frame(data) if binary else websocket.text_frame(data)

    def polling_part(self) -> bytes:
        """Return the message as a part of a polling payload."""
        part = self._polling
        if part is None:
            part = self._polling = engineio.encode_polling(self.packet, self.attachments)
            self._note(len(part))
        return part

    def polling_blocks(self, threshold: int) -> bytes:
        """Return the DEFLATE blocks of the polling part, compressed from `threshold` bytes up to `LARGEST_COMPRESSED`.

        The blocks are cached: all calls have the server's threshold.
        """
        blocks = self._blocks
        if blocks is None:
            part = self.polling_part()
            is_compressed = self.compress and threshold <= len(part) <= LARGEST_COMPRESSED
            blocks = deflate.compressed_blocks(part) if is_compressed else deflate.stored_blocks(part)
            self._blocks = blocks
            self._note(len(blocks))
        return blocks

    def _note(self, size: int) -> None:
        """Count a wire form that is cached now. It may be dropped at once."""
        if size > SMALL_FORM:
            _large_forms.add(self, size)


class ControlPacket(Message):
    """A packet of Engine.IO itself: `data` begins with the packet's type."""

    __slots__ = ()

    _type = b""


CLOSE = ControlPacket(engineio.CLOSE)
PING = ControlPacket(engineio.PING)
NOOP = ControlPacket(engineio.NOOP)
PROBE_PONG = ControlPacket(engineio.PROBE_PONG)
