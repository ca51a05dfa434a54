"""Attachments that never come or are too large, acks that are never answered, large messages before CONNECT, floods."""

import asyncio
import contextlib
import gc
import re
from collections.abc import AsyncIterator

import pytest
from tests.support.clients import Polling, socketio, websocket
from tests.support.page import Page
from tests.support.servers import serving, until
from websockets.exceptions import ConnectionClosed

from synkora import ConnectRefused, Socket, SocketServer, TooManyCalls
from synkora.engine.backlog import STRANGERS_FREE_MESSAGES
from synkora.engine.outbox import STRANGERS_MESSAGES
from synkora.engine.session import OVERHEAD_BURST, OVERHEAD_BYTES
from synkora.protocol.websocket import CloseCode
from synkora.sockets.acks import MAX_UNANSWERED
from synkora.sockets.client import MAX_EARLY, MAX_NAMESPACES, MAX_REFUSED_NAME

MAX = 10_000


@pytest.fixture
def server() -> SocketServer:
    server = SocketServer(max_payload=MAX)
    server.of("/").on("size", lambda socket, *parts: socket.emit("size", *map(len, parts)))
    return server


ANNOUNCED = '452-["size",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'


async def test_attachments_that_never_arrive(server: SocketServer) -> None:
    async with serving(server) as address, socketio(address) as client:
        server._registry.partial_messages.length = 0.1
        await client.send(ANNOUNCED, b"one")
        assert await client.closed() == CloseCode.PROTOCOL_ERROR
        (tally,) = server.incidents.take()
        assert (tally.kind, tally.label) == ("protocol error", "attachments were announced and did not come")


async def test_attachments_that_make_progress(server: SocketServer) -> None:
    """Each attachment, and each part of a large one, extends the time."""
    async with serving(server) as address, socketio(address) as client:
        server._registry.partial_messages.length = 0.5
        await client.send(ANNOUNCED, b"one")
        pieces = [b"x"] * 16

        async def crawl() -> AsyncIterator[bytes]:
            for piece in pieces:
                await asyncio.sleep(0.06)
                yield piece

        await client.connection.send(crawl())
        assert await client.event() == ["size", 3, len(pieces)]
        assert not len(server._registry.partial_messages)


async def test_attachments_that_arrive(server: SocketServer) -> None:
    async with serving(server) as address, socketio(address) as client:
        await client.send(ANNOUNCED, b"one", b"three")
        assert await client.event() == ["size", 3, 5]
        assert not len(server._registry.partial_messages)


async def test_a_client_that_leaves_before_its_attachments(server: SocketServer) -> None:
    async with serving(server) as address:
        async with socketio(address) as client:
            await client.send(ANNOUNCED)
            await until(lambda: len(server._registry.partial_messages))
        await until(lambda: not len(server._registry.partial_messages))


@pytest.mark.parametrize(("excess", "taken"), [(0, True), (1, False)])
async def test_attachments_count_towards_the_largest_message(server: SocketServer, excess: int, taken: bool) -> None:
    """A packet and its attachments together have the limit of one message."""
    first = (MAX - len(ANNOUNCED) + 1) // 2  # the 4 is Engine.IO's
    second = MAX - len(ANNOUNCED) + 1 - first + excess
    async with serving(server) as address, socketio(address) as client:
        await client.send(ANNOUNCED, b"x" * first, b"x" * second)
        if taken:
            assert await client.event() == ["size", first, second]
        else:
            assert await client.closed() == CloseCode.TOO_BIG


