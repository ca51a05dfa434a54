import re
from typing import Any

import msgspec
import pytest

from synkora.protocol.errors import InvalidPayload
from synkora.sockets import packets


def test_an_event_is_an_array_of_its_name_and_arguments() -> None:
    """The namespace and an ack's id stand before it."""
    assert packets.event("/", "hello", (1, {"a": None})).packet == b'42["hello",1,{"a":null}]'
    assert packets.asking_for_ack(packets.event("/admin", "hello", ()), 7).packet == b'42/admin,7["hello"]'


def test_binary_arguments_become_attachments() -> None:
    event = packets.event("/", "file", ({"data": b"\x01"},))
    assert event.packet == b'451-["file",{"data":{"_placeholder":true,"num":0}}]'
    assert event.attachments == (b"\x01",)
    ack = packets.ack("/", 3, (b"\x01", b"\x02"))
    assert ack.packet == b'462-3[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert packets.ack("/", 3, ("ok",)).packet == b'433["ok"]'


def test_payloads_are_relayed_byte_for_byte() -> None:
    """Raw JSON is inserted unchanged, with the attachments of its placeholders."""
    raw = msgspec.Raw(b'{ "num":0, "_placeholder":true }')
    event = packets.event("/", "file", (raw,), attachments=(b"\x01",))
    assert event.packet == b'451-["file",{ "num":0, "_placeholder":true }]'


def test_volatile_is_kept() -> None:
    assert packets.event("/", "cursor", (), volatile=True).volatile
    assert not packets.event("/", "task", ()).volatile


@pytest.mark.parametrize("name", [{"text": "hi"}, ["x"], 5, None, b"x"])
def test_the_name_of_an_event_is_a_text(name: Any) -> None:
    """Leaving out the name is a frequent mistake: the payload stands in its place."""
    with pytest.raises(TypeError, match=re.escape(f"the name of an event is a text, not {name!r}")):
        packets.event("/", name, ())


def test_values_that_json_cannot_represent_are_refused() -> None:
    """An object of an unknown type, and one with endless nesting, raise immediately."""
    with pytest.raises(TypeError):
        packets.event("/", "x", (object(),))
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidPayload):
        packets.event("/", "x", (endless,))


@pytest.mark.parametrize("namespace", ["/", "/admin"])
@pytest.mark.parametrize("attachments", [(), (b"\x01",)])
def test_a_writer_encodes_like_a_single_event(namespace: str, attachments: tuple[bytes, ...]) -> None:
    raw = msgspec.Raw(b'{ "_placeholder":true, "num":0 }')
    written = packets.EventWriter(namespace, 'né"w', volatile=True).write(raw, attachments)
    event = packets.event(namespace, 'né"w', (raw,), volatile=True, attachments=attachments)
    assert (written.packet, written.attachments, written.frames) == (event.packet, event.attachments, event.frames)
    assert written.volatile
