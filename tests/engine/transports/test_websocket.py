import asyncio
import functools
import logging
import zlib
from collections.abc import AsyncIterator

import pytest
import websockets.exceptions
from picows import WSAutoPingStrategy
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # it is private
from structlog.testing import capture_logs
from tests.support.clients import Polling, websocket
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawWebSocket,
    client_frame,
    raw_websocket,
)
from tests.support.servers import Address, Engine, serving_engine, until
from websockets.asyncio.client import connect
from websockets.frames import Opcode

from synkora.engine.disconnect import Reason
from synkora.engine.origins import Origins
from synkora.engine.transports.websocket import WebSocketProtocol
from synkora.protocol.websocket import EXTENSION

MAX = 100_000


@pytest.fixture
def engine() -> Engine:
    return Engine(echoes=True, max_payload=MAX, compression=True, origins=Origins(["https://app.example.com"]))


@pytest.fixture
async def address(engine: Engine) -> AsyncIterator[Address]:
    async with serving_engine(engine) as address:
        yield address


@pytest.fixture
async def raw(address: Address) -> AsyncIterator[RawWebSocket]:
    async with raw_websocket(address) as raw:
        assert (await raw.text()).startswith("0{")
        yield raw


PICOWS_ARGUMENTS = {
    "host_port": None,
    "ws_path": None,
    "is_client_side": False,
    "ws_listener_factory": None,
    "logger": logging.getLogger(__name__),
    "disconnect_on_exception": True,
    "websocket_handshake_timeout": None,
    "enable_auto_ping": False,
    "auto_ping_idle_timeout": 1,
    "auto_ping_reply_timeout": 1,
    "auto_ping_strategy": WSAutoPingStrategy.PING_WHEN_IDLE,
    "enable_auto_pong": False,
    "max_frame_size": 1000,
    "extra_headers": None,
    "read_buffer_init_size": 2048,
}


async def test_picows_takes_the_arguments_that_its_protocol_is_given() -> None:
    """Its constructor is not public: this pins the number, the names and the order of what it is given by position."""
    WSProtocol(**PICOWS_ARGUMENTS)
    values = list(PICOWS_ARGUMENTS.values())
    with pytest.raises(TypeError, match="exactly 15 positional"):
        WSProtocol(*values, None)
    for position, name in enumerate(PICOWS_ARGUMENTS):
        with pytest.raises(TypeError, match=f"multiple values for keyword argument '{name}'"):
            WSProtocol(*values[: position + 1], **{name: values[position]})


async def test_the_protocol_is_made_as_uvicorn_makes_one() -> None:
    """uvicorn passes its configuration, its state and the application's, by name."""
    make = functools.partial(WebSocketProtocol, Engine().registry)
    assert isinstance(make(config=None, server_state=None, app_state=None), asyncio.BaseProtocol)


class TestMessages:
    @pytest.mark.parametrize("size", [1, 124, 125, 126, 2_000, 65_535, 65_536, MAX])
    async def test_a_message_of_any_size_comes_back(self, raw: RawWebSocket, size: int) -> None:
        """All three lengths of a frame's header are read and written, up to the largest payload."""
        payload = b"4" + b"x" * (size - 1)
        await raw.send(client_frame(TEXT, payload))
        assert (await raw.frame()).data == payload

    async def test_a_binary_message_comes_back(self, raw: RawWebSocket) -> None:
        """Binary packets travel as they are, whatever is in them."""
        payload = bytes(range(256))
        await raw.send(client_frame(BINARY, payload))
        frame = await raw.frame()
        assert (frame.opcode, frame.data) == (Opcode.BINARY, payload)

    async def test_many_messages_in_one_segment_are_all_taken(self, raw: RawWebSocket) -> None:
        """Frames that arrive together are handled one by one, and answered in one write."""
        await raw.send(*(client_frame(TEXT, b"4%d" % number) for number in range(100)))
        assert [await raw.text() for _ in range(100)] == [f"4{number}" for number in range(100)]

    async def test_a_message_may_come_byte_by_byte(self, raw: RawWebSocket) -> None:
        """A frame that is torn apart by the network is put together."""
        for byte in client_frame(TEXT, b"4torn"):
            await raw.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await raw.text() == "4torn"


