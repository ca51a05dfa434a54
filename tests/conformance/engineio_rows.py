"""Rows for Engine.IO v4, over a server that echoes.

They cover the chapters of the protocol text (docs/engine.io-protocol/v4-current.md of socketio/socket.io): request path
and parameters, handshake, sending and receiving by polling, WebSocket, heartbeat, upgrade, message, packet encoding and
closing, and with that all that the official test suite for version 4 checks, over both transports. WebTransport is not
served.

The server pings every 25 s, waits 20 s for the answer, and takes 1,000,000 bytes; for quick rows it pings every 0.2 s
and waits 0.5 s.
"""

import re

from tests.conformance.steps import Answered, Closed, Dial, Expect, Open, Request, Row, Send, Step, TimedOut, handshake

LIMITS = {"pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000}
OPENING = "EIO=4&transport=polling"
UPGRADE = "EIO=4&transport=websocket&sid={sid}"
OPENED = Expect([re.compile("^0{")])

PONGS_BY_POST: list[Step] = [Request(body="2"), Request(method="POST", content="3", body="ok")] * 3
PONGS: list[Step] = [Expect(["2"], pings=True), Send(["3"])] * 3


def code(number: int) -> re.Pattern[str]:
    return re.compile(f'^{{"code":{number},"message":"')


def hanging_poll(body: str, content: str) -> list[Step]:
    """A poll that is answered with `body` when `content` is posted."""
    return [Request(later="poll", body=body), Request(method="POST", content=content, body="ok"), Answered("poll")]


GONE = Request(status=400, body=code(1))

ROWS = [
    Row("polling: opens a session", [Request(OPENING, body=handshake(["websocket"], **LIMITS))]),
    Row("polling: a busy client's further parameters are ignored", [Request(OPENING + "&t=abc&b64=1&x=y")]),
    Row("polling: no version", [Request("transport=polling", status=400, body=code(5))]),
    Row("polling: a wrong version", [Request("EIO=abc&transport=polling", status=400, body=code(5))]),
    Row("polling: an old version", [Request("EIO=3&transport=polling", status=400, body=code(5))]),
    Row("polling: no transport", [Request("EIO=4", status=400, body=code(0))]),
    Row("polling: an unknown transport", [Request("EIO=4&transport=abc", status=400, body=code(0))]),
    Row("polling: opening by POST", [Request(OPENING, "POST", status=400, body=code(2))]),
    Row("polling: opening by PUT", [Request(OPENING, "PUT", status=400, body=code(2))]),
    Row("polling: an unknown session", [Request(OPENING + "&sid=zzz", status=400, body=code(1))]),
    Row("polling: posting to an unknown session", [Request(OPENING + "&sid=zzz", "POST", "4x", 400, code(1))]),
    Row("websocket: opens a session", [Dial(), Expect([handshake([], **LIMITS)])]),
    Row("websocket: no version", [Dial("transport=websocket", refused=True)]),
    Row("websocket: a wrong version", [Dial("EIO=abc&transport=websocket", refused=True)]),
    Row("websocket: no transport", [Dial("EIO=4", refused=True)]),
    Row("websocket: an unknown transport", [Dial("EIO=4&transport=abc", refused=True)]),
    Row("websocket: an unknown session", [Dial("EIO=4&transport=websocket&sid=zzz", refused=True)]),
    Row("polling: a text", [Open(), Request(method="POST", content="4hello", body="ok"), Request(body="4hello")]),
    Row(
        "polling: several texts in a payload",
        [Open(), Request(method="POST", content="4a\x1e4b\x1e4c", body="ok"), Request(body="4a\x1e4b\x1e4c")],
    ),
    Row(
        "polling: text and binary in a payload",
        [Open(), Request(method="POST", content="4hello\x1ebAQIDBA=="), Request(body="4hello\x1ebAQIDBA==")],
    ),
    Row(
        "polling: text of all kinds",
        [Open(), Request(method="POST", content="4€ 😀 \x00 \n".encode()), Request(body="4€ 😀 \x00 \n")],
    ),
    Row("polling: an empty message", [Open(), Request(method="POST", content="4"), Request(body="4")]),
    Row(
        "polling: a poll that hangs is answered by the next message",
        [
            Open(),
            *hanging_poll(body="4hello", content="4hello"),
        ],
    ),
    Row(
        "polling: the largest payload",
        [Open(), Request(method="POST", content="4" + "x" * 999_999), Request(body="4" + "x" * 999_999)],
    ),
    Row(
        "polling: more than the largest payload",
        [Open(), Request(method="POST", content="4" + "x" * 1_000_000, status=413), GONE],
    ),
    Row("polling: an unknown packet type", [Open(), Request(method="POST", content="abc", status=400), GONE]),
    Row("polling: an empty payload", [Open(), Request(method="POST", status=400), GONE]),
    Row("polling: an empty packet", [Open(), Request(method="POST", content="4a\x1e", status=400), GONE]),
    Row("polling: bad base64", [Open(), Request(method="POST", content="b!", status=400), GONE]),
    Row("polling: invalid UTF-8", [Open(), Request(method="POST", content=b"4\xff", status=400), GONE]),
    Row("polling: a ping of the client", [Open(), Request(method="POST", content="2", status=400), GONE]),
    Row(
        "polling: two polls at a time",
        [Open(), Request(later="poll", body="1"), Request(status=400), Answered("poll"), GONE],
    ),
    Row("polling: a poll that is cancelled", [Open(), Request(abort=True), GONE]),
    Row("websocket: a text", [Dial(), OPENED, Send(["4hello"]), Expect(["4hello"])]),
    Row("websocket: a binary", [Dial(), OPENED, Send([b"\x01\x02\x03\x04"]), Expect([b"\x01\x02\x03\x04"])]),
    Row("websocket: texts in order", [Dial(), OPENED, Send(["4a", "4b", b"c"]), Expect(["4a", "4b", b"c"])]),
    Row("websocket: an empty message", [Dial(), OPENED, Send(["4"]), Expect(["4"])]),
    Row("websocket: the largest payload", [Dial(), OPENED, Send(["4" + "x" * 999_999]), Expect(["4" + "x" * 999_999])]),
    Row("websocket: more than the largest payload", [Dial(), OPENED, Send(["4" + "x" * 1_000_000]), Closed()]),
    Row("websocket: an unknown packet type", [Dial(), OPENED, Send(["abc"]), Closed()]),
    Row("websocket: an empty packet", [Dial(), OPENED, Send([""]), Closed()]),
    Row("websocket: a ping of the client", [Dial(), OPENED, Send(["2"]), Closed()]),
    Row(
        "websocket: noop, open and upgrade mean nothing", [Dial(), OPENED, Send(["6", "0", "5", "4a"]), Expect(["4a"])]
    ),
    Row("polling: pings that are answered", [Open(), *PONGS_BY_POST], quick=True),
    Row("polling: a ping that is not answered", [Open(), Request(body="2"), TimedOut(), GONE], quick=True),
    Row("polling: silence", [Open(), TimedOut(), GONE], quick=True),
    Row("websocket: pings that are answered", [Dial(), OPENED, *PONGS], quick=True),
    Row("websocket: a ping that is not answered", [Dial(), OPENED, Expect(["2"], pings=True), Closed()], quick=True),
    Row("websocket: pongs that nobody asked for", [Dial(), OPENED, Send(["3", "3", "4a"]), Expect(["4a"])]),
    Row(
        "polling: the client's close",
        [Open(), *hanging_poll(body="6", content="1"), GONE],
    ),
    Row("websocket: the client's close", [Dial(), OPENED, Send(["1"]), Closed()]),
    Row(
        "upgrade: from polling to WebSocket",
        [
            Open(),
            Dial(UPGRADE),
            Send(["2probe"]),
            Expect(["3probe"]),
            Request(body="6"),
            Send(["5", "4hello"]),
            Expect(["4hello"]),
        ],
    ),
    Row(
        "upgrade: a poll that hangs is released",
        [
            Open(),
            Request(later="poll", body="6"),
            Dial(UPGRADE),
            Send(["2probe"]),
            Expect(["3probe"]),
            Answered("poll"),
        ],
    ),
    Row(
        "upgrade: what waited for a poll comes by WebSocket",
        [
            Open(),
            Dial(UPGRADE),
            Send(["2probe"]),
            Expect(["3probe"]),
            Request(method="POST", content="4one\x1e4two", body="ok"),
            Send(["5", "4three"]),
            Expect(["4one", "4two", "4three"]),
        ],
    ),
    Row(
        "upgrade: polling is refused afterwards",
        [
            Open(),
            Dial(UPGRADE),
            Send(["2probe"]),
            Expect(["3probe"]),
            Send(["5", "4a"]),
            Expect(["4a"]),
            Request(status=400),
            Request(method="POST", content="4x", status=400),
            Send(["4hello"]),
            Expect(["4hello"]),
        ],
    ),
    Row(
        "upgrade: a second WebSocket is closed afterwards",
        [
            Open(),
            Dial(UPGRADE),
            Send(["2probe"]),
            Expect(["3probe"]),
            Send(["5"]),
            Dial(UPGRADE, "second"),
            Closed("second"),
            Send(["4hello"]),
            Expect(["4hello"]),
        ],
    ),
    Row(
        "upgrade: a second WebSocket is closed during the probe",
        [Open(), Dial(UPGRADE), Dial(UPGRADE, "second"), Closed("second"), Send(["2probe"]), Expect(["3probe"])],
    ),
    Row(
        "upgrade: a probe without its ping fails, and polling goes on",
        [Open(), Dial(UPGRADE), Send(["4x"]), Closed(), Request(method="POST", content="4a"), Request(body="4a")],
    ),
    Row(
        "upgrade: a session of WebSocket has none",
        [Dial(), OPENED, Dial("EIO=4&transport=polling", "none", refused=True)],
    ),
]
