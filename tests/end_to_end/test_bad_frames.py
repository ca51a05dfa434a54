"""Data on a WebSocket connection from a client that does not speak WebSocket."""

import pytest
from tests.end_to_end.bystanders import Bystanders
from tests.end_to_end.raw import RawClient, RawWebSocket
from tests.support.wire import TEXT, client_frame

PING = b'42["ping"]'
LIMIT = 1_000_000

#: One of each kind; `tests/engine/transports/test_websocket.py` has them all.
FRAMES: dict[str, tuple[bytes, int]] = {
    "a frame that is not masked": (client_frame(TEXT, PING, masked=False), 1002),
    "a text that is not UTF-8": (client_frame(TEXT, b'42["\xff"]'), 1007),
    "a message over the limit": (client_frame(TEXT, b"4" * (LIMIT + 1)), 1009),
    "HTTP in place of frames": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10, 1002),
}


@pytest.fixture
def carrier(mallory: RawClient) -> RawWebSocket:
    assert isinstance(mallory.carrier, RawWebSocket)
    return mallory.carrier


@pytest.mark.parametrize("mallory", [RawWebSocket], indirect=True, ids=[""])
@pytest.mark.parametrize(("frames", "code"), FRAMES.values(), ids=FRAMES.keys())
async def test_broken_frames_end_only_their_connection(
    carrier: RawWebSocket, mallory: RawClient, bystanders: Bystanders, frames: bytes, code: int
) -> None:
    await carrier.send_bytes(frames)
    assert (await mallory.is_closed()).code == code
    await bystanders.notice_the_leave()
