"""Frames from the server, built once and sent to many clients; clients' close codes; permessage-deflate.

Sources: RFC 6455 section 5.2 (framing), RFC 7692 section 7 (permessage-deflate).
"""

import re
import zlib
from enum import IntEnum
from struct import Struct
from typing import Final

from synkora.protocol.deflate import compressed_blocks
from synkora.protocol.errors import InvalidUtf8, PayloadTooLarge, ProtocolError
from synkora.protocol.headers import LONGEST_LIST
from synkora.protocol.json import is_utf8


class CloseCode(IntEnum):
    """Why the server closes a WebSocket (RFC 6455 section 7.4.1, and the IANA registry)."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    SERVICE_RESTART = 1012


_TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PONG: Final = 0x8A
_COMPRESSED: Final = 0x40
_LONGEST_REASON: Final = 123  # bytes; a control frame has at most 125, two for the code
_DEFINED_CODES: Final = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
_FREE_CODES: Final = range(3000, 5000)  # for libraries and applications
_MEDIUM: Final = 126  # payloads of this size or more have a longer length field
_LONG: Final = 65_536
_medium_head: Final = Struct("!BBH").pack
_long_head: Final = Struct("!BBQ").pack
_SHORT_TEXT: Final = tuple(bytes((_TEXT, size)) for size in range(_MEDIUM))
_TAIL: Final = b"\x00\x00\xff\xff"
_PARAMETER: Final = re.compile(
    r'(server|client)_no_context_takeover|client_max_window_bits(\s*=\s*("?)([89]|1[0-5])\3)?'
)
EXTENSION: Final = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def text_frame(payload: bytes) -> bytes:
    """Return a whole, unmasked text message; `payload` is UTF-8."""
    size = len(payload)
    if size < _MEDIUM:
        return _SHORT_TEXT[size] + payload
    return (_medium_head(_TEXT, 126, size) if size < _LONG else _long_head(_TEXT, 127, size)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return a whole, unmasked binary message."""
    return _frame(_BINARY, payload)


def compressed_frame(payload: bytes, *, binary: bool = False) -> bytes:
    """Return a whole message, compressed without context: all recipients get the same bytes."""
    data = compressed_blocks(payload).removesuffix(_TAIL)
    return _frame((_BINARY if binary else _TEXT) | _COMPRESSED, data)


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping with this payload, of 125 bytes at most."""
    return _frame(_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason that is too long is cut."""
    words = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
    return _frame(_CLOSE, code.to_bytes(2, "big") + words.encode())


def is_close_frame(frame: bytes) -> bool:
    """Whether a frame of the server is a close frame."""
    return frame[0] == _CLOSE


def read_close(payload: bytes) -> int:
    """Return the code in a client's close frame, or 1000 (RFC 6455 section 7.4). Raises `ProtocolError`."""
    if not payload:
        return CloseCode.NORMAL
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code not in _DEFINED_CODES and code not in _FREE_CODES):
        raise ProtocolError("close code that may not be sent")
    if not is_utf8(payload[2:]):
        raise InvalidUtf8("reason of a close is not UTF-8")
    return code


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < _MEDIUM:
        return bytes((first, size)) + payload
    return (_medium_head(first, 126, size) if size < _LONG else _long_head(first, 127, size)) + payload


def decompress(data: bytes, limit: int) -> bytes:
    """Return the message that a client compressed without context.

    Raises `PayloadTooLarge` above `limit` bytes, `ProtocolError` if the message is not DEFLATE data.
    """
    inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        message = inflate.decompress(data + _TAIL, limit + 1)
    except zlib.error:
        raise ProtocolError("message is not DEFLATE data") from None
    if len(message) > limit:
        raise PayloadTooLarge(f"message is larger than {limit} bytes")
    return message


def accepts_compression(offers: str) -> bool:
    """Whether `EXTENSION` is a valid answer to an offer in `Sec-WebSocket-Extensions` (RFC 7692 section 7.1).

    An offer that limits the server's window is skipped, since all recipients get the same bytes. A very long list is
    not read.
    """
    return len(offers) <= LONGEST_LIST and any(_is_acceptable(offer) for offer in offers.split(","))


def _is_acceptable(offer: str) -> bool:
    name, *parameters = (part.strip().lower() for part in offer.split(";"))
    names = {parameter.partition("=")[0].strip() for parameter in parameters}
    return name == "permessage-deflate" and len(names) == len(parameters) and all(map(_PARAMETER.fullmatch, parameters))
