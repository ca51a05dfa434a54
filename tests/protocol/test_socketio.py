import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.socketio import (
    MAX_DEPTH,
    RESERVED_EVENTS,
    Assembler,
    Packet,
    PacketType,
    check_placeholders,
    decode,
    decode_arguments,
    decode_auth,
    encode_packet,
    event_name,
    take_attachments,
)

NAMESPACES = st.just("/") | st.text(st.characters(exclude_characters=",", codec="utf-8"), max_size=8).map("/{}".format)
IDS = st.none() | st.integers(0, 10**15 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
DEEP = b"[" * 10_000 + b"]" * 10_000
PLACEHOLDER = b'{"_placeholder":true,"num":0}'


@pytest.mark.parametrize(
    ("wire", "packet"),
    [
        (b"0", Packet(PacketType.CONNECT, "/", None, b"")),
        (b'0/admin,{"sid":"oSO0"}', Packet(PacketType.CONNECT, "/admin", None, b'{"sid":"oSO0"}')),
        (b"0/admin", Packet(PacketType.CONNECT, "/admin", None, b"")),
        (b'0/admin?a=1,{"t":1}', Packet(PacketType.CONNECT, "/admin?a=1", None, b'{"t":1}')),
        (
            b'4{"message":"Not authorized"}',
            Packet(PacketType.CONNECT_ERROR, "/", None, b'{"message":"Not authorized"}'),
        ),
        (b'2["foo"]', Packet(PacketType.EVENT, "/", None, b'["foo"]')),
        (b'2/admin,["bar"]', Packet(PacketType.EVENT, "/admin", None, b'["bar"]')),
        (b'212["foo"]', Packet(PacketType.EVENT, "/", 12, b'["foo"]')),
        (b'20["foo"]', Packet(PacketType.EVENT, "/", 0, b'["foo"]')),
        (b'2/admin,456["project:delete",123]', Packet(PacketType.EVENT, "/admin", 456, b'["project:delete",123]')),
        (b'3/admin,13["bar"]', Packet(PacketType.ACK, "/admin", 13, b'["bar"]')),
        (b"312[]", Packet(PacketType.ACK, "/", 12, b"[]")),
        (b'51-["baz",0]', Packet(PacketType.BINARY_EVENT, "/", None, b'["baz",0]', (), 1)),
        (b'52-/admin,["baz"]', Packet(PacketType.BINARY_EVENT, "/admin", None, b'["baz"]', (), 2)),
        (b'61-15["bar",0]', Packet(PacketType.BINARY_ACK, "/", 15, b'["bar",0]', (), 1)),
        (b"61-/admin,1[0]", Packet(PacketType.BINARY_ACK, "/admin", 1, b"[0]", (), 1)),
        (b'50-["none"]', Packet(PacketType.BINARY_EVENT, "/", None, b'["none"]')),
        (b"1", Packet(PacketType.DISCONNECT, "/", None, b"")),
        (b"1/admin,", Packet(PacketType.DISCONNECT, "/admin", None, b"")),
    ],
)
def test_the_packets_of_the_protocol_text_are_read(wire: bytes, packet: Packet) -> None:
    """Each kind of packet, with and without a namespace, an id and attachments."""
    assert decode(wire, 10) == packet


@given(st.sampled_from(PacketType), NAMESPACES, IDS, st.integers(1, 10), st.lists(st.text(), min_size=1))
def test_an_encoded_packet_is_decoded_to_the_same_packet(
    kind: PacketType, namespace: str, number: int | None, attachments: int, values: list[str]
) -> None:
    """For every kind of packet, namespace and id."""
    is_binary = kind in (PacketType.BINARY_EVENT, PacketType.BINARY_ACK)
    data: object = values
    if kind in (PacketType.CONNECT, PacketType.CONNECT_ERROR):
        data, number = {"values": values}, None
    elif kind is PacketType.DISCONNECT:
        data, number = None, None
    wire = encode_packet(kind, namespace, data, id=number, attachments=attachments if is_binary else 0)
    packet = decode(wire, 10)
    assert packet[:3] == (kind, namespace, number)
    assert packet.expected == (attachments if is_binary else 0)
    assert (json.loads(packet.data) if packet.data else None) == data


MALFORMED = rb"""7 abc 9["a"] 2 2{} 2abc 2abc["a"] 2-1["a"] 2"a" 2null 3 312 3{} 0[] 0"token" 0null 1[] 1{} 5["a"]
51["a"] 5-["a"] 5x-["a"] 5-1-["a"] 6[] 21-["a"] 31-[] 01- 511-["a"] 51000000-["a"] 51-{"a":1}
29999999999999999["a"]"""


@pytest.mark.parametrize("wire", [b"", b" 2[]", b'2/\xff,["a"]', *MALFORMED.split()])
def test_malformed_packets_break_the_protocol(wire: bytes) -> None:
    """Unknown types, and invalid ids, counts, namespaces and payloads."""
    with pytest.raises(ProtocolError):
        decode(wire, 10)


def test_the_maximum_of_attachments_is_accepted() -> None:
    assert decode(b'510-["a"]', 10).expected == 10
    with pytest.raises(ProtocolError, match="too many attachments"):
        decode(b'511-["a"]', 10)


@given(st.binary() | st.from_regex(rb"[0-6](\d{1,3}-)?(/[a-z]{0,3},?)?\d{0,18}[\[{].{0,20}", fullmatch=True))
def test_arbitrary_bytes_are_decoded_or_refused(data: bytes) -> None:
    """Each decoder returns a value or raises one of its two documented errors."""
    for decoder in (
        lambda: decode(data, 10),
        lambda: Assembler(10).add_text(data),
        lambda: Assembler(10).add_binary(data),
        lambda: event_name(data),
        lambda: decode_auth(data),
        lambda: decode_arguments(data),
        lambda: decode_arguments(data, (b"x",)),
        lambda: check_placeholders(data, (b"x",)),
    ):
        try:
            decoder()
        except (ProtocolError, InvalidPayload):
            pass


class TestEventName:
    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b'["foo"]', "foo"),
            (b'["task:create",{"a":["b"]}]', "task:create"),
            (b'[ "foo" , 1]', "foo"),
            (b'[""]', ""),
            ('["grüße",1]'.encode(), "grüße"),
            (rb'["a\"b",1]', 'a"b'),
            (rb'["\u0061",1]', "a"),
            (b"[1]", "1"),
            (b'[12,"x"]', "12"),
        ],
    )
    def test_it_is_the_first_item(self, data: bytes, name: str) -> None:
        """The first string of the array, with any escapes. A number stands for its text."""
        assert event_name(data) == name

    @given(st.text(), st.lists(st.text()))
    def test_it_is_found_in_any_array(self, name: str, rest: list[str]) -> None:
        """Including quotes, backslashes and any character."""
        if name not in RESERVED_EVENTS:
            assert event_name(json.dumps([name, *rest], ensure_ascii=False).encode()) == name
            assert event_name(json.dumps([name, *rest], indent=1).encode()) == name

    @pytest.mark.parametrize(
        "data", [b"[]", b"[null]", b"[true]", b"[{}]", b"[[]]", b"[", b'["a', b'["a"', b'["a"]]', b"[,]", b'["\xff"]']
    )
    def test_an_array_without_a_name_breaks_the_protocol(self, data: bytes) -> None:
        """Also invalid JSON, in the name or in the arguments."""
        with pytest.raises(ProtocolError):
            (event_name(data), decode_arguments(data))

    @pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
    def test_a_reserved_name_breaks_the_protocol(self, name: str) -> None:
        for data in (json.dumps([name]), json.dumps([name]).replace("e", r"\u0065"), f'[ "{name}"]'):
            with pytest.raises(ProtocolError, match="reserved"):
                event_name(data.encode())


