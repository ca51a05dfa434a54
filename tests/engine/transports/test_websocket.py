import asyncio
import functools
import logging
import zlib
from contextlib import AsyncExitStack
from math import inf
from typing import Any

import pytest
import websockets.exceptions
from picows import WSAutoPingStrategy
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # it is private
from tests.contracts.websocket import WebSocketContract, echoing_engine, expect_refused_frames
from tests.support.clients import websocket
from tests.support.logs import capture_logs
from tests.support.processes import PATIENCE
from tests.support.servers import Address, Engine, most_in_one_turn, serving_engine, until
from tests.support.sessions import turn
from tests.support.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    WebSocket,
    client_frame,
    raw_websocket,
    upgrade,
)
from websockets.asyncio.client import connect

from synkora.engine.close_reasons import Reason
from synkora.engine.transports.websocket_protocol import MAX_READ, WebSocketProtocol
from synkora.engine.turn_budget import TurnBudget
from synkora.protocol.websocket import EXTENSION


@pytest.fixture
def engine() -> Engine:
    return echoing_engine()


async def test_connections_with_one_budget_share_the_turns() -> None:
    """Not each of them has a read in each turn. Each gets all of its messages, large ones too, in order."""
    engine = Engine()
    messages = [b"%d" % number + b"x" * (60_000 if number == 700 else 20) for number in range(1500)]
    data = b"".join(client_frame(TEXT, b"4" + message) for message in messages)
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_websocket(address)) for _ in range(6)]
        for client in clients:
            await client.text()
        engine.share(TurnBudget(1e-9))
        for client in clients:
            client.writer.write(data)
        received = [recorder.messages for recorder in engine.recorders]
        in_one_turn = await most_in_one_turn(lambda: sum(map(len, received)), 6 * 1500)
    assert in_one_turn <= MAX_READ // 20
    assert received == [messages] * 6


async def test_clients_that_have_not_signed_in_share_the_turns(engine: Engine) -> None:
    """Floods of their packets delay nobody else, however many they are."""
    engine.registry.strangers.share = 1e-9
    data = b"".join(client_frame(TEXT, b"4x") for _ in range(10))
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_websocket(address)) for _ in range(20)]
        for client in clients:
            await client.text()
            client.writer.write(data)
        assert await most_in_one_turn(lambda: sum(len(each.messages) for each in engine.recorders), 20 * 10) <= 20


async def test_handshakes_that_come_at_once_share_the_turns(engine: Engine) -> None:
    """A client that leaves before its turn gets no session."""
    engine.registry.arrivals.share = 1e-9
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        clients = [await WebSocket.open(address.port) for _ in range(20)]
        for client in clients:
            stack.callback(client.abort)
            client.writer.write(upgrade(path=address.path))
        assert await most_in_one_turn(lambda: len(engine.registry), len(clients)) <= 2
        for client in clients:
            assert await client.status() == 101
            assert (await client.text()).startswith("0")
        gone = await WebSocket.open(address.port)
        for _ in range(5):
            clients.append(await WebSocket.open(address.port))
            stack.callback(clients[-1].abort)
            clients[-1].writer.write(upgrade(path=address.path))
        gone.writer.write(upgrade(path=address.path))
        gone.abort()
        for client in clients[20:]:
            assert await client.status() == 101
    await until(lambda: not len(engine.registry))
    assert engine.registry.open_websockets == 0


async def test_the_last_messages_of_a_lost_connection_wait_for_their_turn(engine: Engine) -> None:
    """They have been received, and are handled before the end. What the server answers is dropped."""
    async with serving_engine(engine) as address, raw_websocket(address) as client:
        await client.text()
        (recorder,) = engine.recorders
        recorder.session.budget = budget = TurnBudget(share=0)
        client.writer.write(b"".join(client_frame(TEXT, text) for text in (b"4one", b"4two")) + client_frame(CLOSE))
        await until(lambda: budget._waiting)
        client.abort()
        transport: Any = recorder.session.transport

        def is_lost() -> bool:
            recorder.session.send(b"to a client that is gone")
            return bool(transport._connection.is_closing())

        await until(is_lost)
        await turn()
        budget.share = inf
        budget._begin_turn()
        assert recorder.messages == [b"one", b"two"]
        assert recorder.reasons == [Reason.TRANSPORT_CLOSE]
        assert engine.registry.open_websockets == 0


async def test_a_lost_connection_that_has_not_signed_in_ends_at_once(engine: Engine) -> None:
    """It would count for the limit of clients until its turn."""
    async with serving_engine(engine) as address, raw_websocket(address) as client:
        await client.text()
        (recorder,) = engine.recorders
        strangers = engine.registry.strangers
        strangers.share = 0
        client.writer.write(client_frame(TEXT, b"4one"))
        await until(lambda: strangers._waiting)
        transport: Any = recorder.session.transport
        transport._connection.abort()
        await until(lambda: recorder.reasons)
        strangers.share = inf
        strangers._begin_turn()
        assert recorder.messages == []
        assert len(engine.registry) == 0