class TestFragments:
    async def test_a_fragmented_text_is_one_message(self, raw: RawWebSocket, engine: Engine) -> None:
        """Parts are put together, also where they split a character."""
        text = "4grüße".encode()
        cut = text.index(b"\xc3") + 1
        await raw.send(
            client_frame(TEXT, text[:cut], fin=False),
            client_frame(CONTINUATION, b"", fin=False),
            client_frame(CONTINUATION, text[cut:]),
        )
        assert await raw.text() == "4grüße"
        assert engine.recorders[0].messages == ["grüße".encode()]

    async def test_a_fragmented_binary_is_one_message(self, raw: RawWebSocket) -> None:
        """The first part says what the message is."""
        await raw.send(client_frame(BINARY, b"\x01", fin=False), client_frame(CONTINUATION, b"\x02"))
        frame = await raw.frame()
        assert (frame.opcode, frame.data) == (Opcode.BINARY, b"\x01\x02")

    async def test_control_frames_may_come_between(self, raw: RawWebSocket) -> None:
        """A ping between two parts is answered at once, and the message is whole nevertheless."""
        await raw.send(
            client_frame(TEXT, b"4a", fin=False), client_frame(PING, b"are you there"), client_frame(PONG, b"unasked")
        )
        pong = await raw.frame()
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"are you there")
        await raw.send(client_frame(CONTINUATION, b"b"))
        assert await raw.text() == "4ab"

    async def test_two_fragmented_messages_follow_each_other(self, raw: RawWebSocket) -> None:
        """After the last part the next message starts afresh."""
        for _ in range(2):
            await raw.send(client_frame(TEXT, b"4a", fin=False), client_frame(CONTINUATION, b"b"))
            assert await raw.text() == "4ab"


