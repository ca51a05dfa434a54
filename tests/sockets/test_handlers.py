"""Results of handlers: awaitables of any kind, failures of any kind, and values that JSON cannot encode."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.support.clients import Polling, socketio, websocket
from tests.support.logs import capture_logs
from tests.support.servers import Address, until

from synkora import ConnectRefused, EventRefused, Socket, SocketServer

INTERNAL = '44{"message":"Internal server error"}'


def future_of(result: object) -> "asyncio.Future[Any]":
    """A future that ends later, with `result` or with it as an exception."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle() -> None:
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    asyncio.get_running_loop().call_soon(settle)
    return future


def cancelled() -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


async def wait_for_cancelled() -> None:
    await cancelled()


def ask_for_cancelled() -> Any:
    return cancelled().result()


#: Each way in which what a handler waits for, or asks for its result, may have been cancelled.
CANCELLED: dict[str, Callable[[], Any]] = {
    "future": cancelled,
    "coroutine": wait_for_cancelled,
    "function": ask_for_cancelled,
}
every_cancellation = pytest.mark.parametrize("result", CANCELLED.values(), ids=list(CANCELLED))


async def expect_logged_disconnect(address: Address) -> None:
    """Connect and disconnect: the handler's failure is logged."""
    with capture_logs() as logs:
        async with socketio(address):
            pass
        await until(lambda: logs)
    assert [(entry["event"], entry["eventName"]) for entry in logs] == [("handler_failed", "disconnect")]


async def expect_error_and_log(server: SocketServer, address: Address) -> None:
    """Emit `ask`: its failure is answered and logged, and the connection stays open."""
    server.of("/").on("echo", lambda socket: "still here")
    with capture_logs() as logs:
        async with socketio(address) as client:
            await client.emit("ask")
            assert (await client.event())[0] == "error"
            await client.send('421["echo"]')
            assert await client.receive() == '431["still here"]'
    assert [(entry["event"], entry["eventName"]) for entry in logs] == [("handler_failed", "ask")]


class TestRefusals:
    @pytest.fixture(params=["websocket", "polling"])
    async def connect(
        self, address: Address, request: pytest.FixtureRequest
    ) -> AsyncIterator[Callable[[str], Awaitable[str | bytes]]]:
        """Sends a CONNECT with an `auth`, and returns its answer."""
        if request.param == "websocket":
            async with websocket(address) as client:

                async def by_websocket(auth: str) -> str | bytes:
                    await client.send("40" + auth)
                    return await client.receive()

                yield by_websocket
            return
        async with Polling(address) as polling:

            async def by_polling(auth: str) -> str | bytes:
                assert (await polling.post("40" + auth)).status_code == 200
                (answer,) = await polling.poll()
                return answer

            yield by_polling

    async def test_data_that_json_cannot_hold(
        self, server: SocketServer, connect: Callable[[str], Awaitable[str | bytes]], either: Callable[..., Any]
    ) -> None:
        """The refusal becomes an internal error, which is logged. The client may try again."""

        def refuse(socket: Socket, auth: dict[str, Any]) -> None:
            if not auth:
                raise ConnectRefused("no", object())

        server.of("/").on_connect(either(refuse))
        with capture_logs() as logs:
            assert await connect("") == INTERNAL
        assert [(entry["event"], entry["eventName"]) for entry in logs] == [("handler_failed", "connect")]
        assert server.of("/").sockets == {}
        assert str(await connect('{"again":1}')).startswith('40{"sid"')

    async def test_details_of_an_event_that_json_cannot_hold(
        self, server: SocketServer, address: Address, either: Callable[..., Any]
    ) -> None:
        """The refusal becomes an internal error, which is logged. The connection stays open."""

        def refuse(socket: Socket) -> None:
            raise EventRefused("no", why=object())

        server.of("/").on("ask", either(refuse))
        server.of("/").on("echo", lambda socket: "still here")
        with capture_logs() as logs:
            async with socketio(address) as client:
                await client.emit("ask")
                assert await client.event() == ["error", {"message": "Internal server error", "event": "ask"}]
                await client.send('421["echo"]')
                assert await client.receive() == '431["still here"]'
        assert [(entry["event"], entry["eventName"]) for entry in logs] == [("handler_failed", "ask")]