class TestAuth:
    def test_it_is_an_object_or_nothing(self) -> None:
        """Without a payload it is an empty object."""
        assert decode_auth(b'{"token":"abc"}') == {"token": "abc"}
        assert decode_auth(b"") == {}

    @pytest.mark.parametrize("data", [b"[]", b"1", b'"x"', b"null", b"{", b'{"a":NaN}'])
    def test_any_other_data_is_a_protocol_error(self, data: bytes) -> None:
        with pytest.raises(ProtocolError):
            decode_auth(data)

    def test_deep_nesting_is_an_invalid_payload(self) -> None:
        """Ten thousand levels in an auth payload cause no RecursionError."""
        with pytest.raises(InvalidPayload):
            decode_auth(b'{"a":' + DEEP + b"}")


class TestAttachments:
    @given(st.lists(VALUES, max_size=4))
    def test_extracted_attachments_are_filled_in_again(self, values: list[Any]) -> None:
        """Binary values anywhere in the arguments return to their places."""
        replaced, attachments = take_attachments(values)
        wire = json.dumps(replaced).encode()
        assert decode_arguments(wire, attachments) == values

    def test_they_are_numbered_in_their_order(self) -> None:
        """From 0, as in the protocol text."""
        replaced, attachments = take_attachments([b"one", {"a": [bytearray(b"two"), memoryview(b"three")]}])
        placeholders = [{"_placeholder": True, "num": number} for number in range(3)]
        assert replaced == [placeholders[0], {"a": placeholders[1:]}]
        assert attachments == (b"one", b"two", b"three")

    def test_arguments_without_any_are_returned_as_they_are(self) -> None:
        """Without a copy. msgspec's own types stay."""
        values = [msgspec.Raw(b"1"), {"a": (1, 2)}]
        replaced, attachments = take_attachments(values)
        assert replaced is values
        assert attachments == ()

    @pytest.mark.parametrize(
        "placeholders",
        [[0, 0], [0, 1, 0], [1, 1], [0], []],
        ids=["twice", "twice beside the other", "one twice and one not", "one missing", "none"],
    )
    def test_each_attachment_is_named_exactly_once(self, placeholders: list[int]) -> None:
        """A repeated placeholder would make the message larger than the received one."""
        attachments = (b"x", b"y") if len(placeholders) != 2 or 1 in placeholders else (b"x",)
        data = json.dumps(["a", *({"_placeholder": True, "num": number} for number in placeholders)]).encode()
        for check in (decode_arguments, check_placeholders):
            with pytest.raises(ProtocolError, match="illegal attachments"):
                check(data, attachments)

    def test_an_omitted_one_may_be_allowed(self) -> None:
        """For partly relayed payloads. A repeated placeholder is refused there, too."""
        assert decode_arguments(b'["a"]', (b"x",), may_leave_out=True) == ["a"]
        with pytest.raises(ProtocolError, match="illegal attachments"):
            decode_arguments(b"[" + PLACEHOLDER + b"," + PLACEHOLDER + b"]", (b"x", b"y"), may_leave_out=True)

    @pytest.mark.parametrize("number", [b"1", b"-1", b"true", b'"0"', b"null", b"0.0", b"1e3"])
    def test_a_placeholder_without_its_attachment_breaks_the_protocol(self, number: bytes) -> None:
        data = b'["a",{"x":[{"_placeholder":true,"num":' + number + b"}]}]"
        for check in (decode_arguments, check_placeholders):
            with pytest.raises(ProtocolError, match="illegal attachments"):
                check(data, (b"x",))

    def test_a_placeholder_with_a_third_field_breaks_the_protocol(self) -> None:
        """It could hide a placeholder without an attachment, which ends the connections of the clients that get it."""
        hidden = b'{"_placeholder":true,"num":0,"projectId":"p","position":{"_placeholder":true,"num":99}}'
        for check in (decode_arguments, check_placeholders):
            with pytest.raises(ProtocolError, match="illegal attachments"):
                check(b'["canvas:cursor",' + hidden + b"]", (b"x",))

    def test_a_placeholder_without_a_number_breaks_the_protocol(self) -> None:
        with pytest.raises(ProtocolError, match="illegal attachments"):
            decode_arguments(b'[{"_placeholder":true}]', (b"x",))

    @pytest.mark.parametrize("mark", [b"1", b'"true"', b"[1]", b"false", b"null"])
    def test_a_placeholder_with_another_mark_breaks_the_protocol(self, mark: bytes) -> None:
        """Only `true` marks a placeholder, but the clients of some languages take others, and fail."""
        data = b'["a",{"x":{"_placeholder":' + mark + b',"num":9}},' + PLACEHOLDER + b"]"
        for check in (decode_arguments, check_placeholders):
            with pytest.raises(ProtocolError, match="illegal attachments"):
                check(data, (b"x",))

    @pytest.mark.parametrize(
        "keys", [(r"\ud800", r"\uD800"), (r"\ud83d\ude00", "😀"), (r"\ud83d\ude00", r"\uD83D\uDE00")]
    )
    def test_keys_that_are_equal_break_the_protocol_beside_a_half(self, keys: tuple[str, str]) -> None:
        """Clients take the last one, here with a wrong placeholder. It was another one for the server."""
        wrong, right = '{"_placeholder":true,"num":99}', PLACEHOLDER.decode()
        data = rf'["a","\ud800",{{"{keys[0]}":0,"{keys[1]}":{right},"{keys[0]}":{wrong}}}]'.encode()
        for check in (decode_arguments, check_placeholders):
            with pytest.raises(ProtocolError):
                check(data, (b"x",))

    def test_a_packet_with_attachments_is_nested_little(self) -> None:
        def nested(depth: int) -> bytes:
            return b'["a",' + b"[" * depth + PLACEHOLDER + b"]" * depth + b"]"

        check_placeholders(nested(MAX_DEPTH), (b"x",))
        with pytest.raises(InvalidPayload, match="nested too deeply"):
            check_placeholders(nested(MAX_DEPTH + 1), (b"x",))

    def test_nesting_too_deep_is_an_invalid_payload(self) -> None:
        for check in (decode_arguments, check_placeholders):
            with pytest.raises(InvalidPayload, match="nested too deeply"):
                check(b'["a",' + DEEP + b"]", (b"x",))
        nested: list[Any] = []
        for _ in range(10_000):
            nested = [nested]
        with pytest.raises(InvalidPayload, match="nested too deeply"):
            take_attachments([nested])

    def test_nested_values_below_the_limit_are_filled(self) -> None:
        levels = 200
        data = b"[" * levels + PLACEHOLDER + b"]" * levels
        value: Any = decode_arguments(data, (b"x",))
        for _ in range(levels):
            (value,) = value
        assert value == b"x"


