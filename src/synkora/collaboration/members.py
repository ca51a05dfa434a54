"""Somebody connected, and the projects that they have joined over this connection."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from synkora.collaboration.access import Role
from synkora.collaboration.events import Sender
from synkora.collaboration.limits import RateLimiter
from synkora.identity.handshake import SignedIn
from synkora.identity.user import User
from synkora.sockets.errors import EventRefused
from synkora.sockets.socket import Socket


class HeldEvent(NamedTuple):
    """An event that waits for the answer about access: `relay` sends it, `decided` completes its handler."""

    name: str
    relay: Callable[[Role], None]
    decided: asyncio.Future[None]


class PendingAccess:
    """A question about access to a project, and the events that wait for the answer.

    `joins` are the handlers of joins that wait, too. `size` is the bytes of all held events.
    """

    __slots__ = ("held", "joins", "size")

    def __init__(self) -> None:
        self.held: list[HeldEvent] = []
        self.size = 0
        self.joins: list[asyncio.Future[None]] = []

    def want_join(self) -> asyncio.Future[None]:
        """Join once the answer is there; the future completes then, with `EventRefused` for a refusal."""
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.joins.append(joined)
        return joined

    def settle_joins(self, refusal: EventRefused | None = None) -> None:
        """Complete the joins; without a refusal they are done, or no longer wanted."""
        for joined in self.joins:
            settle(joined, refusal)
        self.joins.clear()

    def drop(self) -> None:
        """Give up, since the connection has ended."""
        self.settle_joins()
        for event in self.held:
            settle(event.decided, None)


def settle(future: asyncio.Future[None], error: Exception | None) -> None:
    """Complete a handler's future; one that was cancelled with its task stays as it is."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class Member:
    """A socket with who is signed in over it.

    `projects` are those that it has joined, each with the role in it. `pending` are those whose access is being
    asked for. `leaving` are those whose leave has not been announced yet. `since` is when it was signed in, by the
    monotonic clock. `received` is how many events have come from it. One that `is_draining` has left as far as others
    are told.
    """

    __slots__ = (
        "is_draining",
        "leaving",
        "pending",
        "projects",
        "rate_limiter",
        "received",
        "sender",
        "signed_in",
        "since",
        "socket",
    )

    def __init__(self, socket: Socket, signed_in: SignedIn, rate_limiter: RateLimiter) -> None:
        self.socket = socket
        self.since = monotonic()
        self.received = 0
        self.signed_in = signed_in
        self.rate_limiter = rate_limiter
        self.sender = Sender(socketId=socket.id, userId=signed_in.user.id, userName=signed_in.user.name)
        self.projects: dict[str, Role] = {}
        self.pending: dict[str, PendingAccess] = {}
        self.leaving: set[str] = set()
        self.is_draining = False

    @property
    def user(self) -> User:
        """Who is signed in."""
        return self.signed_in.user
