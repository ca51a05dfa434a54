"""What an emitter sends, and the ways that it may take."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


class EmitFailed(ConnectionError):
    """Neither Redis nor the server has confirmed an emit or an action: it may have happened, or happen later.

    An emit with `once` can be repeated safely.
    """


@dataclass(frozen=True, slots=True)
class Target:
    """Who gets an event, and how. `once` is the key of an event that is published once.

    `traceparent` is the trace that an event belongs to.
    """

    namespace: str = "/"
    rooms: tuple[str, ...] = ()
    except_rooms: tuple[str, ...] = ()
    is_volatile: bool = False
    is_compressed: bool = True
    once: str = ""
    traceparent: str = ""


class Way(Protocol):
    """Redis or the HTTP API. Methods return when the other side has confirmed, and raise `EmitFailed`.

    They raise `ValueError` for what cannot be done this way.
    """

    async def emit(self, target: Target, event: str, args: tuple[object, ...], attachments: tuple[bytes, ...]) -> None:
        """Send an event."""
        ...

    async def join(self, target: Target, rooms: Collection[str]) -> None:
        """Add the sockets to rooms."""
        ...

    async def leave(self, target: Target, rooms: Collection[str]) -> None:
        """Remove the sockets from rooms."""
        ...

    async def disconnect(self, target: Target, *, close: bool) -> None:
        """Disconnect the sockets."""
        ...

    async def server_side_emit(self, target: Target, event: bytes) -> None:
        """Send an event, the JSON array of its name and arguments, to the servers."""
        ...

    async def close(self) -> None:
        """Disconnect. What was confirmed is not lost."""
        ...
