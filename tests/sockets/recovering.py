"""Servers with connection state recovery, and pages in their rooms."""

from typing import Any

from tests.support.page import Page

from synkora import ConnectRefused, Socket, SocketServer
from synkora.recovery.settings import RecoverySettings

SMALL = RecoverySettings(room_events=5, replay_events=3, replay_bytes=2000)


def recovering(recovery: bool | RecoverySettings = True, **options: Any) -> SocketServer:
    """A server whose clients join the rooms that they name, and may have a user."""
    server = SocketServer(recovery=recovery, **options)

    @server.use
    def sign_in(socket: Socket, auth: dict[str, Any]) -> None:
        if auth.get("token") == "bad":
            raise ConnectRefused("no")
        socket.identity = auth.get("user", "")

    server.on("join", lambda socket, room: socket.join(room))
    server.on("leave", lambda socket, room: socket.leave(room))
    server.on("say", lambda socket, room, value: socket.to(room).emit("said", {"value": value}))
    return server


async def joined(server: SocketServer, room: str = "r", **auth: object) -> Page:
    page = await Page(server).come(**auth)
    page.emit("join", room)
    await page.read()
    return page


async def lost(server: SocketServer, room: str = "r", **auth: object) -> Page:
    """A page that has joined the room, and lost its connection."""
    page = await joined(server, room, **auth)
    await page.lose()
    return page
