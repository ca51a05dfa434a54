"""Socket.IO inside a FastAPI application, on its port.

Run from this folder, by uvicorn or any other ASGI server:

    uvicorn fastapi_app:app --port 3000 --ws fastapi_app:server.websocket_protocol
    hypercorn fastapi_app:app --bind 127.0.0.1:3000
    granian --interface asgi fastapi_app:app --port 3000

Then, in a page of this application that has loaded socket.io-client:

    const socket = io();
    socket.on("said", console.log);
    socket.emit("say", "Hello!", console.log);
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from synkora import Socket, SocketServer

server = SocketServer()
main = server.of("/")


@main.on("say")
def say(socket: Socket, text: str) -> str:
    socket.broadcast.emit("said", text)
    return "told the others"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # What the application opens at its start and closes at its end has its place here.
    async with server.lifespan():
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/socket.io", server.asgi)


@app.post("/announce", response_class=PlainTextResponse)
async def announce(text: str = "") -> str:
    main.emit("announced", text)
    return f"{len(main.sockets)} people were told"
