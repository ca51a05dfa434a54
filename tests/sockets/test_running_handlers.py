"""Handlers that run: one at a time if they are ordered, and within bounds."""

import asyncio

import pytest
from tests.support.servers import until

from synkora import EventRefused, Namespace, Socket, SocketServer
from synkora.sockets.namespace_core import MAX_RUNNING_SIZE
from synkora.testing import connect


@pytest.fixture
def server() -> SocketServer:
    return SocketServer()


class TestOrder:
    async def test_ordered_handlers_take_one_event_of_a_client_at_a_time(self, server: SocketServer) -> None:
        """In the order of the events, whatever their duration. Other clients do not wait."""
        steps: list[str] = []
        gate = asyncio.Event()

        @server.on("slow", ordered=True)
        async def slow(socket: Socket, name: str) -> str:
            steps.append(f"{name} begins")
            await gate.wait()
            steps.append(f"{name} ends")
            return name

        @server.on("quick", ordered=True)
        def quick(socket: Socket, name: str) -> str:
            steps.append(name)
            return name

        async with connect(server) as ada, connect(server) as bob:
            calls = [asyncio.create_task(ada.call(event, name)) for event, name in (("slow", "a"), ("quick", "b"))]
            await until(lambda: steps == ["a begins"])
            assert await bob.call("quick", "c") == "c"
            calls.append(asyncio.create_task(ada.call("slow", "d")))
            gate.set()
            assert await asyncio.gather(*calls) == ["a", "b", "d"]
            assert await ada.call("quick", "e") == "e"
        assert steps == ["a begins", "c", "a ends", "b", "d begins", "d ends", "e"]

    async def test_a_failure_does_not_delay_later_work(self, server: SocketServer) -> None:
        @server.on("fail", ordered=True)
        async def fail(socket: Socket) -> None:
            await asyncio.sleep(0)
            raise EventRefused("No")

        server.on("echo", lambda socket, value: value, ordered=True)
        async with connect(server) as client:
            client.emit("fail")
            assert await client.call("echo", 1) == 1

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_client_has_a_bound_on_handlers_that_have_not_ended(
        self, server: SocketServer, ordered: bool
    ) -> None:
        """Further events are refused, and accepted when a handler has ended."""
        main = server.add(Namespace("/", max_handlers=2))
        gate = asyncio.Event()

        @main.on("wait", ordered=ordered)
        async def wait(socket: Socket) -> str:
            await gate.wait()
            return "done"

        async with connect(server) as client:
            calls = [asyncio.create_task(client.call("wait")) for _ in range(2)]
            await asyncio.sleep(0.01)
            client.emit("wait")
            assert (await client.receive())[1]["message"] == "Too many events at a time: 2 are being handled"
            gate.set()
            assert await asyncio.gather(*calls) == ["done", "done"]
            assert await client.call("wait") == "done"

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_the_bytes_of_events_whose_handlers_have_not_ended_have_a_bound(
        self, server: SocketServer, ordered: bool
    ) -> None:
        """A thousand large events would be kept as objects. A single one may have the largest message size."""
        gate = asyncio.Event()

        @server.on("wait", ordered=ordered)
        async def wait(socket: Socket, value: str) -> str:
            await gate.wait()
            return "done"

        async with connect(server) as client:
            calls = [asyncio.create_task(client.call("wait", "x" * 900_000)) for _ in range(8)]
            await asyncio.sleep(0.01)
            client.emit("wait", "x" * 900_000)
            words = f"Too much at a time: {MAX_RUNNING_SIZE} bytes of events may be handled"
            assert (await client.receive())[1]["message"] == words
            gate.set()
            assert await asyncio.gather(*calls) == ["done"] * 8
            assert await client.call("wait", "x" * 900_000) == "done"
