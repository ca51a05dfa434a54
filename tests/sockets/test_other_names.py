"""Names of python-socketio and of Socket.IO on Node.js: the error has the replacement."""

import re
from typing import Any

import pytest
from tests.docs.documents import ROOT
from tests.support.logs import capture_logs

from synkora import ConnectRefused, EventRefused, Namespace, NamespaceHandlers, Socket, SocketServer
from synkora.sockets import other_names
from synkora.testing import ConnectError, connect


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("cors_allowed_origins", 'takes no cors_allowed_origins: origins=["https://app.example"]'),
        ("async_mode", "takes no async_mode: leave it out, asyncio is the only mode"),
        ("client_manager", 'takes no client_manager: adapter=RedisAdapter.from_url("redis://…")'),
        ("logger", 'takes no logger: configure the logger "synkora" of logging'),
        ("perMessageDeflate", "takes no perMessageDeflate: compression=True"),
        ("pingInterval", "takes no pingInterval: ping_interval is its name here, and durations are seconds"),
        ("ping_intervall", "takes no ping_intervall: did you mean ping_interval?"),
        ("volume", "takes no volume: it takes ping_interval, ping_timeout, "),
    ],
)
def test_an_option_of_another_server_is_refused_with_ours(option: str, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"SocketServer {words}")):
        SocketServer(**{option: "x"})  # type: ignore[arg-type]  # there are no others


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("room", 'takes no room: server.to("room").emit(event, …)'),
        ("to", 'takes no to: server.to("room").emit(event, …), or socket.emit(event, …) to one client'),
        ("skip_sid", 'takes no skip_sid: socket.to("room").emit(event, …), or server.except_(socket.id)'),
        ("callback", "takes no callback: await socket.call(event, …)"),
        ("namespace", 'takes no namespace: server.of("/chat").emit(event, …)'),
        ("volume", "takes no volume"),
    ],
)
async def test_an_argument_of_another_emit_is_refused_with_ours(argument: str, words: str) -> None:
    server = SocketServer()
    main = server.of("/")
    async with connect(server) as client:
        (socket,) = main.sockets.values()
        emits = (server.emit, main.emit, socket.emit, main.to("a").emit, server.volatile.emit, socket.volatile.emit)
        for emit in emits:
            with pytest.raises(TypeError, match=re.escape(f"emit {words}")):
                emit("x", 1, **{argument: "a"})  # type: ignore[arg-type]  # that is the mistake
        calls = (server.call, main.call, socket.call, main.to("a").call, socket.volatile.call)
        for call in calls:
            with pytest.raises(TypeError, match=re.escape(f"call {words}")):
                await call("x", 1, **{argument: "a"})  # type: ignore[arg-type]  # that is the mistake
        socket.emit("last")
        assert await client.receive() == ["last"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("enter_room", 'SocketServer has no enter_room: socket.join("room")'),
        ("event", 'SocketServer has no event: @server.on("say")'),
        ("fetchSockets", "SocketServer has no fetchSockets: fetch_sockets"),
        ("volume", "'SocketServer' object has no attribute 'volume'"),
        ("_volume", "'SocketServer' object has no attribute '_volume'"),
    ],
)
def test_a_method_of_another_server_is_missing_with_ours(name: str, words: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(words)):
        getattr(SocketServer(), name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("emit", "Chat has no emit: self.namespace.emit"),
        ("enter_room", 'Chat has no enter_room: socket.join("room")'),
        ("fetchSockets", "Chat has no fetchSockets: self.namespace.fetch_sockets"),
        ("volume", "'Chat' object has no attribute 'volume'"),
    ],
)
def test_a_class_of_handlers_says_where_the_methods_are(name: str, words: str) -> None:
    """python-socketio's classes have them themselves."""

    class Chat(NamespaceHandlers): ...

    with pytest.raises(AttributeError, match=re.escape(words)):
        getattr(Chat("/chat"), name)


def test_a_namespace_knows_the_names_too() -> None:
    with pytest.raises(AttributeError, match=re.escape('Namespace has no enter_room: socket.join("room")')):
        _ = Namespace("/chat").enter_room  # type: ignore[attr-defined]  # that is the mistake


