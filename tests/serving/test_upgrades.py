"""Upgrade requests over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.clients import Polling
from tests.support.protocols import noted_protocols
from tests.support.servers import Address, Engine, crowded, most_in_one_turn, serving, serving_engine, until
from tests.support.wire import TEXT, client_frame, raw

from synkora import SocketServer
from synkora.engine.transports.websocket_protocol import MAX_READ
from synkora.sockets.internals import registry_of

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


@pytest.fixture
async def address(server: SocketServer) -> AsyncIterator[Address]:
    """Without another application: requests outside Socket.IO's path are answered with 404."""
    async with serving(server) as address:
        yield address


def handshake(address: Address, fields: str = "Connection: Upgrade\r\nUpgrade: websocket\r\n") -> bytes:
    target = address.url("websocket").removeprefix(f"ws://127.0.0.1:{address.port}")
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}{fields}\r\n".encode()


@pytest.mark.parametrize(
    "fields",
    [
        "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive , UPGRADE\r\nUpgrade: WebSocket\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    ],
)
async def test_repeated_fields_are_one_list(address: Address, fields: str) -> None:
    async with raw(address) as client:
        await client.send(handshake(address, fields))
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("upgrade", [H2C, "Connection: Upgrade\r\nUpgrade: websocket\r\n"], ids=["h2c", "websocket"])
async def test_an_upgrade_of_a_post_is_ignored(address: Address, upgrade: str) -> None:
    """The packets of the POST are handled, and the connection continues, also with data of the same segment."""
    async with Polling(address) as polling, raw(address) as client:
        target = address.url(sid=polling.sid).removeprefix(address.http)
        post = f"POST {target} HTTP/1.1\r\nHost: a\r\n{upgrade}Content-Length: 2\r\n\r\n40".encode()
        await client.send(post + HEALTH)
        assert [await client.status(), await client.status()] == [200, 404]
        assert (await polling.poll())[0].startswith("40{")
        await client.send(HEALTH)
        assert await client.status() == 404


@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.0", "x" * 1000])
async def test_another_upgrade_of_a_get_is_ignored(address: Address, protocol: str) -> None:
    """The request is answered over HTTP/1.1, and so is the next one."""
    async with raw(address) as client:
        for _ in range(2):
            target = address.url().removeprefix(address.http)
            head = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            await client.send(head.encode())
            assert await client.status() == 200


@pytest.mark.parametrize("name", ["Connection", "Upgrade"])
async def test_a_very_long_list_is_not_read(address: Address, name: str) -> None:
    """In one field or in several, before there is a session."""
    lists = {"Connection": "Upgrade", "Upgrade": "websocket"}
    for more, status in ((",x" * 480, 101), ("," * 1000, 400), (f",,,,,\r\n{name}: " * 200, 400)):
        fields = "".join(f"{each}: {value}{more if each == name else ''}\r\n" for each, value in lists.items())
        async with raw(address) as client:
            await client.send(handshake(address, fields))
            assert await client.status() == status


async def test_a_body_after_an_ignored_upgrade_may_arrive_in_parts(address: Address) -> None:
    """Head and chunked body are parsed correctly for any segmentation."""
    async with Polling(address) as polling, raw(address) as client:
        target = address.url(sid=polling.sid).removeprefix(address.http)
        request = f"POST {target} HTTP/1.1\r\nHost: a\r\n{H2C}Transfer-Encoding: chunked\r\n\r\n2\r\n40\r\n0\r\n\r\n"
        for byte in request.encode():
            await client.send(bytes([byte]))
        assert await client.status() == 200
        assert (await polling.poll())[0].startswith("40{")


async def test_a_tunnel_is_refused(address: Address) -> None:
    for target in (b"a:443", b"/"):
        async with raw(address) as client:
            await client.send(b"CONNECT %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert await client.status() in (400, 404)


@pytest.mark.parametrize("size", [5, 20_000, 300_000])
async def test_frames_after_a_handshake_are_handled(size: int) -> None:
    """A client need not wait for the answer to its handshake, also with a split frame."""
    engine = Engine()
    frame = client_frame(TEXT, b"4" + b"x" * size)
    async with serving_engine(engine, polls_by_call=True) as address, raw(address) as client:
        await client.send(handshake(address) + client_frame(TEXT, b"4first") + frame[:-3])
        await until(lambda: engine.recorders and engine.recorders[0].messages)
        await client.send(frame[-3:] + client_frame(TEXT, b"4last"))
        await until(lambda: len(engine.recorders[0].messages) == 3)
    assert engine.recorders[0].messages == [b"first", b"x" * size, b"last"]


@pytest.mark.parametrize("deflates", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("handshakes_wait", [False, True])
@pytest.mark.parametrize("size", [20_000, 200_000])
async def test_frames_after_a_handshake_wait_for_their_turn(
    size: int, *, handshakes_wait: bool, deflates: bool
) -> None:
    """They, and the handshake, wait behind others. Each message arrives once, as it was sent, and so does the next."""
    engine = Engine(compression=True)
    messages = [b"%d" % number + b"x" * 50 for number in range(size // 100)] + [b"y" * size]
    frames = b"".join(client_frame(TEXT, b"4" + message) for message in messages)
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflates else ""
    async with serving_engine(engine, polls_by_call=True) as address, raw(address) as client:
        registry = engine.registry
        with crowded(registry.strangers, *([registry.arrivals] if handshakes_wait else [])):
            await client.send(handshake(address, f"Connection: Upgrade\r\nUpgrade: websocket\r\n{offer}") + frames[:-3])
            await until(lambda: engine.recorders and len(engine.recorders[0].messages) == len(messages) - 1)
            await client.send(frames[-3:] + client_frame(TEXT, b"4last"))
            await until(lambda: len(engine.recorders[0].messages) > len(messages) or engine.recorders[0].reasons)
            assert engine.recorders[0].messages == [*messages, b"last"]


async def test_frames_after_a_handshake_share_the_turns() -> None:
    """A read that has them is handled in parts."""
    engine = Engine()
    frames = b"".join(client_frame(TEXT, b"4x") for _ in range(10_000))
    async with serving_engine(engine, polls_by_call=True) as address, raw(address) as client:
        engine.registry.strangers.share = 1e-9
        client.writer.write(handshake(address) + frames)
        await until(lambda: engine.recorders)
        assert await most_in_one_turn(lambda: len(engine.recorders[0].messages), 10_000) <= MAX_READ // 8


async def test_nothing_is_read_while_received_bytes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second read would be written over them, and bytes that were never received would be handled."""
    protocols = noted_protocols(monkeypatch)
    engine = Engine()
    async with serving_engine(engine, polls_by_call=True) as address, raw(address) as client:
        with crowded(engine.registry.strangers):
            await client.send(handshake(address) + client_frame(TEXT, b"4x"))
            while not engine.recorders:
                await asyncio.sleep(0)
            assert engine.recorders[0].messages == []
            with pytest.raises(RuntimeError, match="received bytes wait"):
                protocols[0].get_buffer(-1)
            await until(lambda: engine.recorders[0].messages == [b"x"])


async def test_frames_after_a_refused_handshake_are_ignored(server: SocketServer, address: Address) -> None:
    """The refusal is answered, and the connection is closed."""
    for is_crowded in (False, True):
        budgets = [registry_of(server).arrivals] if is_crowded else []
        with crowded(*budgets):
            async with raw(address) as client:
                await client.send(handshake(address).replace(b"EIO=4", b"EIO=3") + client_frame(TEXT, b"40"))
                assert await client.status() == 400
                await client.ended()
