"""Bytes that violate the protocol end only their own connection."""

import pytest
from tests.end_to_end.bystanders import MALLORY, Bystanders
from tests.end_to_end.raw import RawClient
from tests.support.users import PROJECT


def relay(value: str, event: str = "canvas:update", field: str = "changes") -> str:
    return f'["{event}",{{"projectId":"{PROJECT}","{field}":{value}}}]'


def placeholder(number: str) -> str:
    return f'{{"_placeholder":true,"num":{number}}}'


INEXACT = '{"_placeholder":true,"num":0,"a":1}'
UNMARKED = '{"_placeholder":false,"num":0}'
AROUND = f'["canvas:cursor",{{"_placeholder":true,"num":0,"projectId":"{PROJECT}","position":{placeholder("7")}}}]'


CLOSING: dict[str, list[str | bytes]] = {
    # Engine.IO
    "an empty packet": [""],
    "an unknown packet type": ["9"],
    "a letter for a packet type": ["x" + relay("1")],
    "a ping of the client's own": ["2"],
    # Socket.IO's header
    "a message without a packet": ["4"],
    "an unknown Socket.IO type": ["47"],
    "a letter for a Socket.IO type": ["4hello"],
    "an event without a payload": ["42"],
    "an event without a name": ["42[]"],
    "an event whose name is null": ["42[null]"],
    "an event whose name is an object": ["42[{}]"],
    "an event with a reserved name": ['42["disconnect"]'],
    "a refusal from a client": ['44{"message":"no"}'],
    "an ack without an id": ["43[]"],
    "an event of another namespace": ['42/admin,["ping"]'],
    # JSON
    "half of a JSON text": ['42["canvas:update",{"projectId":'],
    "something behind the JSON": [f"42{relay('1')}]"],
    "single quotes": ["42['ping']"],
    "NaN": [f"42{relay('NaN')}"],
    "NaN in a field that is ignored": [f"42{relay('NaN', field='ignored')}"],
    "NaN for an unknown event": ['42["no such event",NaN]'],
    "a byte order mark": ["42\ufeff" + relay("1")],
    # UTF-8
    "an invalid byte": [f"42{relay(chr(34) + chr(0xDCFF) + chr(34))}"],
    "an overlong sequence": [f"42{relay(chr(34) + chr(0xDCC0) + chr(0xDC80) + chr(34))}"],
    "a surrogate in UTF-8": [f"42{relay(chr(34) + chr(0xDCED) + chr(0xDCA0) + chr(0xDC80) + chr(34))}"],
    "half of a character": [f"42{relay(chr(34) + chr(0xDCF0) + chr(0xDC9F) + chr(34))}"],
    "an invalid byte in an event's name": ['42["\udcff"]'],
    # Attachments
    "an attachment out of nowhere": [b"\x00\x01"],
    "a binary event without a count": [f"45{relay(placeholder('0'))}"],
    "attachments of an event that has none": [f"421-{relay('1')}"],
    "eleven attachments": [f"4511-{relay(placeholder('0'))}"],
    "a million attachments": [f"451000000-{relay(placeholder('0'))}"],
    "attachments without end": ["45" + "9" * 400 + f"-{relay('1')}"],
    "a text in place of an attachment": [f"451-{relay(placeholder('0'))}", '42["ping"]'],
    "an attachment that nothing refers to": [f"451-{relay('1')}", b"\x00"],
    "an attachment that two refer to": [f"451-{relay(f'[{placeholder(chr(48))},{placeholder(chr(48))}]')}", b"\x00"],
    "a placeholder past the attachments": [f"451-{relay(placeholder('1'))}", b"\x00"],
    "a bad placeholder deep inside": [
        f"451-{relay('[[{' + chr(34) + 'a' + chr(34) + ':' + placeholder('7') + '}]]')}",
        b"1",
    ],
    "a placeholder with a third field": [f"451-{relay(INEXACT)}", b"\x00"],
    "a placeholder around the whole payload": [f"451-{AROUND}", b"\x00"],
    "a placeholder with another mark": [f"451-{relay(f'[{placeholder(chr(48))},{UNMARKED}]')}", b"\x00"],
    "a bad placeholder in a cursor": [f"451-{relay(placeholder('7'), 'canvas:cursor', 'position')}", b"\x00"],
}