async def test_connections_that_end_together_share_the_turns(engine: Engine) -> None:
    """A user, or a network, may lose thousands at once. What is sent to them meanwhile is dropped."""
    async with serving_engine(engine) as address, AsyncExitStack() as stack:
        for _ in range(30):
            await (await stack.enter_async_context(raw_websocket(address))).text()
        engine.registry.endings.share = 1e-9
        for recorder in engine.recorders:
            transport: Any = recorder.session.transport
            transport._connection.abort()

        def ended() -> int:
            for recorder in engine.recorders:
                recorder.session.send(b"to a client that is gone")
            return sum(bool(recorder.reasons) for recorder in engine.recorders)

        assert await most_in_one_turn(ended, 30) <= 2
        assert [recorder.reasons for recorder in engine.recorders] == [[Reason.TRANSPORT_CLOSE]] * 30
        assert (len(engine.registry), engine.registry.open_websockets) == (0, 0)


async def test_messages_after_the_end_of_a_lost_connections_session_are_ignored(engine: Engine) -> None:
    async with serving_engine(engine) as address, raw_websocket(address) as client:
        await client.text()
        (recorder,) = engine.recorders
        recorder.session.budget = budget = TurnBudget(share=0)
        client.writer.write(client_frame(TEXT, b"4one"))
        await until(lambda: budget._waiting)
        transport: Any = recorder.session.transport
        transport._connection.abort()
        await turn()
        recorder.session.send(b"the last message")  # closing a session would raise where it cannot be written
        recorder.session.close(Reason.SERVER_SHUTTING_DOWN)
        budget.share = inf
        budget._begin_turn()
        assert (recorder.messages, recorder.reasons) == ([], [Reason.SERVER_SHUTTING_DOWN])
        assert engine.registry.open_websockets == 0


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
    """Its constructor is not public: this pins the positional arguments."""
    WSProtocol(**PICOWS_ARGUMENTS)
    values = list(PICOWS_ARGUMENTS.values())
    with pytest.raises(TypeError, match="exactly 15 positional"):
        WSProtocol(*values, None)
    for position, name in enumerate(PICOWS_ARGUMENTS):
        with pytest.raises(TypeError, match=f"multiple values for keyword argument '{name}'"):
            WSProtocol(*values[: position + 1], **{name: values[position]})


async def test_the_protocol_is_made_as_uvicorn_makes_one() -> None:
    """With configuration, state and application by name."""
    make = functools.partial(WebSocketProtocol, Engine().registry)
    assert isinstance(make(config=None, server_state=None, app_state=None), asyncio.BaseProtocol)