ERRORS = {
    "a text where a continuation is due": (
        [client_frame(TEXT, b"4a", fin=False), client_frame(TEXT, b"4b")],
        1002,
    ),
    "a binary where a continuation is due": (
        [client_frame(TEXT, b"4a", fin=False), client_frame(BINARY, b"b")],
        1002,
    ),
    "a first part where a continuation is due": (
        [client_frame(TEXT, b"4a", fin=False), client_frame(TEXT, b"4b", fin=False)],
        1002,
    ),
    "a continuation of nothing": ([client_frame(CONTINUATION, b"4a")], 1002),
    "the first reserved bit, without compression": ([client_frame(TEXT, b"4a", rsv=4)], 1002),
    "the second reserved bit": ([client_frame(TEXT, b"4a", rsv=2)], 1002),
    "the third reserved bit": ([client_frame(TEXT, b"4a", rsv=1)], 1002),
    "a reserved bit of a binary": ([client_frame(BINARY, b"a", rsv=1)], 1002),
    "a reserved bit of a continuation": (
        [client_frame(TEXT, b"4a", fin=False), client_frame(CONTINUATION, b"b", rsv=4)],
        1002,
    ),
    "an unmasked frame": ([client_frame(TEXT, b"4a", masked=False)], 1002),
    "a reserved opcode": ([client_frame(3, b"4a")], 1002),
    "a reserved control opcode": ([client_frame(11, b"4a")], 1002),
    "a fragmented ping": ([client_frame(PING, b"a", fin=False)], 1002),
    "a long ping": ([client_frame(PING, bytes(126))], 1002),
    "a length that is longer than need be": ([b"\x81\xfe\x00\x02\x00\x00\x00\x00" + b"4a"], 1002),
    "a negative length": ([b"\x81\xff" + b"\xff" * 8 + bytes(4)], 1002),
    "a frame over the limit": ([client_frame(TEXT, b"4" + bytes(MAX))], 1009),
    "a frame that says it is of an exabyte": ([b"\x81\xff\x0f" + b"\xff" * 7 + bytes(4)], 1009),
    "fragments over the limit": (
        [client_frame(TEXT, b"4" + bytes(MAX // 2), fin=False), client_frame(CONTINUATION, bytes(MAX // 2))],
        1009,
    ),
    "a text that is no UTF-8": ([client_frame(TEXT, b"4\xff")], 1007),
    "a surrogate in UTF-8": ([client_frame(TEXT, b"4\xed\xa0\x80")], 1007),
    "fragments that are no UTF-8": (
        [client_frame(TEXT, b"4\xc3", fin=False), client_frame(CONTINUATION, b"a")],
        1007,
    ),
    "an empty text": ([client_frame(TEXT, b"")], 1002),
    "a packet of no type": ([client_frame(TEXT, b"abc")], 1002),
    "a close frame of one byte": ([client_frame(CLOSE, b"\x03")], 1002),
    "a close frame with a code of nobody": ([client_frame(CLOSE, b"\x00\x01")], 1002),
    "a close frame whose words are no UTF-8": ([client_frame(CLOSE, b"\x03\xe8\xff")], 1007),
}


class TestErrors:
    @pytest.mark.parametrize("case", ERRORS)
    async def test_what_breaks_the_protocol_is_closed_with_its_code(
        self, raw: RawWebSocket, engine: Engine, case: str
    ) -> None:
        """RFC 6455 section 7.4.1: each fault has its code, and nothing of it, or after it, is handed over."""
        frames, code = ERRORS[case]
        await raw.send(*frames, client_frame(TEXT, b"4after"))
        assert (await raw.closed()).code == code
        await raw.send(client_frame(CLOSE, code.to_bytes(2, "big")))
        await raw.ended()
        assert engine.recorders[0].messages == []
        assert len(engine.recorders[0].reasons) == 1
        assert len(engine.registry) == 0
        assert engine.registry.open_websockets == 0

    async def test_a_client_that_does_not_answer_the_close_is_cut_off(
        self, raw: RawWebSocket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After its time the connection is ended without the client."""
        monkeypatch.setattr("synkora.engine.transports.websocket.CLOSING_TIME", 0.05)
        await raw.send(client_frame(TEXT, b"abc"))
        await raw.ended()

    async def test_another_client_notices_nothing(self, raw: RawWebSocket, address: Address) -> None:
        """One client's fault is its own."""
        async with websocket(address) as other:
            await raw.send(client_frame(TEXT, b"4\xff"))
            await raw.closed()
            await other.send("4still here")
            assert await other.receive() == "4still here"


class TestClosing:
    async def test_the_clients_close_is_answered_with_its_code(self, raw: RawWebSocket, engine: Engine) -> None:
        """The closing handshake ends the session as a transport close, and the connection is ended by the server."""
        await raw.send(client_frame(CLOSE, (1001).to_bytes(2, "big") + b"going away"))
        assert (await raw.closed()).code == 1001
        await raw.ended()
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    @pytest.mark.parametrize(("payload", "code"), [(b"", 1000), ((4321).to_bytes(2, "big"), 4321)])
    async def test_a_close_without_a_code_or_with_an_own_one_is_answered(
        self, raw: RawWebSocket, engine: Engine, payload: bytes, code: int
    ) -> None:
        """No code is answered as a normal end, an application's own code as it is."""
        await raw.send(client_frame(CLOSE, payload))
        assert (await raw.closed()).code == code
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_a_connection_that_is_cut_is_a_transport_close(self, raw: RawWebSocket, engine: Engine) -> None:
        """A client that goes away without a word, as a page that is left does."""
        raw.writer.transport.abort()
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_a_close_packet_ends_the_connection(self, raw: RawWebSocket, engine: Engine) -> None:
        """Engine.IO's own end is answered by a normal close."""
        await raw.send(client_frame(TEXT, b"1"))
        assert (await raw.closed()).code == 1000
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_a_client_that_closes_and_does_not_read_is_cut_off(
        self, raw: RawWebSocket, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is still to be written does not keep its connection open for ever."""
        monkeypatch.setattr("synkora.engine.transports.websocket.CLOSING_TIME", 0.05)
        session = engine.recorders[0].session
        while session.transport.writable:
            session.send(b"4" + bytes(100_000))
            await asyncio.sleep(0)
        await raw.send(client_frame(CLOSE, (1000).to_bytes(2, "big")))
        await until(lambda: engine.registry.open_websockets == 0)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_the_servers_close_comes_after_what_was_sent(self, raw: RawWebSocket, engine: Engine) -> None:
        """Last words arrive before the close frame, whose code says that the server restarts."""
        session = engine.recorders[0].session
        session.send(b"4last words")
        session.close(Reason.SERVER_SHUTTING_DOWN)
        assert await raw.text() == "4last words"
        closed = await raw.closed()
        assert (closed.code, closed.reason) == (1012, "server shutting down")

    async def test_what_comes_after_the_servers_close_is_not_taken(self, raw: RawWebSocket, engine: Engine) -> None:
        """A session that is over listens no more, though its client may still talk."""
        engine.recorders[0].session.close(Reason.FORCED_SERVER_CLOSE)
        await raw.send(client_frame(TEXT, b"4too late"), client_frame(PING, b"x"))
        await raw.closed()
        assert engine.recorders[0].messages == []


class TestHandshake:
    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("transport=websocket", 400),
            ("EIO=3&transport=websocket", 400),
            ("EIO=4", 400),
            ("EIO=4&transport=polling", 400),
            ("EIO=4&transport=websocket&sid=unknown", 400),
        ],
    )
    async def test_a_bad_request_is_refused_before_the_upgrade(self, address: Address, query: str, status: int) -> None:
        """The answer is an HTTP status and Engine.IO's error, and no WebSocket."""
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{address.port}{address.path}?{query}", proxy=None)
        response = refused.value.response
        assert response.status_code == status
        assert b'"code"' in response.body

    async def test_a_page_that_is_not_allowed_is_forbidden(self, address: Address) -> None:
        """Browsers let any page open a WebSocket: the server has to refuse."""
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(address.url("websocket"), origin="https://evil.net", proxy=None)  # type: ignore[arg-type]  # a str will do
        assert refused.value.response.status_code == 403

    async def test_another_path_is_not_found(self, address: Address) -> None:
        """WebSockets are for Engine.IO's path alone."""
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{address.port}/other/?EIO=4&transport=websocket", proxy=None)
        assert refused.value.response.status_code == 404

    @pytest.mark.parametrize(
        ("header", "status"), [("Sec-WebSocket-Version: 8", 426), ("Sec-WebSocket-Key: short", 400)]
    )
    async def test_a_handshake_that_is_none_is_refused(
        self, address: Address, engine: Engine, header: str, status: int
    ) -> None:
        """Another version, or a bad key, opens no session."""
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        target = address.url("websocket").removeprefix(f"ws://127.0.0.1:{address.port}")
        lines = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        name, _, value = header.partition(": ")
        lines[name] = value
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n"
        try:
            writer.write(head.encode())
            answer = await asyncio.wait_for(reader.read(65536), 5)
        finally:
            writer.close()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        assert engine.recorders == []

    async def test_a_server_that_stops_tells_new_clients(self, address: Address, engine: Engine) -> None:
        """Who comes while it shuts down is answered 503."""
        engine.registry.close()
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(address.url("websocket"), proxy=None)
        assert refused.value.response.status_code == 503

    async def test_the_request_is_kept_for_the_application(self, address: Address, engine: Engine) -> None:
        """Headers, query, address and the page that it came from are there as the client sent them."""
        headers = {"Cookie": "a=1; b=2", "X-Custom": "yes"}
        async with websocket(address, additional_headers=headers, origin="https://app.example.com"):
            request = engine.recorders[0].session.request
            assert (request.headers.get("cookie"), request.headers.get("x-custom")) == ("a=1; b=2", "yes")
            assert request.origin == "https://app.example.com"
            assert request.query == {"EIO": "4", "transport": "websocket"}
            assert request.address == "127.0.0.1"
            assert not request.secure


class TestUpgrade:
    async def test_a_second_websocket_of_a_session_is_closed(self, address: Address) -> None:
        """The first goes on, before and after its upgrade."""
        async with Polling(address) as client:
            await client.open()
            async with websocket(address, client.sid) as first:
                async with websocket(address, client.sid) as second:
                    await second.closed()
                await first.send("2probe")
                assert await first.receive() == "3probe"
                await first.send("5")
                async with websocket(address, client.sid) as third:
                    await third.closed()
                await first.send("4hello")
                assert await first.receive() == "4hello"

    async def test_a_probe_that_is_cut_leaves_the_session_polling(self, address: Address, engine: Engine) -> None:
        """A proxy that lets no WebSocket through costs the upgrade, not the connection."""
        async with Polling(address) as client:
            await client.open()
            async with raw_websocket(address, client.sid) as raw:
                await raw.send(client_frame(TEXT, b"2probe"))
                assert await raw.text() == "3probe"
            await until(lambda: engine.registry.open_websockets == 0)
            await client.post("4still here")
            assert await client.poll() == ["4still here"]
            assert engine.recorders[0].reasons == []

    async def test_a_probes_fault_is_closed_and_leaves_the_session(self, address: Address, engine: Engine) -> None:
        """A broken frame of a probe ends the probe alone."""
        async with Polling(address) as client:
            await client.open()
            async with raw_websocket(address, client.sid) as raw:
                await raw.send(client_frame(TEXT, b"2probe", rsv=1))
                await raw.closed()
            await client.post("4x")
            assert await client.poll() == ["4x"]
            assert engine.recorders[0].reasons == []


def deflate(payload: bytes) -> bytes:
    compress = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return (compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


class TestCompression:
    async def test_a_real_client_sends_and_receives_compressed_messages(self, address: Address) -> None:
        """The websockets library negotiates it, and large and small messages come back whole, again and again."""
        async with websocket(address, compression="deflate") as client:
            assert client.connection.response is not None
            assert client.connection.response.headers["Sec-WebSocket-Extensions"] == EXTENSION
            for text in ("4" + "large " * 5000, "4small", "4" + "grüße " * 500):
                await client.send(text)
                assert await client.receive() == text
            await client.send(bytes(5000))
            assert await client.receive() == bytes(5000)

    async def test_large_messages_are_small_on_the_wire(self, address: Address) -> None:
        """What reaches the threshold goes out compressed, the rest as it is."""
        async with raw_websocket(address, extensions="permessage-deflate") as raw:
            await raw.frame()
            await raw.send(client_frame(TEXT, deflate(b"4" + b"large " * 5000), rsv=4))
            frame = await raw.frame()
            assert frame.rsv1
            assert len(frame.data) < 1000
            await raw.send(client_frame(TEXT, b"4small"))
            frame = await raw.frame()
            assert (frame.rsv1, frame.data) == (False, b"4small")

    async def test_a_compressed_message_may_be_fragmented(self, address: Address) -> None:
        """The bit is on the first part alone, and the whole is inflated."""
        async with raw_websocket(address, extensions="permessage-deflate") as raw:
            await raw.frame()
            data = deflate(b"4fragmented")
            await raw.send(client_frame(TEXT, data[:4], fin=False, rsv=4), client_frame(CONTINUATION, data[4:]))
            assert await raw.text() == "4fragmented"

    @pytest.mark.parametrize(
        ("payload", "code"),
        [(deflate(b"4" + bytes(50_000_000)), 1009), (b"\xff\xff\xff\xff", 1002), (deflate(b"4\xff"), 1007)],
        ids=["a bomb", "no DEFLATE data", "no UTF-8"],
    )
    async def test_bad_compressed_data_is_closed_with_its_code(
        self, address: Address, engine: Engine, payload: bytes, code: int
    ) -> None:
        """A bomb is given up at the largest payload; garbage and bad text are what they are uncompressed."""
        async with raw_websocket(address, extensions="permessage-deflate") as raw:
            await raw.frame()
            await raw.send(client_frame(TEXT, payload, rsv=4))
            assert (await raw.closed()).code == code
        assert engine.recorders[0].messages == []

    async def test_a_client_that_does_not_offer_it_gets_none(self, raw: RawWebSocket) -> None:
        """Without the extension nothing is compressed."""
        await raw.send(client_frame(TEXT, b"4" + b"large " * 5000))
        frame = await raw.frame()
        assert (frame.rsv1, len(frame.data)) == (False, 30_001)

    async def test_a_server_that_has_it_switched_off_does_not_agree(self) -> None:
        """By default the offer is passed over."""
        async with serving_engine(Engine(echoes=True)) as address, websocket(address, compression="deflate") as client:
            assert client.connection.response is not None
            assert "Sec-WebSocket-Extensions" not in client.connection.response.headers
            await client.send("4" + "large " * 5000)
            assert await client.receive() == "4" + "large " * 5000


async def test_the_words_of_an_error_of_ours_are_not_the_clients(
    raw: RawWebSocket, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an unexpected error says is for the log: the close frame tells that there was one."""

    def fail(data: bytes) -> None:
        raise LookupError("postgres://user:password@database")

    monkeypatch.setattr(engine.recorders[0], "on_message", fail)
    with capture_logs() as logs:
        await raw.send(client_frame(TEXT, b"4hello"))
        assert (await raw.closed()).reason == "transport error"
    assert [entry["event"] for entry in logs] == ["receive_failed"]
