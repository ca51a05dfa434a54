"""Events and acks in both directions, and their errors."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.clients import WebSocket, socketio, websocket
from tests.support.logs import capture_logs
from tests.support.servers import Address, until

from synkora import AckTimeout, EventRefused, Socket, SocketServer
from synkora.protocol.errors import InvalidPayload

DEEP = "[" * 10_000 + "]" * 10_000


async def answer_of(client: WebSocket, event: str, number: int = 1) -> str:
    await client.send(f"42{number}{event}")
    answer = await client.receive()
    assert isinstance(answer, str)
    return answer


async def error_of(client: WebSocket, packet: str) -> dict[str, Any]:
    """The payload of the `error` event that answers a packet."""
    await client.send(packet)
    name, error = await client.event()
    assert name == "error"
    assert isinstance(error, dict)
    return error


async def still_works(client: WebSocket) -> None:
    """Check that the `echo` handler answers."""
    await client.send('427["echo","x"]')
    assert await client.receive() == '437["x"]'


@pytest.fixture(autouse=True)
def echo(server: SocketServer) -> None:
    server.of("/").on("echo", lambda socket, *args: args)


class TestHandlers:
    async def test_functions_and_coroutines_get_the_arguments(self, server: SocketServer, address: Address) -> None:
        """Both are called with the socket and the event's arguments, and may emit."""
        main = server.of("/")

        @main.on("plain")
        def plain(socket: Socket, *args: object) -> None:
            socket.emit("plain back", *args)

        @main.on("later")
        async def later(socket: Socket, *args: object) -> None:
            await asyncio.sleep(0)
            socket.emit("later back", *args)

        async with socketio(address) as client:
            await client.emit("plain", 1, "two", {"3": [True, None]})
            assert await client.event() == ["plain back", 1, "two", {"3": [True, None]}]
            await client.emit("later")
            assert await client.event() == ["later back"]

    @pytest.mark.parametrize(
        ("returned", "ack"),
        [
            (None, "[]"),
            ("ok", '["ok"]'),
            (("a", 2), '["a",2]'),
            ((), "[]"),
            ([1, 2], "[[1,2]]"),
            (0, "[0]"),
            (False, "[false]"),
            ({"a": None}, '[{"a":null}]'),
        ],
    )
    async def test_a_handlers_result_is_the_ack(
        self, server: SocketServer, address: Address, returned: object, ack: str, either: Callable[..., Any]
    ) -> None:
        """A tuple is several arguments, None no argument, any other value one."""

        server.of("/").on("ask", either(lambda socket: returned))
        async with socketio(address) as client:
            assert await answer_of(client, '["ask"]', 456) == f"43456{ack}"

    async def test_an_event_without_an_id_is_not_acknowledged(self, server: SocketServer, address: Address) -> None:
        async with socketio(address) as client:
            await client.emit("echo", 1)
            assert await answer_of(client, '["echo",2]') == "431[2]"

    async def test_handlers_run_in_the_order_of_the_events(self, server: SocketServer, address: Address) -> None:
        """A plain function ends before the next event is handled."""
        seen: list[object] = []
        server.of("/").on("note", lambda socket, number: seen.append(number))
        async with socketio(address) as client:
            await client.send(*(f'42["note",{number}]' for number in range(50)))
            await still_works(client)
        assert seen == list(range(50))

    async def test_a_route_decodes_its_payload_itself(self, server: SocketServer, address: Address) -> None:
        """The handler gets the result of `decode` for the event's JSON array, with checked attachments."""
        seen: list[tuple[object, tuple[bytes, ...]]] = []

        def handle(socket: Socket, payload: int, attachments: tuple[bytes, ...]) -> str:
            seen.append((payload, attachments))
            return "done"

        server.of("/").route("size", len, handle)
        async with socketio(address) as client:
            assert await answer_of(client, '["size"]') == '431["done"]'
            await client.send('451-["size",{"_placeholder":true,"num":0}]', b"\x01")
            await still_works(client)
            assert seen == [(8, ()), (len('["size",{"_placeholder":true,"num":0}]'), (b"\x01",))]
            await client.send('451-["size",{"_placeholder":true,"num":1}]', b"\x01")
            await client.closed()
        assert len(seen) == 2


