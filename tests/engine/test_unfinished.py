"""What several connections of one user hold of messages that have not arrived completely."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
from tests.support.clients import Polling, socketio
from tests.support.servers import Address, Engine, serving, serving_engine, until
from tests.support.wire import CONTINUATION, TEXT, Connection, WebSocket, client_frame, raw_websocket, request

from synkora import SocketServer
from synkora.engine import unfinished
from synkora.engine.unfinished import UnfinishedMessages
from synkora.protocol.errors import PayloadTooLarge
from synkora.protocol.websocket import CloseCode
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
        held = share(engine)
        for number, client in enumerate(clients[:2], 1):
            await client.send(begin)
            await until(lambda number=number: held.total > number * PART - 50_000)
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