@pytest.mark.parametrize("register", ["on_connect", "use"])
@pytest.mark.parametrize(
    "handler", [lambda sid, environ: None, lambda sid, environ, auth: None, lambda socket, auth, more: None]
)
def test_the_request_is_no_argument(register: str, handler: Any) -> None:
    """A payload under the name of the request would be mistaken for the request."""
    with pytest.raises(TypeError, match=re.escape("takes (socket) or (socket, auth): the request is socket.handshake")):
        getattr(SocketServer(), register)(handler)


async def test_an_attribute_of_another_socket_is_missing_with_ours() -> None:
    server = SocketServer()
    main = server.of("/")
    async with connect(server):
        (socket,) = main.sockets.values()
        for name, words in (
            ("sid", "Socket has no sid: socket.id"),
            ("enter_room", 'Socket has no enter_room: socket.join("room")'),
            ("session", "Socket has no session: socket.data"),
            ("on", "Socket has no on: handlers are registered once for all clients, @server.on(event)"),
            ("emitWithAck", "Socket has no emitWithAck: await socket.call"),
            ("volume", "'Socket' object has no attribute 'volume'"),
        ):
            with pytest.raises(AttributeError, match=re.escape(words)):
                getattr(socket, name)


@pytest.mark.parametrize("register", ["on", "once"])
def test_a_handlers_namespace_is_no_argument(register: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f'{register} takes no namespace: server.of("/chat").on(event)')):
        getattr(SocketServer(), register)("say", namespace="/chat")


@pytest.mark.parametrize("names", [other_names.OPTIONS, other_names.SENDING, other_names.METHODS], ids=len)
def test_the_names_are_in_the_page_about_them(names: dict[str, str]) -> None:
    page = (ROOT / "docs/from-python-socketio.md").read_text(encoding="utf-8")
    known = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    javascript = {"listen", "per_message_deflate"}
    assert set(names) - javascript <= known


class Foreign(Exception):
    """python-socketio's exception of this name is not Python's own."""


Foreign.__name__ = "ConnectionRefusedError"


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ConnectRefused("No"), "EventRefused refuses an event"),
        (ConnectionRefusedError("No"), "EventRefused refuses an event"),
        (Foreign("No"), "EventRefused refuses an event"),
        (ConnectionRefusedError(111, "Connection refused"), None),
        (ValueError("No"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_the_log_names_what_refuses_an_event(error: Exception, hint: str | None) -> None:
    server = SocketServer()

    @server.on("say")
    def say(socket: Socket) -> None:
        raise error

    with capture_logs() as logs:
        async with connect(server) as client:
            client.emit("say")
            assert (await client.receive())[1] == {"message": "Internal server error", "event": "say"}
    (entry,) = logs
    assert entry.get("hint") == hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (EventRefused("No"), "ConnectRefused refuses a client"),
        (ConnectionRefusedError("No"), "ConnectRefused refuses a client"),
        (ConnectionRefusedError(111, "Connection refused"), None),
    ],
    ids=["EventRefused", "ConnectionRefusedError", "of a socket"],
)
@pytest.mark.parametrize("register", ["on_connect", "use"])
async def test_the_log_names_what_refuses_a_client(register: str, error: Exception, hint: str | None) -> None:
    server = SocketServer()

    def decide(socket: Socket) -> None:
        raise error

    getattr(server, register)(decide)

    with capture_logs() as logs, pytest.raises(ConnectError, match="Internal server error"):
        async with connect(server):
            pass
    (entry,) = logs
    assert entry.get("hint") == hint


@pytest.mark.parametrize("register", ["on_disconnect", "on_disconnecting"])
async def test_nothing_refuses_an_end(register: str) -> None:
    server = SocketServer()

    def gone(socket: Socket, reason: str) -> None:
        raise ConnectRefused("No")

    getattr(server, register)(gone)

    with capture_logs() as logs:
        async with connect(server):
            pass
    assert [entry.get("hint") for entry in logs] == [None]
