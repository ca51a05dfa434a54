"""Engine.IO v4 packets, and the payloads that carry them over long-polling.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "Packet encoding".
"""

import base64
import binascii
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from synkora.protocol.deflate import gzip, stored_blocks
from synkora.protocol.errors import ProtocolError
from synkora.protocol.json import encode

PROTOCOL: Final = "4"
MAX_PACKETS: Final = 10_000  # in one payload; a client that was suspended for minutes sends hundreds


class PacketType(IntEnum):
    """The first byte of a text packet."""

    OPEN = ord("0")
    CLOSE = ord("1")
    PING = ord("2")
    PONG = ord("3")
    MESSAGE = ord("4")
    UPGRADE = ord("5")
    NOOP = ord("6")


CLOSE: Final = b"1"
PING: Final = b"2"
PONG: Final = b"3"
MESSAGE: Final = b"4"
UPGRADE: Final = b"5"
NOOP: Final = b"6"
PROBE_PING: Final = b"2probe"
PROBE_PONG: Final = b"3probe"

_SEPARATOR: Final = b"\x1e"
_EMPTY_PACKET: Final = 2 * _SEPARATOR
_STORED_SEPARATOR: Final = stored_blocks(_SEPARATOR)
_BINARY: Final = b"b"
_BINARY_TYPE: Final = ord(_BINARY)
_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")


def open_packet(sid: str, upgrades: list[str], ping_interval: float, ping_timeout: float, max_payload: int) -> bytes:
    """Return the handshake packet. Times are in seconds here, in milliseconds on the wire; `max_payload` in bytes."""
    return b"0" + encode(
        {
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": round(ping_interval * 1000),
            "pingTimeout": round(ping_timeout * 1000),
            "maxPayload": max_payload,
        }
    )


def encode_polling(packet: bytes, attachments: tuple[bytes, ...]) -> bytes:
    """Return one text packet and its attachments as a part of a polling payload."""
    return _SEPARATOR.join((packet, *map(encode_base64, attachments))) if attachments else packet


def encode_base64(data: bytes) -> bytes:
    """Return a binary packet as text: for polling, and for WebSocket clients that asked for base64."""
    return _BINARY + base64.b64encode(data)


def join_payload(parts: list[bytes]) -> bytes:
    """Return the payload of a response to a poll."""
    return _SEPARATOR.join(parts)


def gzip_payload(payload: bytes, blocks: list[bytes]) -> bytes:
    """Return `payload` as a gzip file; `blocks` has the DEFLATE blocks of each part."""
    separated = [block for part in blocks for block in (_STORED_SEPARATOR, part)]
    return gzip(payload, separated[1:])


def is_base64(packet: bytes) -> bool:
    """Whether a non-empty text packet is a binary packet in base64."""
    return packet[0] == _BINARY_TYPE


def count_packets(payload: bytes) -> int:
    """Return the number of packets of a POST."""
    return payload.count(_SEPARATOR) + 1


def split_payload(payload: bytes) -> Iterator[tuple[bool, bytes]]:
    """Return the packets of a POST as (is binary, data). Binary data is decoded, without the prefix `b`.

    Raises `ProtocolError` for more than `MAX_PACKETS` and for an empty packet. Each packet is decoded when it is taken,
    and bad base64 raises `ProtocolError` there.
    """
    if count_packets(payload) > MAX_PACKETS:
        raise ProtocolError("too many packets")
    if not payload or _EMPTY_PACKET in payload or payload.startswith(_SEPARATOR) or payload.endswith(_SEPARATOR):
        raise ProtocolError("empty packet")
    return _packets(payload)


def _packets(payload: bytes) -> Iterator[tuple[bool, bytes]]:
    start = 0
    while (end := payload.find(_SEPARATOR, start)) >= 0:
        yield _read_part(payload[start:end])
        start = end + 1
    yield _read_part(payload[start:])


def _read_part(part: bytes) -> tuple[bool, bytes]:
    return (True, decode_base64(part)) if is_base64(part) else (False, part)


def decode_base64(packet: bytes) -> bytes:
    """Return the data of a binary packet in base64. Accepts line breaks, missing padding and the URL alphabet.

    Node.js accepts all of these. Raises `ProtocolError`.
    """
    text = packet[1:]
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        text = text.translate(_STANDARD_ALPHABET, b" \t\r\n\f\v").rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ProtocolError("binary packet is not base64") from None
