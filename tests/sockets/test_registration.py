"""The registration of handlers: several per event, catch-all, before CONNECT, and mistakes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pytest
from tests.support.logs import capture_logs
from tests.support.servers import until

from synkora import ConnectRefused, EventRefused, Namespace, Socket, SocketServer
from synkora.testing import ConnectError, connect


@dataclass
class Point:
    x: int


@pytest.fixture
def server() -> SocketServer:
    return SocketServer()


class TestSeveralHandlers:
    @pytest.mark.parametrize("late", [False, True], ids=["functions", "coroutines"])
    async def test_they_run_in_the_order_of_their_registration(self, server: SocketServer, late: bool) -> None:
        """Each begins when the previous one has ended. The first result that is not None is the ack."""
        steps: list[str] = []

        def handler(name: str, result: object) -> Any:
            async def later(socket: Socket, value: int) -> object:
                steps.append(f"{name} begins")
                await asyncio.sleep(0)
                steps.append(f"{name} ends")
                return result

            def now(socket: Socket, value: int) -> object:
                steps.extend((f"{name} begins", f"{name} ends"))
                return result

            return later if late else now

        for name, result in (("a", None), ("b", 1), ("c", 2)):
            server.on("say", handler(name, result))
        async with connect(server) as client:
            assert await client.call("say", 5) == 1
        assert steps == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]

    async def test_functions_and_coroutines_mix(self, server: SocketServer) -> None:
        async def first(socket: Socket) -> None:
            await asyncio.sleep(0)

        async def third(socket: Socket) -> str:
            return "third"

        server.on("say", first)
        server.on("say", lambda socket: None)
        server.on("say", third)
        async with connect(server) as client:
            assert await client.call("say") == "third"

    async def test_a_refusal_ends_the_row(self, server: SocketServer) -> None:
        called: list[int] = []

        @server.on("say")
        async def refuse(socket: Socket) -> None:
            raise EventRefused("No")

        server.on("say", lambda socket: called.append(1))
        async with connect(server) as client:
            client.emit("say")
            assert (await client.receive("error"))[1]["message"] == "No"
        assert called == []

    async def test_off_removes_one_or_all(self, server: SocketServer) -> None:
        first, second = server.on("say", lambda socket: 1), server.on("say", lambda socket: 2)
        async with connect(server) as client:
            server.off("say", first)
            assert await client.call("say") == 2
            with pytest.raises(ValueError, match="'say' has no such handler"):
                server.off("say", first)
            server.on("say", first)
            server.off("say")
            client.emit("say")
            assert (await client.receive("error"))[1]["message"] == "Unknown event: say"
        with pytest.raises(ValueError, match="no such handler"):
            server.off("say", second)

    async def test_once_is_for_the_next_event_of_any_client(self, server: SocketServer) -> None:
        seen: list[str] = []

        @server.once("say")
        def first(socket: Socket) -> str:
            seen.append(socket.id)
            return "first"

        server.on("say", lambda socket: "always")
        async with connect(server) as ada, connect(server) as bob:
            assert await ada.call("say") == "first"
            assert await bob.call("say") == "always"
            assert await ada.call("say") == "always"
        assert seen == [ada.id]


class TestAnyEvent:
    async def test_a_catch_all_sees_every_event_before_its_handlers(self, server: SocketServer) -> None:
        """Also events without a handler, with their arguments. Its result is no ack."""
        seen: list[Any] = []

        @server.on_any
        async def watch(socket: Socket, event: str, *args: object) -> str:
            seen.append((event, *args))
            return "ignored"

        @server.on("say")
        def say(socket: Socket, text: str) -> str:
            seen.append("handled")
            return text

        async with connect(server) as client:
            assert await client.call("say", "hi") == "hi"
            client.emit("what", 1, b"\x00")
            client.emit("say", "again")
            await until(lambda: len(seen) >= 5)
            assert seen == [("say", "hi"), "handled", ("what", 1, b"\x00"), ("say", "again"), "handled"]
            server.off_any(watch)
            assert await client.call("say", "last") == "last"
        assert len(seen) == 6
        with pytest.raises(ValueError, match="no such handler"):
            server.off_any(watch)

    async def test_a_catch_all_may_refuse(self, server: SocketServer) -> None:
        @server.on_any
        def check(socket: Socket, event: str, *args: object) -> None:
            if "admin" in event:
                raise EventRefused("Not for you")

        server.on("admin:kick", lambda socket: "kicked")
        async with connect(server) as client:
            client.emit("admin:kick")
            assert (await client.receive())[1] == {"message": "Not for you", "event": "admin:kick"}

    async def test_unknown_events_may_have_a_handler(self, server: SocketServer) -> None:
        server.on("say", lambda socket: "said")
        server.on_unknown(lambda socket, event, *args: [event, *args])
        async with connect(server) as client:
            assert await client.call("what", 1) == ["what", 1]
            assert await client.call("say") == "said"

    async def test_unknown_events_may_be_ignored(self, server: SocketServer) -> None:
        """As Socket.IO on Node.js does: neither an answer nor an ack."""
        main = server.add(Namespace("/", unknown="ignore"))
        main.on("say", lambda socket: "said")
        async with connect(server) as client:
            client.emit("what", 1)
            assert await client.call("say") == "said"
            assert client.received() == []

    async def test_emits_can_be_watched(self, server: SocketServer) -> None:
        """Emits of this server to one socket or to many, once for each emit."""
        seen: list[Any] = []
        server.on_any_outgoing(lambda event, *args: seen.append((event, *args)))

        @server.on("say")
        async def say(socket: Socket) -> None:
            socket.emit("one", 1)
            socket.volatile.emit("two")
            server.emit("three")
            (remote,) = await server.fetch_sockets()
            remote.emit("four")
            await socket.call("five", timeout=1)

        async with connect(server) as client:
            client.answers["five"] = lambda: None
            client.emit("say")
            await client.receive("five")
        assert seen == [("one", 1), ("two",), ("three",), ("four",), ("five",)]


class TestConnecting:
    async def test_middleware_runs_before_the_handler_of_connect(self, server: SocketServer) -> None:
        """In the order of registration, with a shared `data` of the socket."""
        steps: list[object] = []

        @server.use
        async def sign_in(socket: Socket, auth: dict[str, Any]) -> None:
            await asyncio.sleep(0)
            if "name" not in auth:
                raise ConnectRefused("Who are you?")
            socket.data["name"] = auth["name"]

        @server.use
        def log(socket: Socket) -> None:
            steps.append(("middleware", socket.data["name"]))

        @server.on_connect
        def welcome(socket: Socket) -> None:
            steps.append(("handler", socket.data["name"]))
            socket.emit("welcome")

        async with connect(server, auth={"name": "Ada"}) as client:
            assert await client.receive() == ["welcome"]
        with pytest.raises(ConnectError, match="Who are you"):
            async with connect(server):
                pass
        assert steps == [("middleware", "Ada"), ("handler", "Ada")]

    @pytest.mark.parametrize("place", ["use", "on_connect"])
    async def test_a_check_that_returns_false_refuses_the_client(
        self, server: SocketServer, place: str, either: Callable[..., Any]
    ) -> None:
        """As in python-socketio: ported code with `return False` must not admit everyone."""

        def decide(socket: Socket, auth: dict[str, Any]) -> bool:
            return auth.get("name") == "Ada"

        getattr(server, place)(either(decide))
        if place == "use":
            server.on_connect(lambda socket: None)
        async with connect(server, auth={"name": "Ada"}) as client:
            assert client.connected
        with pytest.raises(ConnectError, match="Connection refused"):
            async with connect(server, auth={"name": "Eve"}):
                pass

    @pytest.mark.parametrize(
        "register", ["on_connect", "on_disconnect", "on_disconnecting", "before_event", "before_ack", "on_unknown"]
    )
    def test_a_second_handler_is_refused(self, server: SocketServer, register: str) -> None:
        """It would silently replace the first one."""
        main = server.of("/")
        getattr(main, register)(lambda *args: None)
        with pytest.raises(ValueError, match="already"):
            getattr(main, register)(lambda *args: None)

    async def test_a_socket_that_is_leaving_is_in_its_rooms_still(self, server: SocketServer) -> None:
        """`on_disconnecting` can send to them. `on_disconnect` comes after the leave."""
        seen: list[object] = []
        server.on_connect(lambda socket: socket.join("lobby"))

        @server.on_disconnecting
        def leaving(socket: Socket, reason: str) -> None:
            seen.append((sorted(socket.rooms - {socket.id}), reason))
            for room in socket.rooms:
                socket.to(room).emit("leaving", socket.id)

        server.on_disconnect(lambda socket, reason: seen.append((socket.rooms, reason)))
        async with connect(server) as ada:
            async with connect(server) as bob:
                pass
            assert await ada.receive() == ["leaving", bob.id]
        assert seen[:2] == [(["lobby"], "client namespace disconnect"), (frozenset(), "client namespace disconnect")]

    async def test_a_failure_on_disconnecting_is_logged(self, server: SocketServer) -> None:
        gone: list[str] = []

        @server.on_disconnecting
        def fail(socket: Socket, reason: str) -> None:
            raise RuntimeError("of the test")

        server.on_disconnect(lambda socket, reason: gone.append(reason))
        with capture_logs() as logs:
            async with connect(server):
                pass
        assert [(entry["event"], entry["eventName"]) for entry in logs] == [("handler_failed", "disconnecting")]
        assert gone == ["client namespace disconnect"]

    def test_a_coroutine_on_disconnecting_is_refused(self, server: SocketServer) -> None:
        async def late(socket: Socket, reason: str) -> None: ...

        with pytest.raises(TypeError, match="takes a def"):
            server.on_disconnecting(late)  # type: ignore[arg-type]  # the mistake


class TestMistakes:
    @pytest.mark.parametrize(
        ("event", "error", "words"),
        [
            (lambda socket: None, TypeError, r'the event has no name: @namespace.on\("name"\)'),
            (5, TypeError, "the name of an event is a text, not 5"),
            ("*", ValueError, "on_any sees every event, and on_unknown handles those without a handler"),
            ("", ValueError, "the name of an event is empty"),
            ("connect", ValueError, "use on_connect"),
            ("connection", ValueError, "use on_connect"),
            ("disconnect", ValueError, "use on_disconnect"),
            ("disconnecting", ValueError, "use on_disconnecting"),
            ("newListener", ValueError, "a word of Socket.IO's own"),
        ],
    )
    @pytest.mark.parametrize("register", ["on", "once"])
    def test_an_invalid_event_is_refused(
        self, server: SocketServer, register: str, event: Any, error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            getattr(server, register)(event)

    @pytest.mark.parametrize("register", ["on_disconnect", "on_disconnecting"])
    @pytest.mark.parametrize(
        ("handler", "found"),
        [
            (lambda socket: None, r"\(socket\)"),
            (lambda socket, reason, details: None, r"\(socket, reason, details\)"),
        ],
        ids=["too few", "too many"],
    )
    def test_a_disconnect_handler_takes_a_socket_and_a_reason(
        self, server: SocketServer, register: str, handler: Any, found: str
    ) -> None:
        with pytest.raises(TypeError, match=rf"the handler of {register} takes \(socket, reason\), not {found}"):
            getattr(server, register)(handler)
        getattr(server, register)(lambda socket, reason, details=None: None)

    @pytest.mark.parametrize(
        "register",
        [lambda server: server.on("say"), *map(attrgetter, ("on_connect", "use", "on_disconnect", "on_unknown"))],
        ids=["on", "on_connect", "use", "on_disconnect", "on_unknown"],
    )
    def test_the_first_argument_is_the_socket(self, server: SocketServer, register: Any) -> None:

        def with_id(sid: str, *args: object) -> None: ...
        def with_payload(message: Point, *args: object) -> None: ...
        def with_values(values: "dict[str, int]", *args: object) -> None: ...
        def with_anything(socket: object, *args: object) -> None: ...
        def with_an_unknown(socket: "NotDefined", *args: object) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # the case

        for handler, words in (
            (with_id, "gets the socket first: sid is a Socket, not a str"),
            (with_payload, "gets the socket first: message is a Socket, not a Point"),
            (with_values, "gets the socket first: values is a Socket, not a dict"),
        ):
            with pytest.raises(TypeError, match=words):
                register(server)(handler)
        register(server)(with_anything)
        register(SocketServer())(with_an_unknown)

    @pytest.mark.parametrize("register", ["on_any", "on_unknown"])
    def test_a_catch_all_takes_the_events_name_and_any_arguments(self, server: SocketServer, register: str) -> None:
        for handler in (lambda socket, event: None, lambda socket, event, first, *args: None):
            with pytest.raises(TypeError, match=r"takes \(socket, event, \*args\)"):
                getattr(server, register)(handler)

    @pytest.mark.parametrize("handler", [lambda event: None, lambda socket, event, *args: None, lambda: None])
    def test_a_watcher_of_emits_takes_any_arguments(self, server: SocketServer, handler: Any) -> None:
        """Otherwise each emit would fail."""
        with pytest.raises(TypeError, match=r"the handler of on_any_outgoing takes \(event, \*args\)"):
            server.on_any_outgoing(handler)
        server.on_any_outgoing(lambda *args: None)

    async def test_a_room_is_a_text(self, server: SocketServer) -> None:
        """A number would be a room that other servers cannot name."""
        main = server.of("/")
        async with connect(server):
            (socket,) = main.sockets.values()
            for call in (socket.join, socket.leave, socket.to, socket.in_, socket.except_, server.to, server.in_):
                with pytest.raises(TypeError, match="the name of a room is a text, not 123"):
                    call(123)  # type: ignore[arg-type]  # the mistake

    async def test_a_room_has_no_half_of_a_surrogate_pair(self, server: SocketServer) -> None:
        """UTF-8 cannot represent it, so adapters and stores could not name the room. Clients choose names."""
        main = server.of("/")
        async with connect(server):
            (socket,) = main.sockets.values()
            everyone = main.everyone
            for call in (
                *(socket.join, socket.leave, socket.to, socket.in_, socket.except_, server.to, server.in_),
                *(server.except_, socket.volatile.to, everyone.to("a").except_, main.sockets_join, main.sockets_leave),
            ):
                with pytest.raises(ValueError, match=r"a room has half of a surrogate pair: '\\ud800'"):
                    call("a", "é\ud800")
            assert socket.rooms == {socket.id}
            with pytest.raises(ValueError, match=r"a user has half of a surrogate pair: '\\udc00'"):
                socket.identity = "\udc00"
            socket.identity = socket.data["name"] = "é🚀"
            socket.join("é🚀")
            assert socket.rooms == {socket.id, "é🚀"}

    async def test_rooms_are_left_together(self, server: SocketServer) -> None:
        main = server.of("/")
        async with connect(server):
            (socket,) = main.sockets.values()
            socket.join("a", "b", "c")
            socket.leave("a", "b", "unknown")
            assert socket.rooms == {socket.id, "c"}
            assert [each.id for each in await server.in_("c").fetch_sockets()] == [socket.id]
            assert await server.in_("a").fetch_sockets() == []


@pytest.mark.parametrize(
    "name", ["use", "on_connect", "on_any", "on_unknown", "on_any_outgoing", "on_disconnect", "on_disconnecting"]
)
def test_a_decorator_with_empty_parentheses_says_that_it_has_none(name: str) -> None:
    """By its public name, for a server and for a namespace."""
    for target in (SocketServer(), Namespace("/chat")):
        with pytest.raises(TypeError, match=rf"^{name} takes a handler: .* no parentheses, @server\.{name}$"):
            getattr(target, name)()


def test_an_event_is_declared_once(server: SocketServer) -> None:
    server.declare("said", str)
    with pytest.raises(ValueError, match="'said' is declared already"):
        server.declare("said", str)


def test_a_description_is_no_argument(server: SocketServer) -> None:
    """A type under this name was meant as an argument."""
    with pytest.raises(TypeError, match=r"declare\('said'\): description is a text, and no name of an argument"):
        server.declare("said", description=str)  # type: ignore[arg-type]  # that is the mistake
