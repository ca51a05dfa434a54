"""Rows for Socket.IO v5, over a server whose main namespace greets with `auth` and echoes.

They cover the chapters of the protocol text (docs/socket.io-protocol/v5-current.md of socketio/socket.io): connection
to a namespace and its refusal, sending and receiving, acknowledgement, disconnection, packet encoding and the sample
session, and with that all that the official test suite for version 5 checks; its Engine.IO part is in the other table.

The server answers `message` with `message-back`, and `message-with-ack` with an ack; `/custom` is like the main
namespace, `/closed` refuses. For quick rows it pings every 0.2 s, and a client has 0.6 s to connect.
"""

import re

from tests.conformance.steps import Check, Closed, Dial, Expect, Open, Request, Row, Send, Step

OPENED = Expect([re.compile("^0{")])
TWO = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'


def post(content: str) -> Request:
    return Request(method="POST", content=content, body="ok")


def connected(namespace: str = "", auth: str = "{}") -> list[Check]:
    """The replies to CONNECT: an object with only the id, then the greeting."""
    return [re.compile(rf'^40{namespace}{{"sid":"[\w-]{{20}}"}}$'), f'42{namespace}["auth",{auth}]']


MAIN: list[Step] = [Dial(), OPENED, Send(["40"]), Expect(connected())]


def exchange(name: str, sent: list[str | bytes], expected: list[Check]) -> Row:
    return Row(name, [*MAIN, Send(sent), Expect(expected)])


def closes(name: str, *sent: str | bytes) -> Row:
    """A row for input that closes a connection of the main namespace."""
    return Row(f"closes: {name}", [*MAIN, Send(sent), Closed()])


