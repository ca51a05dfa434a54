"""What connections of one user, or strangers of one address, hold of messages that have not arrived completely."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
from tests.support.clients import Polling, socketio
from tests.support.servers import Address, Engine, serving, serving_engine, until
from tests.support.wire import CONTINUATION, TEXT, Connection, WebSocket, client_frame, raw_websocket, request

from synkora import SocketServer
from synkora.engine import unfinished
from synkora.engine.addresses import rate_limit_key
from synkora.engine.session import Session
from synkora.engine.unfinished import STRANGERS_FREE, UnfinishedMessages
from synkora.protocol.errors import PayloadTooLarge
from synkora.protocol.websocket import CloseCode
from synkora.sockets.client import MAX_EARLY
from synkora.sockets.internals import session_of

PART = 400_000  # bytes of a message
WHOLE = 600_000


@pytest.fixture(autouse=True)
def _two_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "MOST_UNFINISHED", 2 * WHOLE)
    monkeypatch.setattr("synkora.engine.transports.websocket.CLOSING_TIME", 0.05)


@pytest.fixture
async def engine() -> Engine:
    return Engine()


@pytest.fixture
async def address(engine: Engine) -> AsyncIterator[Address]:
    async with serving_engine(engine) as address:
        yield address


def share(engine: Engine) -> UnfinishedMessages:
    shared = UnfinishedMessages()
    for recorder in engine.recorders:
        recorder.session.hold_for(shared)
    return shared


def test_what_is_noted_replaces_what_was() -> None:
    """A holder that would have too much has nothing afterwards: its connection ends."""
    held = UnfinishedMessages()
    held.note("a", WHOLE)
    held.note("a", PART)
    held.note("b", WHOLE)
    assert held.total == PART + WHOLE
    with pytest.raises(PayloadTooLarge):
        held.note("c", WHOLE)
    with pytest.raises(PayloadTooLarge):
        held.note("b", 2 * WHOLE)
    assert held.total == PART
    held.note("a", 0)
    held.note("a", 0)
    assert held.total == 0


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (client_frame(TEXT, b"4" + b"x" * (WHOLE - 1))[:-100], None),
        (client_frame(TEXT, b"4" + b"x" * PART, fin=False), client_frame(CONTINUATION, b"x")),
    ],
    ids=["a large frame", "fragments"],
)
async def test_parts_over_websocket(engine: Engine, address: Address, begin: bytes, end: bytes | None) -> None:
    """Those that are too much end their own connection. A message that is complete, or lost, makes room."""
    async with AsyncExitStack() as stack:
        clients: list[WebSocket] = []
        for _ in range(4):
            clients.append(await stack.enter_async_context(raw_websocket(address)))
            await clients[-1].text()
        held, size = share(engine), PART if end is not None else WHOLE
        for number, client in enumerate(clients[:2], 1):
            await client.send(begin)
            await until(lambda number=number: held.total > number * size - 10_000)  # all of it has come
        with suppress(ConnectionError):
            await clients[2].send(begin, b"" if end is None else client_frame(CONTINUATION, b"x" * PART, fin=False))
        assert (await clients[2].closed()).code == CloseCode.TOO_BIG
        if end is not None:
            await clients[0].send(end)
            await until(lambda: bool(engine.recorders[0].messages))
        clients[0].abort()
        await until(lambda: held.total <= WHOLE)
        await clients[3].send(begin)
        await until(lambda: held.total > 2 * PART - 50_000)
        for client in clients:
            client.abort()
        await until(lambda: held.total == 0)
        await until(lambda: engine.registry.open_websockets == 0)


async def test_parts_by_polling(engine: Engine, address: Address) -> None:
    async with AsyncExitStack() as stack:
        posts = []
        sids = []
        for _ in range(3):
            await stack.enter_async_context(Polling(address))
            sids.append(engine.recorders[-1].session.sid)
        held = share(engine)
        for sid in sids:
            post = await Connection.open(address.port)
            stack.callback(post.abort)
            target = f"{address.path}?EIO=4&transport=polling&sid={sid}"
            head = request("POST", target, {"Content-Length": str(WHOLE)})
            posts.append(post)
            await post.send(head + b"4" + b"x" * (WHOLE - 1001))
            if len(posts) < 3:
                await until(lambda: held.total > len(posts) * PART)
        assert await posts[2].status() == 413
        await posts[0].send(b"x" * 1000)
        assert await posts[0].status() == 200
        assert held.total < WHOLE
        posts[1].abort()
        await until(lambda: held.total == 0)


async def test_a_post_under_way_counts_for_the_user_who_signed_in_last(engine: Engine, address: Address) -> None:
    async with Polling(address), AsyncExitStack() as stack:
        ann = share(engine)
        post = await Connection.open(address.port)
        stack.callback(post.abort)
        target = f"{address.path}?EIO=4&transport=polling&sid={engine.recorders[0].session.sid}"
        await post.send(request("POST", target, {"Content-Length": str(WHOLE)}) + b"4" + b"x" * PART)
        await until(lambda: ann.total > PART - 50_000)
        bob = share(engine)
        assert (ann.total, bob.total) == (0, 0)
        await post.send(b"x" * (WHOLE - PART - 1001))
        await until(lambda: bob.total > PART)
        await post.send(b"x" * 1000)
        assert await post.status() == 200
        assert (ann.total, bob.total) == (0, 0)


def partly(size: int) -> bytes:
    """A frame without its end."""
    return client_frame(TEXT, b"4" + b"x" * (size + 100))[:-100]


async def test_parts_of_strangers_of_one_address(engine: Engine, address: Address) -> None:
    """Over WebSocket and by polling together, and without what an ordinary CONNECT has."""
    held = engine.registry.unfinished("127.0.0.1")
    async with AsyncExitStack() as stack:
        large, small, last = [await stack.enter_async_context(raw_websocket(address)) for _ in range(3)]
        for client in (large, small, last):
            await client.text()
        await large.send(partly(WHOLE))
        await until(lambda: held.total > WHOLE - 50_000)
        await stack.enter_async_context(Polling(address))
        post = await Connection.open(address.port)
        stack.callback(post.abort)
        target = f"{address.path}?EIO=4&transport=polling&sid={engine.recorders[-1].session.sid}"
        await post.send(request("POST", target, {"Content-Length": str(WHOLE)}) + b"4" + b"x" * (WHOLE - 10_000))
        await until(lambda: held.total > 2 * WHOLE - 60_000)
        part = b"x" * (STRANGERS_FREE // 2)
        await small.send(client_frame(TEXT, b"4" + part, fin=False))
        await until(lambda: engine.recorders[1].session.transport.seconds_since_progress() < 30)
        with suppress(ConnectionError):
            await last.send(partly(PART))
        assert (await last.closed()).code == CloseCode.TOO_BIG
        await small.send(client_frame(CONTINUATION, part))
        await until(lambda: bool(engine.recorders[1].messages))
        for client in (large, small, last):
            client.abort()
        post.abort()
        await until(lambda: held.total == 0)
        await until(lambda: engine.registry.open_websockets == 0)


async def test_strangers_of_other_addresses_do_not_share() -> None:
    """A /64 of IPv6 is one address. What no session of an address needs is forgotten."""
    registry = Engine().registry

    def of(address: str) -> UnfinishedMessages:
        return registry.unfinished(rate_limit_key(address))

    first, other = of("192.0.2.1"), of("192.0.2.2")
    assert first is of("192.0.2.1") is not other
    customer = of("2001:db8::1")
    assert customer is of("2001:db8::2") is not of("2001:db8:0:1::1")
    del first, other, customer
    assert not registry._unfinished


def counted(session: Session) -> UnfinishedMessages | None:
    return session.unfinished


async def test_messages_of_members_do_not_count_for_their_address() -> None:
    """Those of a client that has left all namespaces do."""
    server = SocketServer()
    server.of("/")
    held = server._registry.unfinished("127.0.0.1")
    async with serving(server) as address, AsyncExitStack() as stack:
        client = await stack.enter_async_context(raw_websocket(address))
        await client.text()
        (session,) = server._registry
        for _ in range(2):
            assert counted(session) is held
            await client.send(client_frame(TEXT, b"40"))
            await client.text()
            assert counted(session) is None
            await client.send(client_frame(TEXT, b"41"))
            await until(lambda: counted(session) is held)
        with suppress(ConnectionError):
            await client.send(partly(2 * WHOLE))
        assert (await client.closed()).code == CloseCode.TOO_BIG
        client.abort()
        await until(lambda: server._registry.open_websockets == 0)


async def test_each_part_of_a_strangers_frame_counts(engine: Engine, address: Address) -> None:
    """From its first one on, also behind a frame that has ended."""
    held = engine.registry.unfinished("127.0.0.1")
    size = 3 * STRANGERS_FREE
    async with raw_websocket(address) as client:
        await client.text()
        first, second = (client_frame(TEXT, b"4" + b"x" * (number * size + 100)) for number in (1, 2))
        await client.send(first[:-100])
        await until(lambda: abs(held.total - (size - STRANGERS_FREE)) < 100)
        await client.send(first[-100:] + second[:-100])
        await until(lambda: abs(held.total - (2 * size - STRANGERS_FREE)) < 100)
        assert len(engine.registry.partial_messages)
        await client.send(second[-100:])
        await until(lambda: len(engine.recorders[0].messages) == 2)
        assert held.total == 0
        assert not len(engine.registry.partial_messages)


async def test_a_strangers_frame_may_be_as_large_as_its_message() -> None:
    """Its head does not count, of which the server learns nothing."""
    server = SocketServer()
    server.of("/")
    held = server._registry.unfinished("127.0.0.1")
    connect = b'40{"token":"' + b"x" * (MAX_EARLY - 14) + b'"}'
    frame = client_frame(TEXT, connect)
    async with serving(server) as address, raw_websocket(address) as client:
        await client.text()
        await client.send(frame[:-1])
        await until(lambda: held.total == len(frame) - 15 - STRANGERS_FREE)
        await client.send(frame[-1:])
        assert (await client.text()).startswith('40{"sid"')


async def test_attachments() -> None:
    """A packet that waits for its next attachment."""
    announced = '452-["size",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    server = SocketServer()
    sizes: list[int] = []
    server.of("/").on("size", lambda socket, *parts: sizes.append(sum(map(len, parts))))
    async with serving(server) as address, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(socketio(address)) for _ in range(3)]
        held = UnfinishedMessages()
        for socket in server.of("/").sockets.values():
            session_of(socket).hold_for(held)
        for number, client in enumerate(clients[:2], 1):
            await client.send(announced, b"x" * PART)
            await until(lambda number=number: held.total > number * PART)
        await clients[2].send(announced, b"x" * WHOLE)
        assert await clients[2].closed() == CloseCode.TOO_BIG
        await clients[0].send(b"y")
        await until(lambda: sizes == [PART + 1])
        assert held.total < WHOLE
        await clients[1].connection.close()
        await until(lambda: held.total == 0)


async def test_attachments_no_longer_count_for_a_former_user() -> None:
    server = SocketServer()
    server.of("/")
    ann, bob = UnfinishedMessages(), UnfinishedMessages()
    async with serving(server) as address, socketio(address) as client:
        (socket,) = server.of("/").sockets.values()
        session_of(socket).hold_for(ann)
        await client.send('452-["size",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"x" * PART)
        await until(lambda: ann.total > PART)
        session_of(socket).hold_for(bob)
        assert (ann.total, bob.total) == (0, 0)


async def test_what_a_stranger_held_is_released_after_the_sign_in(engine: Engine, address: Address) -> None:
    """A probe with an unfinished frame may be known no more when its client signs in over polling."""
    held = engine.registry.unfinished("127.0.0.1")
    async with Polling(address):
        session = engine.recorders[0].session
        probe = object()
        session.hold(probe, WHOLE)
        assert held.total == WHOLE - STRANGERS_FREE
        session.hold_for(UnfinishedMessages())
        session.hold(probe, 0)
        assert held.total == 0
