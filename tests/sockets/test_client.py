"""CONNECT, its refusal, and messages before and after it."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.support.clients import Polling, websocket
from tests.support.logs import capture_logs
from tests.support.page import Page
from tests.support.servers import Address, most_in_one_turn, serving, until
from tests.support.wire import BINARY, TEXT, client_frame, raw_websocket

from synkora import ConnectRefused, Socket, SocketServer
from synkora.sockets.internals import session_of


async def test_a_client_connects_and_gets_an_id_of_its_own(server: SocketServer, address: Address) -> None:
    """The socket's id is public and differs from the session's secret id."""
    async with websocket(address) as client:
        sid = await client.connect()
        assert sid in server.of("/").sockets
        assert len(sid) == 20
        assert sid != client.handshake["sid"]


async def test_emits_of_the_handler_follow_the_reply(server: SocketServer, address: Address) -> None:
    """In order, from a function or a coroutine. Rooms joined there count."""
    main = server.of("/")

    @main.on_connect
    async def welcome(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("one", socket.id)
        socket.join("room")
        await asyncio.sleep(0)
        socket.emit("two", auth)

    async with websocket(address) as client:
        sid = await client.connect(auth={"token": "abc"})
        assert await client.event() == ["one", sid]
        assert await client.event() == ["two", {"token": "abc"}]
        server.to("room").emit("to the room")
        assert await client.event() == ["to the room"]


async def test_a_plain_function_may_welcome(server: SocketServer, address: Address) -> None:
    """Its emits come after the reply as well."""

    @server.of("/").on_connect
    def welcome(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("hello", auth)

    async with websocket(address) as client:
        await client.connect()
        assert await client.event() == ["hello", {}]


@pytest.mark.parametrize("when", ["before the reply", "after the reply"])
async def test_a_second_connect_is_a_repeat(server: SocketServer, address: Address, when: str) -> None:
    """A page whose two hooks both connect sends two CONNECTs: the first one decides, and one reply comes."""
    welcomed: list[object] = []
    gate = asyncio.Event()

    @server.of("/").on_connect
    async def welcome(socket: Socket, auth: dict[str, Any]) -> None:
        welcomed.append(auth)
        await gate.wait()

    server.of("/").on("echo", lambda socket, value: value)
    async with websocket(address) as client:
        await client.send('40{"token":"a"}')
        if when == "before the reply":
            await client.send('40{"token":"b"}')
        await until(lambda: welcomed)
        gate.set()
        reply = await client.receive()
        assert isinstance(reply, str)
        assert reply.startswith('40{"sid"')
        if when == "after the reply":
            await client.send('40{"token":"b"}')
        await client.send('421["echo",1]')
        assert await client.receive() == "431[1]"
    assert welcomed == [{"token": "a"}]


async def test_clients_that_connect_at_once_share_the_turns(server: SocketServer, address: Address) -> None:
    """A client that leaves before its turn is not connected."""
    welcomed: list[Socket] = []
    main = server.of("/")
    main.on_connect(lambda socket, auth: welcomed.append(socket))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_websocket(address)) for _ in range(20)]
        server._registry.arrivals.share = 1e-9
        for client in clients:
            await client.text()
        for client in clients:
            client.writer.write(client_frame(TEXT, b"40"))
        clients.pop().abort()
        assert await most_in_one_turn(lambda: len(main.sockets), len(clients)) <= 2
        for client in clients:
            assert (await client.text()).startswith("40")
    await until(lambda: not main.sockets)
    assert len(welcomed) in (19, 20)
    assert not main._core.deciding


async def test_very_many_connects_of_one_address_do_not_delay_other_addresses(
    server: SocketServer, address: Address
) -> None:
    order: list[str] = []
    main, arrivals = server.of("/"), server._registry.arrivals
    main.on_connect(lambda socket, auth: order.append(session_of(socket).request.address))
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(raw_websocket(address, source=source))
            for source in (*["127.0.0.1"] * 20, "127.0.0.2")
        ]
        for client in clients:
            await client.text()
        arrivals.share = 0  # no turn
        *rivals, last = clients
        for client in rivals:
            client.writer.write(client_frame(TEXT, b"40"))
        await until(lambda: main._core.deciding == len(rivals))
        last.writer.write(client_frame(TEXT, b"40"))
        await until(lambda: main._core.deciding == len(clients))
        arrivals.share = 1e-9  # a turn for each
        arrivals._begin_turn()
        await until(lambda: len(order) == len(clients))
    assert order[:3] == ["127.0.0.1", "127.0.0.2", "127.0.0.1"]


async def test_messages_behind_a_connect_that_waits_for_a_turn_are_kept(server: SocketServer, address: Address) -> None:
    """In order, with attachments, and up to another CONNECT. Each client is answered as without a wait."""
    server.of("/").on("echo", lambda socket, *args: args)
    server.of("/admin").on("echo", lambda socket, *args: args)
    server._registry.arrivals.share = 1e-9
    texts = [b"40", b'421["echo",1]', b'451-2["echo",{"_placeholder":true,"num":0}]']
    frames = [*(client_frame(TEXT, text) for text in texts), client_frame(BINARY, b"two")]
    frames += [client_frame(TEXT, text) for text in (b'423["echo",3]', b"40/admin,", b'42/admin,4["echo",4]')]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_websocket(address)) for _ in range(10)]
        for client in clients:
            await client.text()
        for client in clients:
            client.writer.write(b"".join(frames))
        for client in clients:
            assert (await client.text()).startswith('40{"sid"')
            assert [await client.text() for _ in range(2)] == ["431[1]", '461-2[{"_placeholder":true,"num":0}]']
            assert (await client.frame()).data == b"two"
            assert await client.text() == "433[3]"
            assert (await client.text()).startswith('40/admin,{"sid"')
            assert await client.text() == "43/admin,4[4]"


async def test_messages_of_connected_namespaces_do_not_wait_for_a_connect(server: SocketServer) -> None:
    """They have the size of any message, with attachments or not. Those of the other namespace wait."""
    sizes: list[int] = []
    for name in ("/", "/admin"):
        server.of(name).on("size", lambda socket, *parts: sizes.extend(map(len, parts)))
    page = await Page(server).come()
    arrivals = server._registry.arrivals
    arrivals.share = 1e-9
    for _ in range(3):
        arrivals.run(lambda: None)  # other clients
    page.send("40/admin,")
    page.send('42/admin,["size","of admin"]')
    page.emit("size", "x" * 70_000)
    page.send('451-["size",{"_placeholder":true,"num":0}]')
    page.session.receive_binary(page.transport, b"x" * 80_000)
    assert sizes == [70_000, 80_000]
    await until(lambda: len(sizes) == 3)
    assert page.session.is_live
    assert page.packets[-1].startswith('40/admin,{"sid"')


async def test_a_namespace_that_is_left_and_entered_while_its_connect_waits(server: SocketServer) -> None:
    """In the order of the packets, of which each may wait for a turn."""
    seen: list[object] = []
    admin = server.of("/admin")
    admin.on_connect(lambda socket, auth: seen.append(auth))
    admin.on_disconnect(lambda socket, reason: seen.append(reason))
    admin.on("note", lambda socket, text: seen.append(text))
    page = await Page(server).come()
    server._registry.arrivals.share = 1e-9
    for number in range(3):
        page.send(f'40/admin,{{"visit":{number}}}')
        page.send(f'42/admin,["note","{number}"]')
        page.send("41/admin,")
    await until(lambda: len(seen) == 9)
    left = "client namespace disconnect"
    assert seen == [part for number in range(3) for part in ({"visit": number}, str(number), left)]
    assert page.session.is_live


async def test_messages_behind_a_connect_that_waits_are_bounded(server: SocketServer, address: Address) -> None:
    """A client that sends too much, or what is no packet, is disconnected, and the others are not."""
    server._registry.arrivals.share = 1e-9
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_websocket(address)) for _ in range(6)]
        for client in clients:
            await client.text()
        rest = [b"", b"".join(client_frame(TEXT, b'42["x"]') for _ in range(1000)), client_frame(TEXT, b"4x")] * 2
        for client, data in zip(clients, rest, strict=True):
            client.writer.write(client_frame(TEXT, b"40") + data)
        codes = [(await client.closed()).code if data else None for client, data in zip(clients, rest, strict=True)]
        assert codes[3:] == [None, 1009, 1002]
        for client in (clients[0], clients[3]):
            assert (await client.text()).startswith('40{"sid"')
    await until(lambda: not server.of("/").sockets)
    assert not server.of("/")._core.deciding


async def test_invalid_auth_of_a_connect_that_waits_harms_only_its_sender(server: SocketServer) -> None:
    """It is answered, or ends the connection, as without a wait. A second try decides."""
    deep = '40{"a":' + "[" * 10_000 + "]" * 10_000 + "}"
    server.of("/").on("echo", lambda socket, value: value)
    pages = [await Page(server).come() for _ in range(3)]
    for page in pages:
        page.send("41")
    arrivals = server._registry.arrivals
    arrivals.share = 1e-9
    arrivals.run(lambda: None)  # another client
    for page, first in zip(pages, ("40{]", deep, "40"), strict=True):
        page.send(first)
        page.send("40{}")
        page.send('421["echo",2]')
    await until(lambda: all(page.packets[-1] == "431[2]" for page in pages[1:]))
    assert not pages[0].session.is_live
    assert pages[1].packets[-3] == '44{"message":"auth: nested too deeply"}'
    assert not server.of("/")._core.deciding
    assert len(server.of("/").sockets) == 2


async def test_a_refusal_has_its_message_and_data(
    server: SocketServer, address: Address, either: Callable[..., Any]
) -> None:
    """Nothing that was emitted is sent, and the client may try again."""
    seen: list[Socket] = []

    def refuse(socket: Socket, auth: dict[str, Any]) -> None:
        seen.append(socket)
        socket.emit("never")
        socket.join("room")
        if auth.get("token") != "right":
            raise ConnectRefused("Not authorized", {"code": 7})

    server.of("/").on_connect(either(refuse))
    async with websocket(address) as client:
        await client.send('40{"token":"wrong"}')
        assert await client.receive() == '44{"message":"Not authorized","data":{"code":7}}'
        assert server.of("/").sockets == {}
        assert "room" not in server.of("/")._core.adapter.rooms
        seen[0].emit("never")
        await client.connect(auth={"token": "right"})
        assert await client.event() == ["never"]


async def test_disconnecting_instead_of_welcoming_is_a_refusal(
    server: SocketServer, address: Address, either: Callable[..., Any]
) -> None:
    """The client is informed immediately, instead of waiting for a reply."""

    def turn_away(socket: Socket, auth: dict[str, Any]) -> None:
        socket.disconnect()

    server.of("/").on_connect(either(turn_away))
    async with websocket(address) as client:
        await client.send("40")
        assert await client.receive() == '44{"message":"Disconnected by the server"}'
        assert server.of("/").sockets == {}


async def test_a_refusal_without_data_has_only_a_message(server: SocketServer, address: Address) -> None:
    """`data` is omitted if not given."""

    @server.of("/").on_connect
    def refuse(socket: Socket, auth: dict[str, Any]) -> None:
        raise ConnectRefused("No")

    async with websocket(address) as client:
        await client.send("40")
        assert await client.receive() == '44{"message":"No"}'


async def test_a_refusal_may_end_the_connection(
    server: SocketServer, address: Address, either: Callable[..., Any]
) -> None:
    """After the message, and in all namespaces."""

    def refuse(socket: Socket, auth: dict[str, Any]) -> None:
        raise ConnectRefused("No more", close=True)

    server.of("/").on_connect(either(refuse))
    server.of("/other")
    async with websocket(address) as client:
        await client.send("40/other,", "40")
        assert str(await client.receive()).startswith("40/other,")
        assert await client.receive() == '44{"message":"No more"}'
        assert await client.closed() is not None
    assert server.of("/other").sockets == {}


async def test_an_error_of_the_handler_refuses_and_is_logged(
    server: SocketServer, address: Address, either: Callable[..., Any]
) -> None:
    """The client gets no detail, and the next client is served."""

    def fail(socket: Socket, auth: dict[str, Any]) -> None:
        if auth:
            raise RuntimeError("secret detail")

    server.of("/").on_connect(either(fail))
    with capture_logs() as logs:
        async with websocket(address) as client:
            await client.send('40{"a":1}')
            assert await client.receive() == '44{"message":"Internal server error"}'
            await client.connect()
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (entry["event"], entry["eventName"]) == ("handler_failed", "connect")
    assert entry["exception"].endswith("secret detail")


async def test_an_unknown_namespace_is_refused(address: Address) -> None:
    async with websocket(address) as client:
        await client.send("40/random,")
        assert await client.receive() == '44/random,{"message":"Invalid namespace"}'
        await client.connect()


async def test_an_auth_payload_nested_too_deeply_is_refused(address: Address) -> None:
    """Ten thousand levels are answered with a CONNECT_ERROR."""
    async with websocket(address) as client:
        await client.send('40{"a":' + "[" * 10_000 + "]" * 10_000 + "}")
        answer = await client.receive()
        assert answer == '44{"message":"auth: nested too deeply"}'


async def test_a_client_may_be_in_several_namespaces(server: SocketServer, address: Address) -> None:
    """Each has its own socket, id and events over the same connection."""
    for name in ("/", "/admin"):

        def answer(socket: Socket, *args: object) -> tuple[object, ...]:
            return (socket.namespace, *args)

        server.of(name).on("where", answer)
    async with websocket(address) as client:
        assert await client.connect() != await client.connect("/admin")
        await client.send('421["where",1]', '42/admin,1["where",2]')
        assert await client.receive() == '431["/",1]'
        assert await client.receive() == '43/admin,1["/admin",2]'
        server.of("/admin").emit("news")
        assert await client.receive() == '42/admin,["news"]'


@pytest.mark.parametrize("name", ["admin", "", "/a,b"])
def test_a_name_that_no_client_could_send_is_no_namespace(name: str) -> None:
    """A namespace begins with a slash and has no comma."""
    with pytest.raises(ValueError, match="is no namespace"):
        SocketServer().of(name)


def test_a_namespace_is_made_once() -> None:
    server = SocketServer()
    assert server.of("/a") is server.of("/a")


async def test_a_client_that_never_connects_is_closed() -> None:
    """After connect_timeout. A client that connects in time stays."""
    server = SocketServer(connect_timeout=0.1)
    server.of("/")
    async with serving(server) as address, websocket(address) as idle, websocket(address) as busy:
        await busy.connect()
        assert await idle.closed() is not None
        assert len(server._registry) == 1
        await busy.send("40/unknown,")
        assert await busy.receive() == '44/unknown,{"message":"Invalid namespace"}'


async def test_a_client_that_was_refused_has_not_connected() -> None:
    server = SocketServer(connect_timeout=0.1)
    async with serving(server) as address, websocket(address) as client:
        await client.send("40")
        assert await client.receive() == '44{"message":"Invalid namespace"}'
        await client.closed()


async def test_a_client_may_leave_while_it_is_being_judged(server: SocketServer, address: Address) -> None:
    """A late decision admits no socket, and on_disconnect is called after the decision."""
    decided = asyncio.Event()
    judged: list[Socket] = []
    gone: list[Socket] = []
    main = server.of("/")

    @main.on_connect
    async def judge(socket: Socket, auth: dict[str, Any]) -> None:
        judged.append(socket)
        await decided.wait()

    @main.on_disconnect
    def leave(socket: Socket, reason: str) -> None:
        gone.append(socket)

    async with websocket(address) as client:
        await client.send("40")
        await until(lambda: judged)
    await until(lambda: len(server._registry) == 0)
    assert gone == []
    decided.set()
    await until(lambda: not server._tasks)
    assert not judged[0].connected
    assert main.sockets == {}
    assert gone == judged
    assert len(main._core.adapter.rooms.members) == 0


async def test_events_before_the_reply_close_the_connection(server: SocketServer, address: Address) -> None:

    @server.of("/").on_connect
    async def judge(socket: Socket, auth: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    async with websocket(address) as client:
        await client.send("40", '42["early"]')
        await client.closed()


async def test_the_application_can_read_the_handshake(server: SocketServer, address: Address) -> None:
    """Headers, query, address, auth and the time of connecting."""
    sockets: list[Socket] = []

    @server.of("/").on_connect
    def keep(socket: Socket, auth: dict[str, Any]) -> None:
        sockets.append(socket)

    async with websocket(address, additional_headers={"X-Test": "yes"}) as client:
        await client.connect(auth={"token": "abc"})
        (socket,) = sockets
        assert socket.handshake.headers["x-test"] == "yes"
        assert socket.handshake.query["transport"] == "websocket"
        assert socket.handshake.auth == {"token": "abc"}
        assert socket.handshake.address == "127.0.0.1"
        assert not socket.handshake.secure
        assert socket.handshake.issued > 1_700_000_000
        assert socket.transport == "websocket"
        socket.data["name"] = "Alice"
        assert sockets[0].data == {"name": "Alice"}
        assert socket.id in repr(socket)


async def test_a_client_connects_by_polling(server: SocketServer, address: Address) -> None:
    """CONNECT, its reply and the first events use polls."""

    @server.of("/").on_connect
    def welcome(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("hello", socket.transport)

    async with Polling(address) as client:
        await client.post("40")
        reply, hello = await client.poll()
        assert set(json.loads(reply[2:])) == {"sid"}
        assert hello == '42["hello","polling"]'


@pytest.mark.parametrize("way", ["in the middleware", "in on_connect", "in on_connect, and refused"])
async def test_who_is_lost_while_connecting_leaves_if_it_came(way: str) -> None:
    """`on_disconnect` is called if `on_connect` was, so that an application can clean up."""
    server = SocketServer()
    goes_on, calls = asyncio.Event(), list[str]()

    @server.use
    async def check(socket: Socket, _: object) -> None:
        if way == "in the middleware":
            await goes_on.wait()

    @server.on_connect
    async def come(socket: Socket, _: object) -> None:
        await goes_on.wait()
        calls.append("came")
        if way == "in on_connect, and refused":
            raise ConnectRefused("no")

    @server.on_disconnect
    def leave(socket: Socket, reason: str) -> None:
        calls.append(reason)

    page = await Page(server).come()
    await page.lose()
    assert calls == []
    goes_on.set()
    await page.read()
    expected = {"in on_connect": ["came", "transport close"], "in on_connect, and refused": ["came"]}
    assert calls == expected.get(way, [])
    assert not server.of("/")._core.sockets


async def test_who_is_disconnected_by_the_handler_of_connect_leaves(server: SocketServer) -> None:
    calls: list[str] = []

    @server.on_connect
    def come(socket: Socket, _: object) -> None:
        calls.append("came")
        socket.disconnect()

    server.on_disconnect(lambda _, reason: calls.append(reason))
    await Page(server).come()
    assert calls == ["came", "server namespace disconnect"]
