"""Harnesses of synkora.protocol, and of the events' payloads."""

import json
import zlib
from typing import Any, Final, NoReturn

from synkora.collaboration.events import CATALOGUE, Codec, Sender
from synkora.protocol import engineio, socketio
from synkora.protocol.errors import InvalidPayload, PayloadTooLarge, ProtocolError
from synkora.protocol.json import encode, is_utf8
from synkora.protocol.socketio import Assembler, Packet, PacketType
from synkora.protocol.websocket import accepts_compression, decompress
from synkora.sockets.errors import EventRefused

MAX_ATTACHMENTS: Final = 10
_LARGEST_MESSAGE: Final = 10_000  # bytes
_CODECS: Final = tuple(map(Codec, CATALOGUE))
_SENDER: Final = Sender(socketId="socket", userId="user", userName="Näme")


def read_as_clients_do(text: bytes) -> Any:
    """The value of JSON from the server. Fails if `JSON.parse` would refuse it."""
    try:
        return json.loads(text.decode(), parse_constant=_no_constant)
    except RecursionError:
        return None  # nested more deeply than this reader follows, which is not the one that clients have


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def polling_payload(data: bytes) -> None:
    """A payload is split into packets that make the same payload again."""
    try:
        packets = list(engineio.split_payload(data))
    except ProtocolError:
        return
    parts = [
        engineio.encode_polling(b"", (packet,)).removeprefix(b"\x1e") if is_binary else packet
        for is_binary, packet in packets
    ]
    again = list(engineio.split_payload(engineio.join_payload(parts)))
    assert again == packets, "not the same packets again"


def socketio_packet(data: bytes) -> None:
    """A packet's parts are decoded, or refused with one of two errors."""
    try:
        packet = socketio.decode(data, MAX_ATTACHMENTS)
    except ProtocolError:
        return
    assert packet.expected <= MAX_ATTACHMENTS
    _read(packet)


def _read(packet: Packet) -> None:
    try:
        match packet.type:
            case PacketType.CONNECT:
                encode(socketio.decode_auth(packet.data))
            case PacketType.EVENT | PacketType.BINARY_EVENT:
                read_as_clients_do(encode(socketio.event_name(packet.data)))
                arguments = socketio.decode_arguments(packet.data, packet.attachments)
                values, _ = socketio.take_attachments(arguments)
                encode(values)
            case PacketType.ACK | PacketType.BINARY_ACK:
                encode(socketio.decode_arguments(packet.data))
            case _:
                pass
    except (ProtocolError, InvalidPayload):
        pass


def socketio_assembler(data: bytes) -> None:
    """Texts and binaries in any order become complete packets, or an error that ends the connection."""
    assembler = Assembler(MAX_ATTACHMENTS)
    try:
        for part in data.split(b"\x1e"):
            whole = assembler.add_binary(part[1:]) if part.startswith(b"b") else assembler.add_text(part)
            if whole is not None:
                assert len(whole.attachments) == whole.expected
                _read(whole)
    except ProtocolError:
        pass


def event_payload(data: bytes) -> None:
    """The delivery of an event's payload is JSON. The first byte chooses the event."""
    if not data or not is_utf8(data[1:]):
        return  # such a message ends its connection before anybody looks into it
    event, codec = CATALOGUE[data[0] % len(CATALOGUE)], _CODECS[data[0] % len(CATALOGUE)]
    try:
        payload = codec.decode(data[1:])
    except (ProtocolError, EventRefused):
        return
    delivered = read_as_clients_do(encode([event.name, codec.deliver(payload, _SENDER)]))
    assert delivered is None or delivered[0] == event.name
    if delivered is not None and event.sender:
        assert delivered[1]["socketId"] == _SENDER.socketId, "a sender passed for another"


def websocket_deflate(data: bytes) -> None:
    """For any DEFLATE data, a message is within the limit. An even first byte compresses the data first."""
    mode, data = data[:1], data[1:]
    if mode and mode[0] % 2 == 0:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflate.compress(data * (mode[0] + 1)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    try:
        message = decompress(data, _LARGEST_MESSAGE)
    except (ProtocolError, PayloadTooLarge):
        return
    assert len(message) <= _LARGEST_MESSAGE


def websocket_extensions(data: bytes) -> None:
    """An offer is accepted only if it names permessage-deflate and does not limit the server's window."""
    offers = data.decode("latin-1")
    if accepts_compression(offers):
        assert "permessage-deflate" in offers.lower()
        assert any("server_max_window_bits" not in offer.lower() for offer in offers.split(","))
