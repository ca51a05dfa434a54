"""The contract of every WebSocket transport."""

import asyncio
import base64

import pytest
import websockets.exceptions
from tests.support.clients import Polling, websocket
from tests.support.servers import Address, Engine, until
from tests.support.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WebSocket,
    client_frame,
    raw_websocket,
)
from websockets.asyncio.client import connect
from websockets.frames import Opcode

from synkora.engine.close_reasons import Reason
from synkora.engine.origins import Origins

MAX = 100_000

ERRORS = {
    "a frame over the limit": ([client_frame(TEXT, b"4" + bytes(MAX))], 1009),
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
}


def echoing_engine() -> Engine:
    return Engine(echoes=True, max_payload=MAX, compression=True, origins=Origins(["https://app.example.com"]))


async def expect_refused_frames(raw: WebSocket, engine: Engine, frames: list[bytes], code: int) -> None:
    """Send frames that break the protocol: the connection is closed with `code`, and no message is delivered."""
    await raw.send(*frames, client_frame(TEXT, b"4after"))
    assert (await raw.closed()).code == code
    await raw.send(client_frame(CLOSE, code.to_bytes(2, "big")))
    await raw.ended()
    assert engine.recorders[0].messages == []
    assert len(engine.recorders[0].reasons) == 1
    assert len(engine.registry) == 0
    await until(lambda: engine.registry.open_websockets == 0)


