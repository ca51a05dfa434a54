"""Somebody connected, and the projects that they have joined over this connection."""

from synkora.collaboration.events import Sender
from synkora.identity.user import User
from synkora.sockets.socket import Socket


class Member:
    """A socket with its user."""

    __slots__ = ("projects", "sender", "socket", "user")

    def __init__(self, socket: Socket, user: User) -> None:
        self.socket = socket
        self.user = user
        self.sender = Sender(socketId=socket.id, userId=user.id, userName=user.name)
        self.projects: set[str] = set()