class TestAssembler:
    def test_a_packet_is_complete_after_its_last_attachment(self) -> None:
        """In the order of arrival. Nothing of it remains for the next packet."""
        assembler = Assembler(10)
        for _ in range(2):
            assert assembler.add_text(b'52-["a"]') is None
            assert assembler.add_binary(b"one") is None
            whole = assembler.add_binary(b"two")
            assert whole is not None
            assert (whole.attachments, whole.data) == ((b"one", b"two"), b'["a"]')

    def test_a_packet_without_attachments_is_whole_at_once(self) -> None:
        assert Assembler(10).add_text(b'2["a"]') == Packet(PacketType.EVENT, "/", None, b'["a"]')
        assert Assembler(10).add_text(b'50-["a"]') == Packet(PacketType.BINARY_EVENT, "/", None, b'["a"]')

    def test_a_text_between_attachments_breaks_the_protocol(self) -> None:
        assembler = Assembler(10)
        assembler.add_text(b'52-["a"]')
        assembler.add_binary(b"one")
        with pytest.raises(ProtocolError, match="attachment is due"):
            assembler.add_text(b'2["b"]')

    def test_an_attachment_without_a_packet_breaks_the_protocol(self) -> None:
        """Also after a packet with all its attachments."""
        assembler = Assembler(10)
        with pytest.raises(ProtocolError, match="without a packet"):
            assembler.add_binary(b"one")
        assembler.add_text(b'51-["a"]')
        assembler.add_binary(b"one")
        with pytest.raises(ProtocolError, match="without a packet"):
            assembler.add_binary(b"two")
