"""A stand-in for the web app: a page that connects as the app's pages do, and a session cookie for each visitor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from tests.support.users import CLIENTS

_LIBRARY = CLIENTS / "node_modules" / "socket.io-client" / "dist" / "socket.io.js"
_LIMIT = 2**20

_PAGE = b"""<!doctype html><title>A project</title><link rel="icon" href="data:,">
<script src="/library.js"></script><script>
const received = [];
let socket;
function start(url, options) {
  socket = io(url, {
    autoConnect: false, reconnection: true, reconnectionDelay: 1000, reconnectionDelayMax: 30000,
    reconnectionAttempts: Infinity, ...options,
  });
  socket.onAny((...event) => received.push(event));
  socket.on("connect", () => received.push(["connect", socket.id]));
  socket.on("connect_error", (error) => received.push(["connect_error", error.message]));
  socket.on("disconnect", (reason) => received.push(["disconnect", reason]));
  socket.connect();
}
</script>"""


class WebApp:
    """Serves the page on localhost. `/?session=TOKEN&cookie=NAME` makes TOKEN the visitor's session.

    With `behind`, the port of a server, requests below /socket.io/ go there, as behind a proxy for both.
    """

    def __init__(self, behind: int | None = None) -> None:
        self.port = 0
        self.behind = behind

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["WebApp"]:
        connections: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._answer(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the browser has closed
            finally:
                connections.discard(task)
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, limit=_LIMIT)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = urlsplit(head.split(b" ")[1].decode())
        if target.path.startswith("/socket.io/") and self.behind is not None:
            await _pipe(head, reader, writer, self.behind)
            return
        query = parse_qs(target.query)
        headers = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
        if "session" in query:
            [token], [cookie] = query["session"], query["cookie"]
            headers += f"Set-Cookie: {cookie}={token}; Path=/; HttpOnly; SameSite=Lax\r\n"
        kind, body = (
            ("text/javascript", _LIBRARY.read_bytes()) if target.path == "/library.js" else ("text/html", _PAGE)
        )
        headers += f"Content-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(headers.encode() + body)
        await writer.drain()


async def _pipe(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Connect the browser and the server. Everything that follows on a connection is for the server too."""
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
    server_writer.write(head)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()

    copies = [asyncio.create_task(copy(reader, server_writer)), asyncio.create_task(copy(server_reader, writer))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in copies:
            each.cancel()
        server_writer.close()  # before the wait, which may be cancelled as well
        await asyncio.gather(*copies, return_exceptions=True)
