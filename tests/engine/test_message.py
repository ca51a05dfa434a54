import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from tests.support.wire import parse_frames
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from synkora.engine import message as message_module
from synkora.engine.message import LARGEST_COMPRESSED, Message
from synkora.protocol import websocket

SMALL, LARGE = b"4small", b"4" + b"large " * 1000


def deflate() -> PerMessageDeflate:
    return PerMessageDeflate(True, True, 15, 15)


def test_its_frames_are_the_packet_and_its_attachments() -> None:
    message = Message(b"51-[]", (b"\x01", b"\x02"))
    assert parse_frames(message.frames) == [
        Frame(Opcode.TEXT, b"451-[]"),
        Frame(Opcode.BINARY, b"\x01"),
        Frame(Opcode.BINARY, b"\x02"),
    ]
    assert message.size == len(message.frames)


def test_its_polling_part_has_the_attachments_as_base64() -> None:
    """In a polling payload the attachments follow the packet."""
    assert Message(b"51-[]", (b"\x01\x02\x03\x04",)).polling_part() == b"451-[]\x1ebAQIDBA=="


def test_its_base64_frames_are_texts() -> None:
    """A client without binary packets gets the attachments as text, made once for all such clients."""
    message = Message(b"51-[]", (b"\x01\x02\x03\x04",))
    assert parse_frames(message.base64_frames()) == [Frame(Opcode.TEXT, b"451-[]"), Frame(Opcode.TEXT, b"bAQIDBA==")]
    assert message.base64_frames() is message.base64_frames()
    assert message.messages(base64=True) == ["451-[]", "bAQIDBA=="]
    plain = Message(b"2[]")
    assert plain.base64_frames() is plain.frames


def test_only_what_reaches_the_threshold_is_compressed() -> None:
    """Small parts of a message stay uncompressed beside large compressed ones."""
    message = Message(SMALL[1:], (LARGE, SMALL))
    wire = message.deflated_frames(1024)
    assert parse_frames(wire, [deflate()]) == [
        Frame(Opcode.TEXT, SMALL),
        Frame(Opcode.BINARY, LARGE),
        Frame(Opcode.BINARY, SMALL),
    ]
    assert wire.startswith(websocket.text_frame(SMALL))
    assert wire.endswith(websocket.binary_frame(SMALL))
    assert len(wire) < message.size / 10
    assert Message(SMALL[1:]).deflated_frames(1024) == websocket.text_frame(SMALL)


def test_a_message_can_be_kept_as_it_is() -> None:
    """Of any size, neither its frames nor its part of a polling payload are compressed."""
    message = Message(LARGE[1:], (LARGE,), compress=False)
    assert message.deflated_frames(1024) is message.frames
    blocks = message.polling_blocks(1024)
    assert len(blocks) > len(message.polling_part())
    assert zlib.decompressobj(wbits=-15).decompress(blocks) == message.polling_part()


def test_the_threshold_itself_is_compressed() -> None:
    assert Message(bytes(1023)).deflated_frames(1024)[0] == 0xC1
    assert Message(bytes(1022)).deflated_frames(1024)[0] == 0x81


@pytest.mark.parametrize("size", [LARGEST_COMPRESSED, LARGEST_COMPRESSED + 1])
def test_a_large_message_is_not_compressed(size: int) -> None:
    is_compressed = size == LARGEST_COMPRESSED
    message = Message(bytes(size - 1))
    assert (len(message.deflated_frames(1024)) < size) is is_compressed
    assert (len(message.polling_blocks(1024)) < size) is is_compressed


def test_each_wire_form_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For any number of clients, a message is framed once and compressed once."""
    made: list[str] = []
    for name in ("text_frame", "compressed_frame"):
        original = getattr(websocket, name)

        def counted(*args: object, name: str = name, original: object = original, **options: object) -> object:
            made.append(name)
            assert callable(original)
            return original(*args, **options)

        monkeypatch.setattr(websocket, name, counted)
    message = Message(LARGE[1:])
    for _ in range(3):
        assert message.frames is message.frames
        assert message.deflated_frames(1024) is message.deflated_frames(1024)
    assert sorted(made) == ["compressed_frame", "text_frame"]


def test_large_wire_forms_are_cached_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of messages that wait for slow consumers could take gigabytes. The newest, and small ones, stay."""
    monkeypatch.setattr(message_module, "_large_forms", message_module._LargeForms())
    monkeypatch.setattr(message_module, "MOST_CACHED", 1_000_000)
    small = Message(b"51-[]", (b"x",))
    forms: list[Callable[[Message], bytes]] = [
        Message.polling_part,
        Message.base64_frames,
        lambda message: message.polling_blocks(1024),
    ]
    kept = [form(small) for form in forms]
    tracemalloc.start()
    try:
        waiting = [Message(b"51-[]", (bytes(100_000),)) for _ in range(50)]
        before, _ = tracemalloc.get_traced_memory()
        made = [[form(message) for form in forms] for message in waiting][-1]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_500_000
    assert all(form(waiting[-1]) is each for form, each in zip(forms, made, strict=True))
    assert all(form(small) is each for form, each in zip(forms, kept, strict=True))
    assert waiting[0].polling_part() == made[0]


@pytest.mark.parametrize("size", [1023, 1024])
def test_its_gzipped_part_is_compressed_from_the_threshold_up(size: int) -> None:
    message = Message(b"x" * (size - 1))
    blocks = message.polling_blocks(1024)
    assert zlib.decompressobj(wbits=-15).decompress(blocks) == message.polling_part()
    assert (len(blocks) < 100) is (size == 1024)


def test_its_gzipped_part_is_made_once() -> None:
    """All answers share its bytes, including its attachments."""
    message = Message(b"51-[]", (bytes(3000),))
    blocks = message.polling_blocks(1024)
    assert len(blocks) < 200
    assert zlib.decompressobj(wbits=-15).decompress(blocks) == message.polling_part()
    assert message.polling_blocks(1024) is blocks


def test_the_polling_part_is_made_once() -> None:
    """All polls share its bytes, including its attachments."""
    message = Message(b"51-[]", (b"abc",))
    part = message.polling_part()
    assert part == b"451-[]\x1ebYWJj"
    assert message.polling_part() is part
