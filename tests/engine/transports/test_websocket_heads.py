"""WebSocket handshakes with unusual or large headers."""

import asyncio
import base64
import os

import pytest
from tests.support.processes import PATIENCE
from tests.support.servers import Address, Engine, serving_engine

from synkora.engine.transports.websocket_heads import split_target, subprotocol

KEY = base64.b64encode(bytes(16)).decode()


async def handshake(address: Address, **headers: str) -> bytes:
    """The head of the answer to a handshake with these headers. Underscores in names are hyphens."""
    lines = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    target = address.url("websocket").removeprefix(f"ws://127.0.0.1:{address.port}")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    try:
        writer.write(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        async with asyncio.timeout(PATIENCE):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("key", ["k" * 3000, "bm90IHNpeHRlZW4gYnl0ZXM=", "\xff" * 24, "AAAA AAAAAAAAAAAAAAAAAA==", ""])
async def test_a_key_that_is_not_sixteen_bytes_is_refused(key: str) -> None:
    engine = Engine()
    async with serving_engine(engine) as address:
        answer = await handshake(address, Sec_WebSocket_Key=key)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not engine.recorders


@pytest.mark.parametrize("name", ["Host", "Connection", "Cookie"])
async def test_large_headers_do_not_keep_a_client_out(name: str) -> None:
    """A handshake may have headers of kilobytes, including those that WebSocket needs."""
    value = "Upgrade" + ", keep-alive" * 80 if name == "Connection" else os.urandom(4000).hex()
    engine = Engine()
    async with serving_engine(engine) as address:
        answer = await handshake(address, **{name: value})
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert len(engine.recorders) == 1


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/socket.io/?EIO=4&a=%20", "/socket.io/", "EIO=4&a=%20"),
        (b"/socket.io", "/socket.io", ""),
        (b"/%73ocket.io%2F?a", "/socket.io/", "a"),
        (b"http://app.example.com:80/socket.io/?a=1#b", "/socket.io/", "a=1"),
        (b"/a?b?c", "/a", "b?c"),
        (b"http://app.example.com", "", ""),
        (b"/\xc3\xa9", "", ""),
    ],
)
def test_a_target_is_split_as_for_polling(target: bytes, path: str, query: str) -> None:
    """The path is decoded, scheme and host are removed, and an invalid target has no path."""
    assert split_target(target) == (path, query)


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        ("a", "a"),
        (" v2.a , b", "v2.a"),
        (", ,b", "b"),
        ("two words, b", "b"),
        ("ü, b", "b"),
        ("", None),
        (None, None),
        ("," * 99 + "a" * 4000 + ",b", "a" * 4000),
        ("," * 1000 + "a", None),
    ],
)
def test_the_first_subprotocol_is_chosen(offers: str | None, chosen: str | None) -> None:
    """The first token of a list: empty and invalid members are skipped, and very many members are not read."""
    assert subprotocol(offers) == chosen