class TestBinary:
    async def test_bytes_keep_their_places(self, server: SocketServer, address: Address) -> None:
        """Attachments reach the handler as bytes, and bytes that it sends become attachments."""
        seen: list[object] = []

        @server.of("/").on("file")
        def take(socket: Socket, *args: object) -> tuple[object, ...]:
            seen.extend(args)
            socket.emit("file back", *args)
            return args

        async with socketio(address) as client:
            event = '["file",{"a":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}]'
            await client.send("452-9" + event, b"\x01\x02", b"\x03")
            assert seen == [] or seen
            renumbered = '{"a":[{"_placeholder":true,"num":0}]},{"_placeholder":true,"num":1}]'
            assert await client.receive_many(3) == ['452-["file back",' + renumbered, b"\x03", b"\x01\x02"]
            assert await client.receive_many(3) == ["462-9[" + renumbered, b"\x03", b"\x01\x02"]
        assert seen == [{"a": [b"\x03"]}, b"\x01\x02"]

    async def test_an_ack_of_the_client_may_be_binary(self, server: SocketServer, address: Address) -> None:
        """`call` returns the bytes."""
        async with socketio(address) as client:
            (socket,) = server.of("/").sockets.values()
            asking = asyncio.create_task(socket.call("give", b"\xff"))
            assert await client.receive_many(2) == ['451-0["give",{"_placeholder":true,"num":0}]', b"\xff"]
            await client.send('461-0[{"_placeholder":true,"num":0}]', b"\x01\x02")
            assert await asking == b"\x01\x02"

    async def test_the_maximum_of_attachments_is_accepted(self, address: Address) -> None:
        """Ten are accepted, eleven close the connection."""
        async with socketio(address) as client:
            placeholders = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
            await client.send(f'4510-["echo",{placeholders}]', *[b"x"] * 10)
            await still_works(client)
            await client.send('4511-["echo"]')
            await client.closed()


class TestCalls:
    @pytest.mark.parametrize(("args", "value"), [("[]", None), ("[1]", 1), ("[1,2]", 1), ("[[1,2]]", [1, 2])])
    async def test_the_clients_ack_is_returned(
        self, server: SocketServer, address: Address, args: str, value: object
    ) -> None:
        """Its first argument, or None. Ids count from 0."""
        async with socketio(address) as client:
            (socket,) = server.of("/").sockets.values()
            for number in range(2):
                asking = asyncio.create_task(socket.call("ask", "why"))
                assert await client.receive() == f'42{number}["ask","why"]'
                await client.send(f"43{number}{args}")
                assert await asking == value

    async def test_no_ack_in_time_is_a_timeout(self, server: SocketServer, address: Address) -> None:
        async with socketio(address) as client:
            (socket,) = server.of("/").sockets.values()
            with pytest.raises(AckTimeout, match=r"'ask': no ack within 0\.01 s"):
                await socket.call("ask", timeout=0.01)
            assert await client.receive() == '420["ask"]'
            await client.send("430[1]")
            await still_works(client)

    async def test_a_client_that_leaves_ends_the_wait(self, server: SocketServer, address: Address) -> None:
        """A pending `call` ends immediately, and so does a later one."""
        async with socketio(address) as client:
            (socket,) = server.of("/").sockets.values()
            asking = asyncio.create_task(socket.call("ask"))
            await client.receive()
        with pytest.raises(AckTimeout, match="'ask': the client left"):
            await asking
        with pytest.raises(AckTimeout, match="'ask': the client left"):
            await socket.call("ask")

    async def test_an_event_that_cannot_be_sent_leaves_no_pending_ack(
        self, server: SocketServer, address: Address
    ) -> None:
        """An argument that JSON cannot encode raises immediately, and the client can leave."""
        async with socketio(address):
            (socket,) = server.of("/").sockets.values()
            with pytest.raises(TypeError):
                await socket.call("ask", object())
            assert socket._acks is None or not socket._acks._pending

    @pytest.mark.parametrize("packet", ["43[1]", "431{}", "431", "43/other,1[]"])
    async def test_a_malformed_ack_closes_the_connection(self, address: Address, packet: str) -> None:
        """An ack needs an id and an array, in a joined namespace."""
        async with socketio(address) as client:
            await client.send(packet)
            await client.closed()

    async def test_an_ack_nested_too_deeply_is_answered(self, server: SocketServer, address: Address) -> None:
        """With an error. The connection stays open."""
        sockets: list[Socket] = []
        server.of("/").on_connect(lambda socket, _: sockets.append(socket))
        async with socketio(address) as client:
            call = asyncio.create_task(sockets[0].call("ask"))
            assert await client.receive() == '420["ask"]'
            error = await error_of(client, f"430[{DEEP}]")
            assert error == {"message": "ack: nested too deeply", "event": "ack"}
            await still_works(client)
            call.cancel()

    async def test_an_unexpected_ack_is_not_decoded(self, address: Address) -> None:
        """Its objects would cost far more than its bytes."""
        async with socketio(address) as client:
            await client.send(f"430[{DEEP}]")
            await still_works(client)


