"""Socket.IO inside a FastAPI application, on its port.

Run from this folder: uvicorn fastapi_app:app --port 3000 --ws fastapi_app:server.websocket_protocol
docs/integrating.md has the commands of other ASGI servers, and what a page does.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from synkora import Socket, SocketServer

server = SocketServer()
main = server.of("/")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # What the application opens at its start and closes at its end has its place here.
    async with server.lifespan():
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/socket.io", server.asgi)


@main.on("say")
def say(socket: Socket, text: str) -> str:
    socket.broadcast.emit("said", text)
    return "told the others"


@app.post("/announce", response_class=PlainTextResponse)
async def announce(text: str = "") -> str:
    main.emit("announced", text)
    return f"{len(main.sockets)} clients were told"