async def test_acks_that_are_never_answered(server: SocketServer) -> None:
    """A client with very many pending acks gets no further one. The pending ones can still be answered."""
    sockets: list[Socket] = []
    server.of("/").on_connect(lambda socket, auth: sockets.append(socket))
    async with serving(server) as address, socketio(address) as client:
        (socket,) = sockets
        calls = [asyncio.create_task(socket.call("hello", timeout=30)) for _ in range(MAX_UNANSWERED)]
        assert await client.receive() == '420["hello"]'
        with pytest.raises(TooManyCalls, match=f"{MAX_UNANSWERED} acks"):
            await socket.call("hello")
        await client.send('430["well"]')
        assert await calls[0] == "well"
        extra = asyncio.create_task(socket.call("hello", timeout=30))
        last = (await client.receive_many(MAX_UNANSWERED))[-1]
        assert last == f'42{MAX_UNANSWERED + 1}["hello"]'  # the call that was refused had an id as well
        await client.send(f'43{MAX_UNANSWERED + 1}["too"]')
        assert await extra == "too"
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(
    ("proxies", "expected"), [(["127.0.0.0/8"], ("203.0.113.9", True)), ([], ("127.0.0.1", False))]
)
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_the_address_behind_a_proxy(transport: str, proxies: list[str], expected: tuple[str, bool]) -> None:
    """A trusted proxy's headers count over both transports. Another peer's do not, not even on this machine."""
    server = SocketServer(proxies=proxies)
    seen: list[tuple[str, bool]] = []
    server.of("/").on_connect(lambda socket, auth: seen.append((socket.handshake.address, socket.handshake.secure)))
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    async with serving(server) as address:
        if transport == "websocket":
            async with websocket(address, additional_headers=headers) as client:
                await client.connect()
        else:
            async with Polling(address, headers) as polling:
                assert (await polling.post("40")).status_code == 200
    assert seen == [expected]


# Before CONNECT


def connect_of(size: int) -> str:
    """A CONNECT of this many bytes, including Engine.IO's type."""
    empty = '40{"token":""}'
    return empty.replace('""', f'"{"x" * (size - len(empty))}"')


async def test_messages_before_connect_are_limited() -> None:
    """A CONNECT may be as large as any token needs, over WebSocket and polling alike."""
    server = SocketServer()
    server.of("/")
    async with serving(server) as address:
        async with websocket(address) as client:
            await client.send(connect_of(MAX_EARLY))
            assert str(await client.receive()).startswith("40")
            await client.emit("x", "y" * 500_000)
            assert (await client.event())[0] == "error"
        async with websocket(address) as client:
            await client.send(connect_of(MAX_EARLY + 1))
            assert await client.closed() == CloseCode.TOO_BIG
        async with Polling(address) as polling:
            url = address.url(sid=polling.sid)
            answer = await polling.http.post(url, content=connect_of(MAX_EARLY + 1).encode())
            assert answer.status_code == 413


