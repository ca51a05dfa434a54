"""Socket.IO inside a Starlette application, on its port.

Run from this folder: uvicorn starlette_app:app --port 3000 --ws starlette_app:server.websocket_protocol
docs/integrating.md has the commands of other ASGI servers, and what a page does.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from synkora import Socket, SocketServer

server = SocketServer()
main = server.of("/")


@main.on("say")
def say(socket: Socket, text: str) -> str:
    socket.broadcast.emit("said", text)
    return "told the others"


async def announce(request: Request) -> PlainTextResponse:
    main.emit("announced", request.query_params.get("text", ""))
    return PlainTextResponse(f"{len(main.sockets)} clients were told")


app = Starlette(
    routes=[Route("/announce", announce, methods=["POST"]), Mount("/socket.io", app=server.asgi)],
    lifespan=server.lifespan,
)
