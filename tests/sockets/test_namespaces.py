"""Namespaces as objects, as classes, and by patterns."""

import asyncio
import re
from typing import Any

import pytest

from synkora import ConnectRefused, Namespace, NamespaceHandlers, Socket, SocketServer, event
from synkora.recovery.memory import MemoryStore
from synkora.testing import ConnectError, connect


async def test_a_namespace_may_be_made_before_its_server() -> None:
    """With its handlers. It cannot send until a server has it."""
    chat = Namespace("/chat")
    chat.on("say", lambda socket, text: text.upper())
    with pytest.raises(RuntimeError, match=r"not part of a server yet: server\.add\(namespace\)"):
        chat.emit("news")
    server = SocketServer()
    assert server.add(chat) is chat
    assert server.of("/chat") is chat
    assert server.namespaces == {"/chat": chat}
    async with connect(server, "/chat") as client:
        assert await client.call("say", "hi") == "HI"
        chat.emit("news")
        assert await client.receive() == ["news"]


def test_a_namespace_is_part_of_one_server() -> None:
    chat, server = Namespace("/chat"), SocketServer()
    server.add(chat)
    with pytest.raises(ValueError, match="has a namespace /chat already"):
        server.add(Namespace("/chat"))
    server.on("say", lambda socket: None)
    with pytest.raises(ValueError, match="has a namespace / already: add it before the first on, use or emit"):
        server.add(Namespace("/", refusals="ack"))
    with pytest.raises(ValueError, match="/chat is part of a server already"):
        SocketServer().add(chat)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "chat"}, "'chat' is no namespace: it starts with / and has no comma"),
        ({"unknown": "drop"}, "unknown is one of 'refuse', 'ignore', not 'drop'"),
        ({"refusals": True}, "refusals is one of 'event', 'ack', not True"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Namespace(**options)


@pytest.mark.parametrize("option", ["max_handlers", "max_children"])
@pytest.mark.parametrize(
    ("value", "error"), [("drop", TypeError), (True, TypeError), (2.5, TypeError), (0, ValueError)]
)
def test_bounds_are_whole_numbers(option: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{option} is a (whole )?number.*, not {value}|{option} .*'{value}'"):
        Namespace("/", **{option: value})


class Unfinished(NamespaceHandlers):
    def __init__(self) -> None: ...


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (NamespaceHandlers, 'add takes an object of a class: server.add(NamespaceHandlers("/chat"))'),
        (Namespace, 'add takes an object of a class: server.add(Namespace("/chat"))'),
        ("/chat", "add takes a Namespace, or an object of a class of handlers, not '/chat'"),
        (Unfinished(), "Unfinished.__init__ does not call super().__init__(name)"),
    ],
    ids=["class", "namespace", "name", "unfinished"],
)
def test_an_invalid_namespace_is_not_added(added: Any, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        SocketServer().add(added)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (NamespaceHandlers, "the name of a namespace is a text, a pattern or a function of a name, not <class"),
        (5, "the name of a namespace is a text, a pattern or a function of a name, not 5"),
        (Namespace("/chat"), "of takes a name: an object goes to server.add"),
        (NamespaceHandlers("/chat"), "of takes a name: an object goes to server.add"),
    ],
    ids=["class", "number", "namespace", "handlers"],
)
def test_an_invalid_name_makes_no_namespace(name: Any, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        SocketServer().of(name)


async def test_the_servers_own_methods_are_its_main_namespaces() -> None:
    server = SocketServer()
    server.on("say", lambda socket, text: text)
    assert server.namespaces.keys() == {"/"}
    async with connect(server) as client:
        assert await client.call("say", "hi") == "hi"


class Chat(NamespaceHandlers):
    def __init__(self, name: str = "/chat", **options: Any) -> None:
        super().__init__(name, **options)
        self.log: list[object] = []

    def on_connect(self, socket: Socket, auth: dict[str, Any]) -> None:
        if "name" not in auth:
            raise ConnectRefused("Who are you?")

    async def on_say(self, socket: Socket, text: str) -> str:
        self.namespace.emit("said", text)
        return "delivered"

    @event("message:edit")
    def edit(self, socket: Socket, number: int) -> int:
        return number

    def on_disconnect(self, socket: Socket, reason: str) -> None:
        self.log.append(reason)


async def test_the_methods_of_a_class_are_handlers() -> None:
    """`on_say` handles `say`, a decorator gives another name, and lifecycle hooks are methods as well."""
    server, chat = SocketServer(), Chat()
    assert server.add(chat) is chat.namespace
    with pytest.raises(ConnectError, match="Who are you"):
        async with connect(server, "/chat"):
            pass
    async with connect(server, "/chat", auth={"name": "Ada"}) as client:
        assert await client.call("say", "hi") == "delivered"
        assert await client.receive() == ["said", "hi"]
        assert await client.call("message:edit", 5) == 5
    assert chat.log == ["client namespace disconnect"]


@pytest.mark.parametrize(
    "pattern", [re.compile(r"/room-\d+"), lambda name: name.startswith("/room-")], ids=["pattern", "function"]
)
async def test_a_pattern_makes_namespaces_when_clients_ask_for_them(pattern: Any) -> None:
    """Each has its own sockets and rooms, and the handlers that were registered before."""
    server = SocketServer()
    rooms = server.of(pattern)
    rooms.on("where", lambda socket: socket.namespace)
    rooms.on_server_side("x", lambda: None)
    assert server.namespaces == {}
    async with connect(server, "/room-1") as one, connect(server, "/room-2") as two:
        assert await one.call("where") == "/room-1"
        assert await two.call("where") == "/room-2"
        server.of("/room-1").emit("news")
        assert await one.receive() == ["news"]
        assert two.received() == []
    assert server.namespaces.keys() == {"/room-1", "/room-2"}
    with pytest.raises(ConnectError, match="Invalid namespace"):
        async with connect(server, "/hall"):
            pass


async def test_a_pattern_has_a_bound() -> None:
    """Clients could make any number of namespaces otherwise. Existing ones can still be joined."""
    server = SocketServer()
    server.add(Namespace(re.compile(r"/\d+"), max_children=2))
    async with connect(server, "/1"), connect(server, "/2"), connect(server, "/1"):
        with pytest.raises(ConnectError, match="Invalid namespace"):
            async with connect(server, "/3"):
                pass


async def test_an_empty_namespace_makes_room_for_another() -> None:
    """Clients that request very many names, and are refused or leave, do not lock the others out."""
    server = SocketServer()
    rooms = server.add(Namespace(re.compile(r"/\d+"), max_children=2))

    @rooms.use
    def check(socket: Socket, auth: dict[str, Any]) -> None:
        if "name" not in auth:
            raise ConnectRefused("Who are you?")

    async with connect(server, "/0", auth={"name": "Ada"}):
        for number in range(1, 10):
            with pytest.raises(ConnectError, match="Who are you"):
                async with connect(server, f"/{number}"):
                    pass
            async with connect(server, f"/{number}", auth={"name": "Bob"}) as client:
                assert client.connected
        assert server.namespaces.keys() == {"/0", "/9"}


async def test_a_namespace_that_decides_on_a_client_is_not_empty() -> None:
    """Otherwise the client would be alone in a namespace that the server no longer has."""
    server, decided = SocketServer(), asyncio.Event()
    rooms = server.add(Namespace(re.compile(r"/\d+"), max_children=1))

    @rooms.on_connect
    async def welcome(socket: Socket, auth: dict[str, Any]) -> None:
        await decided.wait()

    async def come() -> None:
        async with connect(server, "/1") as client:
            assert client.connected

    coming = asyncio.create_task(come())
    while "/1" not in server.namespaces:
        await asyncio.sleep(0)
    with pytest.raises(ConnectError, match="Invalid namespace"):
        async with connect(server, "/2"):
            pass
    decided.set()
    await coming
    async with connect(server, "/2") as client:
        assert client.connected


async def test_nothing_is_stored_of_a_dropped_namespace() -> None:
    """Recovery would keep a log and sessions for each name otherwise."""
    server = SocketServer(recovery=True)
    server.add(Namespace(re.compile(r"/\d+"), max_children=1))
    for name in ("/1", "/2"):
        async with connect(server, name):
            server.of(name).emit("news")
    store = server._recovery
    assert isinstance(store, MemoryStore)
    assert store._logs.keys() == store._sessions.keys() == {"/2"}


@pytest.mark.parametrize("name", ["/" + "1" * 200, "/1#"], ids=["long", "#"])
async def test_names_that_no_dynamic_namespace_has(name: str) -> None:
    """A pattern may take long for a long name, and other servers split names at the #."""
    server = SocketServer()
    server.of(re.compile(r"/.*"))
    async with connect(server, name[:-1]):
        pass
    with pytest.raises(ConnectError, match="Invalid namespace"):
        async with connect(server, name):
            pass


async def test_a_method_use_of_a_class_is_middleware() -> None:
    """A class that checks its clients is effective."""

    class Admin(NamespaceHandlers):
        def use(self, socket: Socket, auth: dict[str, Any]) -> None:
            if auth.get("token") != "right":
                raise ConnectRefused("Wrong token")

    server = SocketServer()
    server.add(Admin("/admin"))
    async with connect(server, "/admin", auth={"token": "right"}) as client:
        assert client.connected
    with pytest.raises(ConnectError, match="Wrong token"):
        async with connect(server, "/admin"):
            pass