async def test_attachments_before_connect_are_little_too() -> None:
    async with serving(SocketServer()) as address, websocket(address) as client:
        await client.send('452-["size",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        await client.send(b"x" * 40_000)
        await client.send(b"x" * 40_000)
        assert await client.closed() == CloseCode.TOO_BIG


# Floods

FLOODS = {
    "acks that nobody asked for": '430["x"]',
    "acks of nothing but depth": "4317" + "[" * 10_000 + "]" * 10_000,
    "unknown namespaces": "40/unknown,",
    "unknown events where nothing counts them": '42["unknown"]',
    "events of nothing but depth": "42" + "[" * 10_000 + "]" * 10_000,
}
#: They weigh more, by their bytes: four seconds' worth of any limit on bytes is too much.
LARGE_FLOODS = {
    "large acks that nobody asked for": "430[" + "[]," * 300_000 + "[]]",
    "second CONNECTs": '40{"a":"' + "x" * 65_000 + '"}',
    "large unknown events where nothing counts them": '42["unknown","' + "x" * 900_000 + '"]',
    "events that are too deep at their end": '42[ "x",' + "[]," * 300_000 + "[" * 10_000 + "]" * 10_000 + "]",
}


@pytest.mark.parametrize("flood", [*FLOODS, *LARGE_FLOODS])
async def test_packets_without_use_end_the_connection(flood: str) -> None:
    """Packets without their own limit share one: a client above its burst is disconnected."""
    server = SocketServer()
    server.of("/")
    packet = (FLOODS | LARGE_FLOODS)[flood]
    if flood in FLOODS:
        count = 2 * OVERHEAD_BURST * OVERHEAD_BYTES // (OVERHEAD_BYTES + len(packet))
    else:
        count = OVERHEAD_BURST * OVERHEAD_BYTES * 4 // 3 // len(packet) + 1
    async with serving(server) as address, socketio(address) as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(count):
                await client.send(packet)
            while True:
                await client.receive()
        assert await client.closed() == CloseCode.POLICY_VIOLATION
        assert [tally.kind for tally in server.incidents.take()] == ["flooding client cut off"]


async def test_a_later_connect_may_be_no_larger_than_the_first() -> None:
    """Also if the client has left the namespace, and may send large messages otherwise."""
    server = SocketServer()
    server.of("/")
    async with serving(server) as address:
        for packets in ((connect_of(MAX_EARLY + 20),), ("41", connect_of(MAX_EARLY + 20))):
            async with socketio(address) as client:
                await client.send(*packets)
                assert await client.closed() == CloseCode.TOO_BIG


async def test_a_connection_keeps_the_payload_of_connect_unchanged() -> None:
    """Decoded objects would take thirty times as much memory for the whole connection."""
    server = SocketServer()
    sockets: list[Socket] = []
    server.of("/").on_connect(lambda socket, _: sockets.append(socket))
    async with serving(server) as address:
        before = sum(type(item) is list for item in gc.get_objects())
        async with websocket(address) as client:
            await client.send('40{"lists":[' + "[]," * 14_999 + "[]]}")
            assert str(await client.receive()).startswith("40")
            assert sum(type(item) is list for item in gc.get_objects()) < before + 5_000
            assert len(sockets[0].auth["lists"]) == 15_000
            (found,) = await server.fetch_sockets()
            assert sum(type(item) is list for item in gc.get_objects()) < before + 5_000
            assert len(found.handshake.auth["lists"]) == 15_000


async def test_a_connect_that_waits_for_a_turn_is_not_decoded() -> None:
    """Strangers could let thousands wait, each with thirty times its bytes."""
    server = SocketServer()
    seen: list[int] = []
    server.of("/").on_connect(lambda socket, auth: seen.append(len(auth["lists"])))
    arrivals = server._registry.arrivals
    arrivals.share = 1e-9
    arrivals.run(lambda: None)  # another client
    before = sum(type(item) is list for item in gc.get_objects())
    pages = []
    for _ in range(3):
        pages.append(Page(server))
        pages[-1].connect(lists=[[]] * 15_000)
    assert sum(type(item) is list for item in gc.get_objects()) < before + 5_000
    await until(lambda: seen == [15_000] * 3)
    assert sum(type(item) is list for item in gc.get_objects()) < before + 5_000


async def test_acks_that_were_asked_for_are_not_counted() -> None:
    """The client may answer any number of the server's requests."""
    server = SocketServer()
    sockets: list[Socket] = []
    server.of("/").on_connect(lambda socket, _: sockets.append(socket))
    async with serving(server) as address, socketio(address) as client:
        for _ in range(3):
            calls = [asyncio.ensure_future(sockets[0].call("ask")) for _ in range(OVERHEAD_BURST)]
            await asyncio.sleep(0)
            for _ in calls:
                number = str(await client.receive())[2:].partition("[")[0]
                await client.send(f"43{number}[1]")
            assert await asyncio.gather(*calls) == [1] * OVERHEAD_BURST


async def test_the_namespaces_of_a_connection_are_limited() -> None:
    """Each keeps its CONNECT, and uses one of the dynamic namespaces."""
    server = SocketServer()
    server.of(re.compile(r"/\d+"))
    async with serving(server) as address, websocket(address) as client:
        for number in range(MAX_NAMESPACES):
            await client.send(f"40/{number},")
            assert str(await client.receive()).startswith(f"40/{number},{{")
        await client.send("40/more,")
        assert await client.receive() == '44/more,{"message":"Too many namespaces"}'
        await client.send("41/0,")
        await client.send("40/1000,")
        assert str(await client.receive()).startswith("40/1000,{")


async def test_a_client_that_has_left_shares_the_turns_of_strangers(server: SocketServer) -> None:
    """One that is in a namespace does not. A user could leave with very many connections."""
    registry = server._registry
    async with serving(server) as address, websocket(address) as client:
        await until(lambda: len(registry))
        (session,) = registry

        def is_shared() -> bool:
            return session.budget is registry.strangers

        assert is_shared()
        for _ in range(2):
            await client.connect()
            assert not is_shared()
            await client.send("41")
            await until(is_shared)


async def test_what_waits_for_a_client_that_has_not_signed_in_is_bounded_in_number(server: SocketServer) -> None:
    """Each answer takes many times its bytes of memory. A client in a namespace has the usual limit."""
    too_many = ["40/x,"] * (STRANGERS_MESSAGES + 1)
    async with serving(server) as address, Polling(address) as member, Polling(address) as stranger:
        await member.connect()
        await member.post(*too_many)
        await stranger.post(*too_many)
        await until(lambda: [session.sid for session in server._registry] == [member.sid])
        assert await member.poll() == ['44/x,{"message":"Invalid namespace"}'] * len(too_many)


async def test_what_waits_for_a_client_that_has_left_is_bounded_like_a_strangers(server: SocketServer) -> None:
    """It counts for its user no longer, and the user may sign in over another connection."""
    server.of("/")
    answers = ["40/x,"] * (STRANGERS_MESSAGES + 1)
    async with serving(server) as address, Polling(address) as member, Polling(address) as former:
        for client in (member, former):
            await client.connect()
        await former.post("41")
        for client in (member, former):
            await client.post(*answers)
        await until(lambda: [session.sid for session in server._registry] == [member.sid])
        assert await member.poll() == ['44/x,{"message":"Invalid namespace"}'] * len(answers)


async def test_a_client_that_leaves_and_comes_back_is_a_member(server: SocketServer) -> None:
    server.of("/")
    async with serving(server) as address, Polling(address) as client:
        await client.connect()
        await client.post("41", "40")
        assert (await client.poll())[0].startswith("40{")
        await client.post(*["40/x,"] * (STRANGERS_MESSAGES + 1))
        assert len(await client.poll()) == STRANGERS_MESSAGES + 1
        assert not server._host.connecting


async def test_a_client_that_has_left_all_namespaces_has_the_time_of_a_new_one(server: SocketServer) -> None:
    """Also one that the server has disconnected. One that is in another namespace stays."""
    main = server.of("/")
    server.of("/other")
    async with (
        serving(server) as address,
        socketio(address) as left,
        socketio(address) as removed,
        socketio(address) as elsewhere,
    ):
        assert not server._host.connecting
        await elsewhere.connect("/other")
        await elsewhere.send("41")
        await left.send("41")
        await until(lambda: len(main.sockets) == 1)
        next(iter(main.sockets.values())).disconnect()
        assert await removed.receive() == "41"
        assert len(server._host.connecting) == 2
        for client in list(server._host.connecting._due):
            server._host.connecting.drop(client)
            server._host.connecting._expired(client)
        assert await left.closed() == await removed.closed() == CloseCode.NORMAL
        await elsewhere.connect()


async def test_what_waits_for_a_client_that_does_not_sign_in_in_time_is_dropped(server: SocketServer) -> None:
    """Its next poll gets the close packet alone."""
    async with serving(server) as address, Polling(address) as client:
        await client.post(*["40/x,"] * 5)
        session = server._registry.find(client.sid)
        await until(lambda: session.outbox.waiting_bytes > 0)
        (waiting,) = server._host.connecting._due
        server._host.connecting.drop(waiting)
        server._host.connecting._expired(waiting)
        assert session.outbox.waiting_bytes == 0
        assert await client.poll() == ["1"]


async def test_a_client_that_leaves_while_another_connect_is_refused_has_the_time_of_a_new_one(
    server: SocketServer,
) -> None:
    """Further refusals do not extend the time."""
    other, gate = server.of("/other"), asyncio.Event()

    @other.on_connect
    async def refuse(socket: Socket, auth: object) -> None:
        await gate.wait()
        raise ConnectRefused("no")

    async with serving(server) as address, socketio(address) as client:
        (session,) = server._registry
        await client.send("40/other,")
        await client.send("41")
        await until(lambda: not server.of("/").sockets)
        assert not server._host.connecting
        gate.set()
        assert await client.receive() == '44/other,{"message":"no"}'
        assert session.budget is server._registry.strangers
        assert session.outbox.is_stranger
        due = dict(server._host.connecting._due)
        assert len(due) == 1
        await client.send("40/other,")
        assert await client.receive() == '44/other,{"message":"no"}'
        assert server._host.connecting._due == due


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_long_name_of_a_namespace_that_does_not_exist_is_not_sent_back(
    server: SocketServer, transport: str
) -> None:
    """A shorter name is, and a longer one of a namespace that refuses."""
    longest, existing = "/" + "n" * (MAX_REFUSED_NAME - 1), "/" + "e" * (2 * MAX_REFUSED_NAME)
    server.of(existing).use(_refuse)
    answers = [f'44{longest},{{"message":"Invalid namespace"}}', f'44{existing},{{"message":"no"}}']
    async with serving(server) as address:
        if transport == "websocket":
            async with websocket(address) as client:
                await client.send(f"40{longest},", f"40{existing},")
                assert await client.receive_many(2) == answers
                await client.send(f"40{longest}n,")
                assert await client.closed() == CloseCode.TOO_BIG
        else:
            async with Polling(address) as polling:
                await polling.post(f"40{longest},", f"40{existing},")
                assert await polling.poll() == answers
                await polling.post(f"40{longest}n,")
                assert (await polling.get()).status_code == 400
        about = "the name of an unknown namespace is longer than 1000 characters"
        assert about in [tally.label for tally in server.incidents.take()]


def _refuse(socket: Socket, auth: object) -> None:
    raise ConnectRefused("no")


async def test_what_waits_for_strangers_of_one_address_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One with few messages stays, whatever the others do; those of another address do not count."""
    monkeypatch.setattr("synkora.engine.outbox.MOST_OF_STRANGERS", 3 * STRANGERS_FREE_MESSAGES)
    server = SocketServer(proxies=["127.0.0.1"])
    server.of("/")
    few, many = ["40/x,"] * STRANGERS_FREE_MESSAGES, ["40/x,"] * (3 * STRANGERS_FREE_MESSAGES)
    async with (
        serving(server) as address,
        Polling(address, {"X-Forwarded-For": "192.0.2.1"}) as first,
        Polling(address, {"X-Forwarded-For": "192.0.2.1"}) as second,
        Polling(address, {"X-Forwarded-For": "192.0.2.1"}) as modest,
        Polling(address, {"X-Forwarded-For": "192.0.2.2"}) as other,
    ):
        await first.post(*many)
        await second.post(*many)
        await other.post(*many)
        await modest.post(*few)
        await until(lambda: {session.sid for session in server._registry} == {first.sid, modest.sid, other.sid})
        for client, packets in ((modest, few), (first, many), (other, many)):
            assert len(await client.poll()) == len(packets)
        strangers = server._registry.strangers_backlog("192.0.2.1")
        assert strangers is server._registry.find(first.sid).outbox.of_user
        assert (strangers.messages, strangers.bytes) == (0, 0)