class TestErrors:
    async def test_a_handlers_error_is_answered_and_logged(
        self, server: SocketServer, address: Address, either: Callable[..., Any]
    ) -> None:
        """The sender gets no detail. The log has event, socket and error. The connection stays open."""

        def fail(socket: Socket, *args: object) -> None:
            raise RuntimeError("secret detail")

        server.of("/").on("fail", either(fail))
        with capture_logs() as logs:
            async with socketio(address) as client:
                (sid,) = server.of("/").sockets
                error = await error_of(client, '421["fail"]')
                assert error == {"message": "Internal server error", "event": "fail"}
                await still_works(client)
        (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
        assert (entry["event"], entry["eventName"], entry["socketId"]) == ("handler_failed", "fail", sid)
        assert entry["exception"].endswith("secret detail")

    @pytest.mark.parametrize("error", [EventRefused("Not here"), InvalidPayload("Not here")])
    async def test_a_refusal_has_its_message(self, server: SocketServer, address: Address, error: Exception) -> None:
        """It is no error of the server, and not logged as one."""

        @server.of("/").on("refuse")
        async def refuse(socket: Socket) -> None:
            raise error

        with capture_logs() as logs:
            async with socketio(address) as client:
                assert await error_of(client, '42["refuse"]') == {"message": "Not here", "event": "refuse"}
                await still_works(client)
        assert [entry for entry in logs if entry["log_level"] == "error"] == []

    async def test_an_unknown_event_is_answered(self, address: Address) -> None:
        """The answer has its shortened name, and the connection stays open."""
        async with socketio(address) as client:
            error = await error_of(client, '42["nobody:knows",1]')
            assert error == {"message": "Unknown event: nobody:knows", "event": "nobody:knows"}
            error = await error_of(client, json.dumps(["x" * 10_000]).join(["42", ""]))
            assert len(error["message"]) < 100
            await still_works(client)

    @pytest.mark.parametrize(
        "event",
        [
            f'["echo",{DEEP}]',
            f'["unknown",{DEEP}]',
            f'["ec\\u0068o",{DEEP}]',
            DEEP,
            '["echo",1e999]',
            '["unknown",1e999]',
        ],
        ids=["known", "unknown", "escaped", "nameless", "number", "number in unknown"],
    )
    async def test_undecodable_data_is_answered(self, address: Address, event: str) -> None:
        """Deep nesting and numbers out of range do not end the connection."""
        async with socketio(address) as client:
            error = await error_of(client, "42" + event)
            assert error["message"]
            await still_works(client)

    @pytest.mark.parametrize(
        "event",
        [
            '["echo",NaN]',
            '["unknown",NaN]',
            '["echo",',
            '["echo"]]',
            '["echo"x]',
            "[]",
            "[null]",
            '["connect"]',
            '["disconnect"]',
        ],
    )
    async def test_invalid_json_or_an_invalid_event_closes_the_connection(self, address: Address, event: str) -> None:
        """NaN, invalid arrays, a missing name and reserved ones break the protocol."""
        async with socketio(address) as client:
            await client.send("42" + event)
            await client.closed()

    async def test_an_ack_that_json_cannot_hold_is_answered(self, server: SocketServer, address: Address) -> None:
        """A handler's result may be invalid as well."""
        server.of("/").on("odd", lambda socket: object())
        with capture_logs() as logs:
            async with socketio(address) as client:
                assert (await error_of(client, '421["odd"]'))["message"] == "Internal server error"
                await still_works(client)
        assert logs[0]["event"] == "handler_failed"

    async def test_one_clients_faults_do_not_affect_another(self, server: SocketServer, address: Address) -> None:
        """Invalid packets of one client close only its connection."""
        async with socketio(address) as good:
            for packet in ("4abc", "42{}", '42abc["echo"]', "45", '42["echo",NaN]', "4", "x"):
                async with socketio(address) as bad:
                    await bad.send(packet)
                    await bad.closed()
            await still_works(good)
        await until(lambda: len(server._registry) == 0)


async def test_lone_surrogates_do_not_cost_the_connection(address: Address) -> None:
    """JavaScript may split a pair: the half arrives unchanged, in events and acks."""
    async with socketio(address) as client:
        assert await answer_of(client, r'["echo","\ud83d"]') == r'431["\ud83d"]'


async def test_sockets_that_have_left_can_be_used_without_harm(server: SocketServer, address: Address) -> None:
    """Emitting, joining and disconnecting after the end have no effect."""
    async with websocket(address) as client:
        await client.connect()
        (socket,) = server.of("/").sockets.values()
    await until(lambda: not socket.connected)
    socket.emit("x")
    socket.volatile.emit("x")
    socket.join("room")
    socket.leave("room")
    socket.disconnect()
    socket.disconnect(close=True)
    assert socket.rooms == frozenset()
    assert "room" not in server.of("/")._core.adapter.rooms