class TestFutures:
    async def test_of_on_connect_decides(self, server: SocketServer, address: Address) -> None:
        """Nobody is admitted before it is done, and its refusal counts."""
        verdicts: list[object] = [ConnectRefused("not you"), None]
        server.of("/").on_connect(lambda socket, auth: future_of(verdicts.pop(0)))
        async with websocket(address) as client:
            await client.send("40")
            assert await client.receive() == '44{"message":"not you"}'
            await client.connect()

    @pytest.mark.parametrize("as_task", [True, False], ids=["task", "future"])
    async def test_of_an_event_is_the_ack(self, server: SocketServer, address: Address, as_task: bool) -> None:
        async def answer() -> tuple[str, int]:
            return "a", 2

        server.of("/").on("ask", lambda socket: asyncio.ensure_future(answer()) if as_task else future_of(("a", 2)))
        async with socketio(address) as client:
            await client.send('427["ask"]')
            assert await client.receive() == '437["a",2]'

    async def test_of_an_event_that_fails_is_answered(self, server: SocketServer, address: Address) -> None:
        """Like an error in a coroutine. The connection stays open."""
        server.of("/").on("ask", lambda socket: future_of(RuntimeError("of the test")))
        await expect_error_and_log(server, address)

    async def test_of_on_disconnect_is_awaited(self, server: SocketServer, address: Address) -> None:
        server.of("/").on_disconnect(lambda socket, reason: future_of(RuntimeError("of the test")))
        await expect_logged_disconnect(address)


class TestCancelledWork:
    @every_cancellation
    async def test_in_on_connect_refuses(
        self, server: SocketServer, address: Address, result: Callable[[], Any]
    ) -> None:
        """With an internal error, which is logged. The client may try again."""
        main, results = server.of("/"), [result]
        main.on_connect(lambda socket, auth: results.pop()() if results else None)
        with capture_logs() as logs:
            async with websocket(address) as client:
                await client.send("40")
                assert await client.receive() == INTERNAL
                await client.connect()
        assert [entry["eventName"] for entry in logs] == ["connect"]

    @every_cancellation
    async def test_in_an_event_is_answered(
        self, server: SocketServer, address: Address, result: Callable[[], Any]
    ) -> None:
        """Like any other failure. The connection stays open."""
        server.of("/").on("ask", lambda socket: result())
        await expect_error_and_log(server, address)

    @every_cancellation
    async def test_in_on_disconnect_is_logged(
        self, server: SocketServer, address: Address, result: Callable[[], Any]
    ) -> None:
        server.of("/").on_disconnect(lambda socket, reason: result())
        await expect_logged_disconnect(address)


class TestEmitting:
    @pytest.mark.parametrize("name", ["connect", "connect_error", "disconnect", "disconnecting"])
    async def test_reserved_names_are_not_events(self, server: SocketServer, address: Address, name: str) -> None:
        """The emit raises: clients would mistake the event for another."""
        async with socketio(address) as client:
            (socket,) = server.of("/").sockets.values()
            with pytest.raises(ValueError, match=name):
                socket.emit(name)
            with pytest.raises(ValueError, match=name):
                server.to("room").emit(name)
            with pytest.raises(ValueError, match=name):
                await socket.call(name, timeout=1)
            socket.emit("fine")
            assert await client.event() == ["fine"]

    async def test_from_a_thread_it_raises_and_later_emits_work(self, server: SocketServer, address: Address) -> None:
        """The handler's failure is answered, and other clients still get their events."""

        async def shout(socket: Socket) -> None:
            await asyncio.sleep(0)  # into its own turn
            await asyncio.to_thread(socket.emit, "from a thread")

        server.of("/").on("shout", shout)
        async with socketio(address) as client, socketio(address) as other:
            with capture_logs() as logs:
                await client.emit("shout")
                assert (await client.event())[0] == "error"
            assert "no running event loop: what is sent from another thread goes" in logs[0]["exception"]
            server.emit("news")
            assert await client.event() == ["news"]
            assert await other.event() == ["news"]

    async def test_sockets_is_a_copy(self, server: SocketServer, address: Address) -> None:
        """A loop over it may disconnect sockets, and changes to it have no effect."""
        main = server.of("/")
        async with socketio(address), socketio(address), socketio(address):
            main.sockets.clear()
            assert len(main.sockets) == 3
            for socket in main.sockets.values():
                socket.disconnect()
            assert main.sockets == {}
