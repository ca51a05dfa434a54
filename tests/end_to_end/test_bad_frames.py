"""Data on a WebSocket connection from a client that does not speak WebSocket."""

import json

import pytest
from tests.end_to_end.bystanders import MALLORY, Bystanders
from tests.end_to_end.raw import Closed, RawClient, RawWebSocket
from tests.support.server_process import ServerProcess
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PONG, TEXT, Connection, client_frame
from tests.support.wire import PING as WS_PING

PING = b'42["ping"]'
LIMIT = 1_000_000

FRAMES: dict[str, tuple[bytes, set[int | None]]] = {
    "a frame that is not masked": (client_frame(TEXT, PING, masked=False), {1002}),
    "a reserved bit": (client_frame(TEXT, PING, rsv=4), {1002}),
    "another reserved bit": (client_frame(TEXT, PING, rsv=1), {1002}),
    "an unknown opcode": (client_frame(0x3, PING), {1002}),
    "an unknown control opcode": (client_frame(0xF, b""), {1002}),
    "a control frame in fragments": (client_frame(WS_PING, b"", fin=False), {1002}),
    "a control frame of 126 bytes": (client_frame(WS_PING, bytes(126)), {1002}),
    "a continuation of nothing": (client_frame(CONTINUATION, PING), {1002}),
    "a message within a message": (client_frame(TEXT, b"42", fin=False) + client_frame(TEXT, PING), {1002}),
    "a text that is not UTF-8": (client_frame(TEXT, b'42["\xff"]'), {1007}),
    "a character cut by the end": (client_frame(TEXT, b'42["\xf0\x9f'), {1007}),
    "fragments that are not UTF-8": (
        client_frame(TEXT, b'42["\xf0', fin=False) + client_frame(CONTINUATION, b'"]'),
        {1007},
    ),
    "a message over the limit": (client_frame(TEXT, b"4" * (LIMIT + 1)), {1009}),
    "a binary message over the limit": (client_frame(BINARY, bytes(LIMIT + 1)), {1009}),
    "fragments over the limit": (
        client_frame(TEXT, b"4" * (LIMIT // 2), fin=False)
        + 2 * client_frame(CONTINUATION, bytes(LIMIT // 2), fin=False),
        {1009},
    ),
    "the head of a message of 2^62 bytes": (bytes([0x81, 0xFF]) + (2**62).to_bytes(8) + bytes(4), {1009}),
    "a length of more than 63 bits": (bytes([0x81, 0xFF]) + b"\xff" * 8 + bytes(4), {1002, 1009}),
    "a close frame of one byte": (client_frame(CLOSE, b"\x03"), {1002, 1000, 1005}),
    "a close frame with a bad code": (client_frame(CLOSE, (999).to_bytes(2)), {1002, 1000, 1005, 999}),
    "HTTP in place of frames": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10, {1002, 1009}),
}


@pytest.fixture
def carrier(mallory: RawClient) -> RawWebSocket:
    assert isinstance(mallory.carrier, RawWebSocket)
    return mallory.carrier


@pytest.mark.parametrize("mallory", [RawWebSocket], indirect=True, ids=[""])
@pytest.mark.parametrize(("frames", "codes"), FRAMES.values(), ids=FRAMES.keys())
async def test_broken_frames_end_only_their_connection(
    carrier: RawWebSocket, mallory: RawClient, bystanders: Bystanders, frames: bytes, codes: set[int | None]
) -> None:
    await carrier.send_bytes(frames)
    assert (await mallory.is_closed()).code in codes
    await bystanders.notice_the_leave()


@pytest.mark.parametrize("mallory", [RawWebSocket], indirect=True, ids=[""])
async def test_a_message_in_fragments_is_a_message(
    carrier: RawWebSocket, mallory: RawClient, bystanders: Bystanders
) -> None:
    """It may be split anywhere, and control frames may come between (RFC 6455 section 5.4)."""
    packet = '42["no such event ü"]'.encode()
    pieces = [packet[at : at + 1] for at in range(len(packet))]
    await carrier.send_bytes(
        client_frame(TEXT, b"", fin=False)
        + b"".join(client_frame(CONTINUATION, piece, fin=False) for piece in pieces)
        + client_frame(PONG)
        + client_frame(CONTINUATION, b"")
    )
    assert "ü" in (await mallory.expect("error"))["message"]
    await mallory.goes_on()
    await bystanders.notice_nothing()


@pytest.mark.parametrize("mallory", [RawWebSocket], indirect=True, ids=[""])
async def test_a_message_of_the_limit_is_accepted(mallory: RawClient, bystanders: Bystanders) -> None:
    head, tail = '42["no such event","', '"]'
    await mallory.carrier.send(head + "x" * (LIMIT - len(head) - len(tail)) + tail)
    assert "nknown event" in (await mallory.expect("error"))["message"]
    await mallory.goes_on()
    await bystanders.notice_nothing()


@pytest.mark.parametrize("mallory", [RawWebSocket], indirect=True, ids=[""])
async def test_a_cut_connection_is_left(carrier: RawWebSocket, bystanders: Bystanders) -> None:
    await carrier.send_bytes(client_frame(TEXT, PING)[:-3])
    carrier.connection.abort()
    await bystanders.notice_the_leave()


HANDSHAKES = {
    "no key": ["Sec-WebSocket-Version: 13"],
    "a bad key": ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"],
    "no version": ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
    "an old version": ["Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
}


@pytest.mark.parametrize("headers", HANDSHAKES.values(), ids=HANDSHAKES.keys())
async def test_a_broken_handshake_is_refused(server: ServerProcess, bystanders: Bystanders, headers: list[str]) -> None:
    """With an HTTP status of a client's error."""
    connection = await Connection.open(server.port)
    lines = (
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
    )
    await connection.send("\r\n".join([*lines, *headers, "", ""]).encode())
    assert (await connection.head()).startswith("HTTP/1.1 4")
    await connection.close()
    await bystanders.notice_nothing()


async def test_a_session_refuses_a_second_websocket(server: ServerProcess, bystanders: Bystanders) -> None:
    first = await RawWebSocket.shake_hands(server, "")
    opening = await first.receive()
    assert isinstance(opening, str)
    owner = RawClient(first)
    await owner.sign_in(MALLORY)
    second = await RawWebSocket.shake_hands(server, json.loads(opening[1:])["sid"])
    await second.send("2probe", "5", '42["ping"]')
    assert isinstance(await second.receive(), Closed)
    await owner.goes_on()
    for carrier in (first, second):
        await carrier.close()
    await bystanders.notice_nothing()
