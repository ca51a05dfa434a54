"""Members: signed-in sockets, with their projects and pending access checks."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from time import monotonic
from typing import NamedTuple

from synkora.collaboration.access import Role
from synkora.collaboration.events import Sender
from synkora.collaboration.limits import RateLimiter
from synkora.identity.sign_in import SignedIn
from synkora.identity.user import User
from synkora.sockets.socket import Socket


class Waiting:
    """A handler's wait for an access check. It is closed if the handler's event is refused."""

    __slots__ = ("_decided",)

    def __init__(self, decided: asyncio.Future[None]) -> None:
        self._decided = decided

    def __await__(self) -> Generator[object, None, None]:
        return self._decided.__await__()

    def close(self) -> None:
        """Cancel the join or the event."""
        self._decided.cancel()


class BufferedEvent(NamedTuple):
    """An event that waits for an access check: `relay` sends it, `decided` completes its handler.

    `memory` is the number of bytes that it takes.
    """

    name: str
    relay: Callable[[Role], None]
    decided: asyncio.Future[None]
    memory: int


class PendingAccess:
    """An access check in progress, or answered, and the events that wait for it and for their turn after the answer.

    `joins` has the futures of join handlers that wait. `memory` is the number of bytes that all waiting events take.
    """

    __slots__ = ("buffered", "joins", "memory")

    def __init__(self) -> None:
        self.buffered: deque[BufferedEvent] = deque()
        self.memory = 0
        self.joins: list[asyncio.Future[None]] = []

    @property
    def has_joins(self) -> bool:
        """Whether a join waits, and is not refused."""
        return not all(joined.cancelled() for joined in self.joins)

    def wait_to_join(self) -> Waiting:
        """Return what ends after the access check, with `EventRefused` for a refusal."""
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.joins.append(joined)
        return Waiting(joined)

    def complete_joins(self, failure: Exception | None = None) -> None:
        """Complete the waiting joins, with the failure if there is one."""
        for joined in self.joins:
            complete(joined, failure)
        self.joins.clear()

    def drop(self) -> None:
        """Complete all futures at the end of the connection."""
        self.complete_joins()
        for event in self.buffered:
            complete(event.decided, None)


def complete(future: asyncio.Future[None], error: Exception | None) -> None:
    """Complete a handler's future. A future that was cancelled with its task stays cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class Member:
    """A signed-in socket.

    `projects` are the joined projects, with the role in each. `pending` are access checks in progress by project.
    `leaving` are projects whose leave has not been announced yet. `since` is the time of the sign-in, by the monotonic
    clock. `received` counts the socket's events. `is_draining`: other members have been told that the member has left.
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
        return self.signed_in.user
