"""An application with answers of several sizes, and what its clients do."""

from starlette.types import Receive, Scope, Send
from tests.support.wire import Connection

from synkora import SocketServer

SOON = 0.5  # seconds, in place of ten or thirty
LARGE = 30_000_000  # bytes: more than sockets hold
MEDIUM = 30_000  # bytes: less than a full write buffer
SIZES = {"/large": LARGE, "/medium": MEDIUM}
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


async def check_health(client: Connection) -> None:
    await client.send(HEALTH)
    assert await client.status() == 200


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request, with a body of the path's size."""
    body = b"x" * SIZES.get(scope["path"], 2)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def counted(server: SocketServer) -> list[tuple[str, int, str]]:
    return [(tally.kind, tally.times, tally.label) for tally in server.incidents.take()]