class TestWebSocket(WebSocketContract):
    pass


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
    "a frame that says it is of an exabyte": ([b"\x81\xff\x0f" + b"\xff" * 7 + bytes(4)], 1009),
    "a close frame of one byte": ([client_frame(CLOSE, b"\x03")], 1002),
    "a close frame with the first reserved bit": ([client_frame(CLOSE, b"\x03\xe8", rsv=4)], 1002),
    "a close frame with all reserved bits": ([client_frame(CLOSE, b"\x03\xe8", rsv=7)], 1002),
    **{
        f"a close frame with the code {code}": ([client_frame(CLOSE, code.to_bytes(2, "big"))], 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    "a close frame with a code of nobody": ([client_frame(CLOSE, b"\x00\x01")], 1002),
    "a close frame whose words are no UTF-8": ([client_frame(CLOSE, b"\x03\xe8\xff")], 1007),
}


class TestErrors:
    @pytest.mark.parametrize("case", ERRORS)
    async def test_a_protocol_error_closes_with_its_code(self, raw: WebSocket, engine: Engine, case: str) -> None:
        """RFC 6455 section 7.4.1: each error has its code. Neither it nor anything after it is delivered."""
        await expect_refused_frames(raw, engine, *ERRORS[case])

    async def test_a_client_that_does_not_answer_the_close_is_cut_off(
        self, raw: WebSocket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("synkora.engine.transports.websocket.CLOSING_TIME", 0.05)
        await raw.send(client_frame(TEXT, b"abc"))
        await raw.ended()


class TestClosing:
    @pytest.mark.parametrize(("payload", "code"), [(b"", 1000), ((4321).to_bytes(2, "big"), 4321)])
    async def test_a_close_without_a_code_or_with_an_own_one_is_answered(
        self, raw: WebSocket, engine: Engine, payload: bytes, code: int
    ) -> None:
        await raw.send(client_frame(CLOSE, payload))
        assert (await raw.closed()).code == code
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_of_two_close_frames_the_first_is_answered(self, raw: WebSocket, engine: Engine) -> None:
        """RFC 6455 section 5.5.1: nothing counts after a close frame, not even in the same segment."""
        first, second = (client_frame(CLOSE, code.to_bytes(2, "big")) for code in (1001, 3000))
        await raw.send(first, second)
        assert (await raw.closed()).code == 1001
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]

    async def test_messages_before_a_bad_frame_are_answered(self, raw: WebSocket, engine: Engine) -> None:
        """Also in the same segment. The answer comes before the close frame."""
        await raw.send(client_frame(TEXT, b"4good"), client_frame(3, b"4bad"), client_frame(TEXT, b"4after"))
        assert await raw.text() == "4good"
        assert (await raw.closed()).code == 1002
        await until(lambda: engine.recorders[0].reasons)
        assert engine.recorders[0].messages == [b"good"]
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]

    async def test_a_client_that_closes_and_does_not_read_is_cut_off(
        self, raw: WebSocket, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pending writes do not keep its connection open."""
        monkeypatch.setattr("synkora.engine.transports.websocket.CLOSING_TIME", 0.05)
        session = engine.recorders[0].session
        while session.transport.writable:
            session.send(bytes(100_000))
            await asyncio.sleep(0)
        await raw.send(client_frame(CLOSE, (1000).to_bytes(2, "big")))
        await until(lambda: engine.registry.open_websockets == 0)
        assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]


class TestHandshake:
    async def test_another_path_is_not_found(self, address: Address) -> None:
        """WebSockets are served only at Engine.IO's path."""
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{address.port}/other/?EIO=4&transport=websocket", proxy=None)
        assert refused.value.response.status_code == 404

    @pytest.mark.parametrize(
        ("header", "status"), [("Sec-WebSocket-Version: 8", 426), ("Sec-WebSocket-Key: short", 400)]
    )
    async def test_an_invalid_handshake_is_refused(
        self, address: Address, engine: Engine, header: str, status: int
    ) -> None:
        """Another version or an invalid key opens no session."""
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        target = address.url("websocket").removeprefix(f"ws://127.0.0.1:{address.port}")
        lines = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        name, _, value = header.partition(": ")
        lines[name] = value
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n"
        try:
            writer.write(head.encode())
            answer = await asyncio.wait_for(reader.read(65536), PATIENCE)
        finally:
            writer.close()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        assert engine.recorders == []


def deflate(payload: bytes) -> bytes:
    compress = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return (compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


class TestCompression:
    async def test_a_real_client_sends_and_receives_compressed_messages(self, address: Address) -> None:
        """The websockets library negotiates compression, and gets large and small messages back."""
        async with websocket(address, compression="deflate") as client:
            assert client.connection.response is not None
            assert client.connection.response.headers["Sec-WebSocket-Extensions"] == EXTENSION
            for text in ("4" + "large " * 5000, "4small", "4" + "grüße " * 500):
                await client.send(text)
                assert await client.receive() == text
            await client.send(bytes(5000))
            assert await client.receive() == bytes(5000)

    async def test_large_messages_are_small_on_the_wire(self, address: Address) -> None:
        """From the threshold up they are compressed, smaller ones are not."""
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
        """The reserved bit is only on the first fragment."""
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
        """A compression bomb is refused at the largest payload. Invalid data and text fail like uncompressed ones."""
        async with raw_websocket(address, extensions="permessage-deflate") as raw:
            await raw.frame()
            await raw.send(client_frame(TEXT, payload, rsv=4))
            assert (await raw.closed()).code == code
        assert engine.recorders[0].messages == []

    async def test_a_client_that_does_not_offer_it_gets_none(self, raw: WebSocket) -> None:
        await raw.send(client_frame(TEXT, b"4" + b"large " * 5000))
        frame = await raw.frame()
        assert (frame.rsv1, len(frame.data)) == (False, 30_001)

    async def test_a_server_that_has_it_switched_off_does_not_agree(self) -> None:
        async with serving_engine(Engine(echoes=True)) as address, websocket(address, compression="deflate") as client:
            assert client.connection.response is not None
            assert "Sec-WebSocket-Extensions" not in client.connection.response.headers
            await client.send("4" + "large " * 5000)
            assert await client.receive() == "4" + "large " * 5000


async def test_messages_of_internal_errors_are_not_sent_to_clients(
    raw: WebSocket, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has an unexpected error's message. The close frame only says that there was one."""

    def fail(data: bytes) -> None:
        raise LookupError("postgres://user:password@database")

    monkeypatch.setattr(engine.recorders[0], "on_message", fail)
    with capture_logs() as logs:
        await raw.send(client_frame(TEXT, b"4hello"))
        assert (await raw.closed()).reason == "transport error"
    assert [entry["event"] for entry in logs] == ["receive_failed"]