@pytest.mark.parametrize("packets", CLOSING.values(), ids=CLOSING.keys())
async def test_broken_packets_end_only_their_connection(
    mallory: RawClient, bystanders: Bystanders, packets: list[str | bytes]
) -> None:
    await mallory.carrier.send(*packets)
    await bystanders.notice_the_end_of(mallory)


HARMLESS: dict[str, list[str | bytes]] = {
    "an ack that nobody waits for": ["43999[]"],
    "a pong that nobody waits for": ["3"],
    "a probe": ["5"],
    "a noop": ["6"],
    "a second CONNECT": ["40"],
    "a namespace left that was never joined": ["40/admin,"],
}


@pytest.mark.parametrize("packets", HARMLESS.values(), ids=HARMLESS.keys())
async def test_an_unexpected_packet_is_tolerated(
    mallory: RawClient, bystanders: Bystanders, packets: list[str | bytes]
) -> None:
    """A packet that may be late, or is for an unknown namespace, does not end the connection."""
    await mallory.carrier.send(*packets)
    if packets == HARMLESS["a namespace left that was never joined"]:
        assert await mallory.carrier.receive() == '44/admin,{"message":"Invalid namespace"}'
    await mallory.goes_on()
    await bystanders.notice_nothing()


SOUND = {
    "a placeholder in an event without attachments": ("42", placeholder("7"), []),
    "a placeholder where none are announced": ("450-", placeholder("7"), []),
    "ten attachments": (
        "4510-",
        f"[{','.join(map(placeholder, map(str, range(10))))}]",
        [b"%d" % n for n in range(10)],
    ),
    "half a surrogate pair": ("42", '"\\ud83d"', []),
    "spaces and line breaks": ("42", " [ 1 ,\n\t2 ] ", []),
}


@pytest.mark.parametrize(("head", "value", "attachments"), SOUND.values(), ids=SOUND.keys())
async def test_odd_but_valid_events_reach_the_others_complete(
    mallory: RawClient, bystanders: Bystanders, head: str, value: str, attachments: list[bytes]
) -> None:
    await mallory.carrier.send(head + relay(value), *attachments)
    for client in (bystanders.alice, bystanders.bob):
        assert (await client.next())[0] == "canvas:update"
    await mallory.goes_on()
    await bystanders.notice_nothing()


async def test_messages_before_sign_in_end_the_connection(bystanders: Bystanders, newcomer: RawClient) -> None:
    await newcomer.carrier.send(f"42{relay('1')}")
    await newcomer.is_closed()
    await bystanders.notice_nothing()


@pytest.mark.parametrize("auth", ["null", "[]", '"token"', "-1", "true"])
async def test_an_auth_that_is_no_object_ends_the_connection(
    bystanders: Bystanders, newcomer: RawClient, auth: str
) -> None:
    await newcomer.carrier.send(f"40{auth}")
    await newcomer.is_closed()
    await bystanders.notice_nothing()


@pytest.mark.parametrize(
    "auth", ["{}", '{"token":null}', '{"token":' + "[" * 10_000 + "]" * 10_000 + "}"], ids=range(3)
)
async def test_an_auth_without_a_token_is_refused(bystanders: Bystanders, newcomer: RawClient, auth: str) -> None:
    """With a CONNECT_ERROR. The client may try again over the same connection."""
    await newcomer.carrier.send(f"40{auth}")
    answer = await newcomer.carrier.receive()
    assert isinstance(answer, str)
    assert answer.startswith('44{"message":')
    await newcomer.sign_in(MALLORY)
    await newcomer.goes_on()
    await bystanders.notice_nothing()
