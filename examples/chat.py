"""A chat in rooms, in thirty lines: python examples/chat.py [PORT]

To talk to it from Node.js, with socket.io-client (from a browser too, if `origins` names where its page is from):

    const socket = io("http://127.0.0.1:3000", { auth: { name: "Ada", room: "lobby" } });
    for (const event of ["joined", "message", "left"]) socket.on(event, console.log);
    socket.emit("message", "Hello!", console.log);

From Python, with python-socketio's Client (pip install "python-socketio[client]"):

    client.connect("http://127.0.0.1:3000", auth={"name": "Bob", "room": "lobby"})
    client.emit("message", "Hello!", callback=print)
"""

import sys

import msgspec

from synkora import Socket, SocketServer, serve

server = SocketServer(origins=["http://localhost:5173"])
chat = server.of("/")


class Guest(msgspec.Struct):
    """What a client says of itself when it connects; one that does not is refused."""

    name: str
    room: str = "lobby"


@chat.on_connect
def welcome(socket: Socket, guest: Guest) -> None:
    socket.data.update(name=guest.name, room=guest.room)
    socket.join(guest.room)
    socket.to(guest.room).emit("joined", guest.name)


@chat.on("message")
def message(socket: Socket, text: str) -> str:
    socket.to(socket.data["room"]).emit("message", socket.data["name"], text)
    return "sent"


@chat.on_disconnect
def goodbye(socket: Socket, reason: str) -> None:
    chat.to(socket.data["room"]).emit("left", socket.data["name"], reason)


if __name__ == "__main__":
    port = int(sys.argv[1]) if sys.argv[1:] else 3000
    serve(server, host="127.0.0.1", port=port, started=lambda at: print("Listening on port", at[0].getsockname()[1]))
