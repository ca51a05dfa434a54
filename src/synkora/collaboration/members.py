"""Somebody connected, and the projects that they have joined over this connection."""

from collections.abc import Callable
from time import monotonic

from synkora.collaboration.access import Role
from synkora.collaboration.events import Sender
from synkora.collaboration.limits import Allowance
from synkora.identity.handshake import SignedIn
from synkora.identity.user import User
from synkora.sockets.socket import Socket


class Joining:
    """A join whose answer is awaited, and what is held until then.

    That is each event's name with what passes it on; `size` is the bytes of them all.
    """

    __slots__ = ("held", "size")

    def __init__(self) -> None:
        self.held: list[tuple[str, Callable[[], None]]] = []
        self.size = 0


class Member:
    """A socket with who is signed in over it.

    `projects` are those that it has joined, each with the role in it. `joining` are those whose answer is awaited.
    `since` is when it was signed in, by the monotonic clock. `received` is how many events have come from it. One that
    `is_parting` has left as far as others are told.
    """

    __slots__ = (
        "allowance",
        "is_parting",
        "joining",
        "projects",
        "received",
        "sender",
        "signed_in",
        "since",
        "socket",
    )

    def __init__(self, socket: Socket, signed_in: SignedIn, allowance: Allowance) -> None:
        self.socket = socket
        self.since = monotonic()
        self.received = 0
        self.signed_in = signed_in
        self.allowance = allowance
        self.sender = Sender(socketId=socket.id, userId=signed_in.user.id, userName=signed_in.user.name)
        self.projects: dict[str, Role] = {}
        self.joining: dict[str, Joining] | None = None
        self.is_parting = False

    @property
    def user(self) -> User:
        """Who is signed in."""
        return self.signed_in.user