class WebSocketContract:
    """For a test class with the fixtures `engine`, which echoes, `address`, and `raw`, its own client."""

    # Messages

    @pytest.mark.parametrize("size", [1, 124, 125, 126, 2_000, 65_535, 65_536, MAX])
    async def test_a_message_of_any_size_is_echoed(self, raw: WebSocket, size: int) -> None:
        """All three lengths of a frame's header are read and written, up to the largest payload."""
        payload = b"4" + b"x" * (size - 1)
        await raw.send(client_frame(TEXT, payload))
        assert (await raw.frame()).data == payload

    async def test_a_binary_message_is_echoed(self, raw: WebSocket) -> None:
        payload = bytes(range(256))
        await raw.send(client_frame(BINARY, payload))
        frame = await raw.frame()
        assert (frame.opcode, frame.data) == (Opcode.BINARY, payload)

    async def test_many_messages_in_one_segment_are_all_handled(self, raw: WebSocket) -> None:
        """One by one, with all answers in one write."""
        await raw.send(*(client_frame(TEXT, b"4%d" % number) for number in range(100)))
        assert [await raw.text() for _ in range(100)] == [f"4{number}" for number in range(100)]

    async def test_a_message_may_arrive_byte_by_byte(self, raw: WebSocket) -> None:
        """The network may split a frame anywhere."""
        for byte in client_frame(TEXT, b"4torn"):
            await raw.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await raw.text() == "4torn"

    @pytest.mark.parametrize("text", ["bAP/+", "bAP_-", "bAP\r\n/+"])
    async def test_a_binary_message_may_be_base64(self, raw: WebSocket, text: str) -> None:
        """A client with `forceBase64` sends its binary packets as text. The answer is binary without `b64=1`."""
        await raw.send(client_frame(TEXT, text.encode()))
        frame = await raw.frame()
        assert (frame.opcode, frame.data) == (Opcode.BINARY, b"\x00\xff\xfe")

    async def test_a_client_may_ask_for_base64(self, address: Address, engine: Engine) -> None:
        """With `b64=1` a client gets only text, of any size."""
        async with connect(address.url("websocket", b64="1"), proxy=None) as client:
            await client.recv()
            for data in (b"\x00\xff", bytes(5_000)):
                await client.send(data)
                assert await client.recv() == "b" + base64.b64encode(data).decode()
        assert engine.recorders[0].messages == [b"\x00\xff", bytes(5_000)]

    async def test_invalid_base64_closes_the_connection(self, raw: WebSocket, engine: Engine) -> None:
        await raw.send(client_frame(TEXT, b"b!!!!"))
        assert (await raw.closed()).code == 1002
        assert engine.recorders[0].messages == []

    # Fragments

    async def test_a_fragmented_text_is_one_message(self, raw: WebSocket, engine: Engine) -> None:
        text = "4grüße".encode()
        cut = text.index(b"\xc3") + 1
        await raw.send(
            client_frame(TEXT, text[:cut], fin=False),
            client_frame(CONTINUATION, b"", fin=False),
            client_frame(CONTINUATION, text[cut:]),
        )
        assert await raw.text() == "4grüße"
        assert engine.recorders[0].messages == ["grüße".encode()]

    async def test_a_fragmented_binary_is_one_message(self, raw: WebSocket) -> None:
        """The first fragment has the kind of the message."""
        await raw.send(client_frame(BINARY, b"\x01", fin=False), client_frame(CONTINUATION, b"\x02"))
        frame = await raw.frame()
        assert (frame.opcode, frame.data) == (Opcode.BINARY, b"\x01\x02")

    async def test_control_frames_may_arrive_between_fragments(self, raw: WebSocket) -> None:
        """A ping between two fragments is answered immediately, and the message stays complete."""
        await raw.send(
            client_frame(TEXT, b"4a", fin=False), client_frame(PING, b"are you there"), client_frame(PONG, b"unasked")
        )
        pong = await raw.frame()
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"are you there")
        await raw.send(client_frame(CONTINUATION, b"b"))
        assert await raw.text() == "4ab"

    async def test_two_fragmented_messages_follow_each_other(self, raw: WebSocket) -> None:
        for _ in range(2):
            await raw.send(client_frame(TEXT, b"4a", fin=False), client_frame(CONTINUATION, b"b"))
            assert await raw.text() == "4ab"

    # Errors

    async def test_earlier_messages_do_not_change_the_close_code(self, raw: WebSocket) -> None:
        """An error directly after an answered message has the same code as alone."""
        await raw.send(client_frame(TEXT, b"4hello"), client_frame(TEXT, b"4" + bytes(MAX)))
        assert (await raw.closed()).code == 1009

    @pytest.mark.parametrize("case", ERRORS)
    async def test_an_invalid_message_closes_with_its_code(self, raw: WebSocket, engine: Engine, case: str) -> None:
        """RFC 6455 section 7.4.1: each error has its code. Neither it nor anything after it is delivered."""
        await expect_refused_frames(raw, engine, *ERRORS[case])

    async def test_another_client_is_not_affected(self, raw: WebSocket, address: Address) -> None:
        async with websocket(address) as other:
            await raw.send(client_frame(TEXT, b"4\xff"))
            await raw.closed()
            await other.send("4still here")
            assert await other.receive() == "4still here"

    # Closing

    async def test_the_clients_close_is_answered_with_its_code(self, raw: WebSocket, engine: Engine) -> None:
        """The closing handshake ends the session as a transport close, and the server ends the connection."""
        await raw.send(client_frame(CLOSE, (1001).to_bytes(2, "big") + b"going away"))
        assert (await raw.closed()).code == 1001
        await raw.ended()
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_a_connection_that_is_cut_is_a_transport_close(self, raw: WebSocket, engine: Engine) -> None:
        """A client that leaves without a close frame, like a closed page."""
        raw.writer.transport.abort()
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_a_close_packet_ends_the_connection(self, raw: WebSocket, engine: Engine) -> None:
        """Engine.IO's own close is answered by a normal close."""
        await raw.send(client_frame(TEXT, b"1"))
        assert (await raw.closed()).code == 1000
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_the_servers_close_follows_earlier_messages(self, raw: WebSocket, engine: Engine) -> None:
        """The last messages arrive before the close frame, whose code says that the server restarts."""
        session = engine.recorders[0].session
        session.send(b"last words")
        session.close(Reason.SERVER_SHUTTING_DOWN)
        assert await raw.text() == "4last words"
        closed = await raw.closed()
        assert (closed.code, closed.reason) == (1012, "server shutting down")

    async def test_frames_after_the_servers_close_are_ignored(self, raw: WebSocket, engine: Engine) -> None:
        """The client may still send, but the session has ended."""
        engine.recorders[0].session.close(Reason.FORCED_SERVER_CLOSE)
        await raw.send(client_frame(TEXT, b"4too late"), client_frame(PING, b"x"))
        await raw.closed()
        assert engine.recorders[0].messages == []

    # Handshake

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
        """With an HTTP status and Engine.IO's error."""
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

    async def test_a_server_that_stops_tells_new_clients(self, address: Address, engine: Engine) -> None:
        """A handshake during the shutdown gets 503."""
        engine.registry.close()
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(address.url("websocket"), proxy=None)
        assert refused.value.response.status_code == 503

    async def test_the_request_is_kept_for_the_application(self, address: Address, engine: Engine) -> None:
        """Headers, query, address and origin, as the client sent them."""
        headers = {"Cookie": "a=1; b=2", "X-Custom": "yes"}
        async with websocket(address, additional_headers=headers, origin="https://app.example.com"):
            request = engine.recorders[0].session.request
            assert (request.headers.get("cookie"), request.headers.get("x-custom")) == ("a=1; b=2", "yes")
            assert request.origin == "https://app.example.com"
            assert request.query == {"EIO": "4", "transport": "websocket"}
            assert request.address == "127.0.0.1"
            assert not request.secure

    @pytest.mark.parametrize("offers", [["synkora"], ["v2.synkora", "v1.synkora"], ["b" * 4000, "a"]])
    async def test_the_first_subprotocol_offered_is_answered(self, address: Address, offers: list[str]) -> None:
        async with websocket(address, subprotocols=offers) as client:
            assert client.connection.subprotocol == offers[0]
            await client.send("4hello")
            assert await client.receive() == "4hello"

    async def test_a_client_that_offers_no_subprotocol_gets_none(self, address: Address) -> None:
        async with websocket(address) as client:
            assert client.connection.subprotocol is None

    # Upgrade

    async def test_a_second_websocket_of_a_session_is_closed(self, address: Address) -> None:
        """The first one continues, before and after its upgrade."""
        async with Polling(address) as client, websocket(address, client.sid) as first:
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
        """A proxy without WebSocket support costs the upgrade, not the connection."""
        async with Polling(address) as client:
            async with raw_websocket(address, client.sid) as raw:
                await raw.send(client_frame(TEXT, b"2probe"))
                assert await raw.text() == "3probe"
            await until(lambda: engine.registry.open_websockets == 0)
            await client.post("4still here")
            assert await client.poll() == ["4still here"]
            assert engine.recorders[0].reasons == []

    async def test_a_probes_fault_is_closed_and_leaves_the_session(self, address: Address, engine: Engine) -> None:
        """An invalid frame of a probe ends only the probe."""
        async with Polling(address) as client:
            async with raw_websocket(address, client.sid) as raw:
                await raw.send(client_frame(TEXT, b"2probe", rsv=1))
                await raw.closed()
            await client.post("4x")
            assert await client.poll() == ["4x"]
            assert engine.recorders[0].reasons == []