ROWS = [
    Row("connect: main namespace", MAIN),
    Row(
        "connect: main namespace, with a payload",
        [Dial(), OPENED, Send(['40{"token":"123"}']), Expect(connected(auth='{"token":"123"}'))],
    ),
    Row("connect: custom namespace", [Dial(), OPENED, Send(["40/custom,"]), Expect(connected("/custom,"))]),
    Row(
        "connect: custom namespace, without a comma",
        [Dial(), OPENED, Send(["40/custom"]), Expect(connected("/custom,"))],
    ),
    Row(
        "connect: custom namespace, with a payload",
        [Dial(), OPENED, Send(['40/custom,{"token":"abc"}']), Expect(connected("/custom,", '{"token":"abc"}'))],
    ),
    Row("connect: two namespaces over one connection", [*MAIN, Send(["40/custom,"]), Expect(connected("/custom,"))]),
    Row(
        "connect: unknown namespace",
        [Dial(), OPENED, Send(["40/random"]), Expect(['44/random,{"message":"Invalid namespace"}'])],
    ),
    Row(
        "connect: a refusal with data, and another try elsewhere",
        [
            Dial(),
            OPENED,
            Send(["40/closed,"]),
            Expect(['44/closed,{"message":"Not authorized","data":{"code":7}}']),
            Send(["40"]),
            Expect(connected()),
        ],
    ),
    Row("connect: no CONNECT packet", [Dial(), OPENED, Closed()], quick=True),
    Row("connect: something else first", [Dial(), OPENED, Send(['42["message"]']), Closed()]),
    Row("connect: no packet at all", [Dial(), OPENED, Send(["4abc"]), Closed()]),
    Row("connect: a payload that is no object", [Dial(), OPENED, Send(["40[]"]), Closed()]),
    Row("connect: a payload that is no JSON", [Dial(), OPENED, Send(["40{"]), Closed()]),
    Row("disconnect: main namespace, pings go on", [*MAIN, Send(["41"]), Expect(["2"], pings=True)], quick=True),
    Row(
        "disconnect: custom namespace, main namespace goes on",
        [
            *MAIN,
            Send(["40/custom"]),
            Expect(connected("/custom,")),
            Send(["41/custom", '42["message","message to main namespace"]']),
            Expect(['42["message-back","message to main namespace"]']),
        ],
    ),
    Row("disconnect: and connect again", [*MAIN, Send(["41", "40"]), Expect(connected())]),
    exchange("event: text", ['42["message",1,"2",{"3":[true]}]'], ['42["message-back",1,"2",{"3":[true]}]']),
    exchange("event: no arguments", ['42["message"]'], ['42["message-back"]']),
    exchange("event: characters of all kinds", ['42["message","€ 😀 \\n"]'], ['42["message-back","€ 😀 \\n"]']),
    exchange("event: whitespace in JSON", ['42[ "message" , 1 ]'], ['42["message-back",1]']),
    *(
        exchange(f"event: {name}", ['452-["message",' + TWO, *data], ['452-["message-back",' + TWO, *data])
        for name, data in (("binary", [b"\x01\x02\x03", b"\x04\x05\x06"]), ("empty attachments", [b"", b""]))
    ),
    exchange(
        "event: many at once, in order",
        [f'42["message",{n}]' for n in range(20)],
        [f'42["message-back",{n}]' for n in range(20)],
    ),
    exchange("ack: text", ['42456["message-with-ack",1,"2",{"3":[false]}]'], ['43456[1,"2",{"3":[false]}]']),
    exchange("ack: id 0", ['420["message-with-ack"]'], ["430[]"]),
    exchange(
        "ack: binary",
        ['452-789["message-with-ack",' + TWO, b"\x01\x02\x03", b"\x04\x05\x06"],
        ["462-789[" + TWO, b"\x01\x02\x03", b"\x04\x05\x06"],
    ),
    Row(
        "ack: custom namespace",
        [
            Dial(),
            OPENED,
            Send(["40/custom,"]),
            Expect(connected("/custom,")),
            Send(['42/custom,13["message-with-ack","a"]']),
            Expect(['43/custom,13["a"]']),
        ],
    ),
    Row(
        "ack: of the client, binary",
        [
            *MAIN,
            Send(['42["ask"]']),
            Expect(['420["question"]']),
            Send(['461-0[{"_placeholder":true,"num":0}]', b"\x01"]),
            Expect(['451-["answer",{"_placeholder":true,"num":0}]', b"\x01"]),
        ],
    ),
    exchange("connect: a second time, which changes nothing", ["40", '42["message"]'], ['42["message-back"]']),
    exchange("ack: of the client, for nothing", ["4399[]", '42["message"]'], ['42["message-back"]']),
    closes("an unknown packet type", "4abc"),
    closes("an empty packet", "4"),
    closes("a payload that is an object", "42{}"),
    closes("an empty array", "42[]"),
    closes("no payload", "42"),
    closes("a payload that is no JSON", '42["message",'),
    closes("NaN", '42["message",NaN]'),
    closes("a bad ack id", '42abc["message-with-ack",1,"2",{"3":[false]}]'),
    closes("an event name that is no name", "42[null]"),
    closes("a reserved event name", '42["connect"]'),
    closes("an ack without an id", "43[]"),
    closes("an ack that is no array", "431{}"),
    closes("an event of a namespace that it is not in", '42/custom,["message"]'),
    closes("a packet of servers", '44{"message":"x"}'),
    closes("a binary event without its count", '45["message"]'),
    closes("more attachments than the server takes", '4511-["message"]'),
    closes("a text where an attachment is due", '451-["message",{"_placeholder":true,"num":0}]', '42["message"]'),
    closes("an attachment that nobody announced", b"\x01"),
    closes("a placeholder of no attachment", '451-["message",{"_placeholder":true,"num":1}]', b"\x01"),
    closes("a payload of DISCONNECT", "41[]"),
    Row(
        "polling: the sample session",
        [
            Open(),
            post("40"),
            Request(body=re.compile(r'^40{"sid":"[\w-]{20}"}\x1e42\["auth",{}\]$')),
            post('42["message","a"]\x1e42["message","b"]'),
            Request(body='42["message-back","a"]\x1e42["message-back","b"]'),
            post('451-1["message-with-ack",{"_placeholder":true,"num":0}]\x1ebAQIDBA=='),
            Request(body='461-1[{"_placeholder":true,"num":0}]\x1ebAQIDBA=='),
            Dial("EIO=4&transport=websocket&sid={sid}"),
            Send(["2probe"]),
            Expect(["3probe"]),
            Request(body="6"),
            Send(["5", '42["message","c"]', "40/custom,"]),
            Expect(['42["message-back","c"]', *connected("/custom,")]),
            Send(["1"]),
            Closed(),
        ],
    ),
    Row(
        "polling: what breaks the protocol ends the session",
        [
            Open(),
            post("40"),
            Request(),
            Request(method="POST", content="42{}", status=400),
            Request(status=400),
        ],
    ),
]
