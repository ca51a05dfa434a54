"""A socket that may be connected to another server."""

from typing import TYPE_CHECKING, Any

from synkora.sockets import packets
from synkora.sockets.errors import AckTimeout, naming_event
from synkora.sockets.rooms import check_rooms
from synkora.sockets.snapshot import Handshake, SocketSnapshot

if TYPE_CHECKING:
    from synkora.sockets.namespace_core import NamespaceCore


class RemoteSocket:
    """A socket of any server, as it was when `fetch_sockets` was called. Its methods reach the socket on its server.

    Source: socket.io/docs/v4/server-api, "fetchSockets".
    """

    __slots__ = ("_core", "_snapshot")

    def __init__(self, core: "NamespaceCore", snapshot: SocketSnapshot) -> None:
        self._core = core
        self._snapshot = snapshot

    def __repr__(self) -> str:
        return f"<RemoteSocket {self.id} in {self._core.name}>"

    @property
    def id(self) -> str:
        """The public id, 20 characters."""
        return self._snapshot.id

    @property
    def handshake(self) -> Handshake:
        """The handshake of the connection."""
        return self._snapshot.handshake

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms, with the socket's own room, which is named like its id."""
        return self._snapshot.rooms

    @property
    def data(self) -> dict[str, Any]:
        """A copy of `Socket.data`: a change has no effect elsewhere."""
        return self._snapshot.data

    def emit(self, event: str, *args: object) -> None:
        """Send an event to this client, as `Socket.emit` does."""
        self._core.send_to(self.id, event, args)

    async def call(self, event: str, *args: object, timeout: float = 60) -> Any:
        """Send an event and wait up to `timeout` seconds for the client's ack.

        Returns the first argument of the ack, or None. Raises `AckTimeout`, also if the client has disconnected.
        """
        if self._core.outgoing:
            self._core.emitted(event, args)
        message = packets.event(self._core.name, event, args)
        with naming_event(event):
            answers = await self._core.adapter.call(message, (self.id,), (), timeout=timeout)
        if not answers:
            raise AckTimeout(f"{event!r}: the client left")
        return answers[0]

    def join(self, *rooms: str) -> None:
        """Add the socket to rooms. Raises `TypeError` for a room that is not a text."""
        self._core.adapter.sockets_join((self.id,), (), check_rooms(rooms))

    def leave(self, *rooms: str) -> None:
        """Remove the socket from rooms. Raises `TypeError` for a room that is not a text."""
        self._core.adapter.sockets_leave((self.id,), (), check_rooms(rooms))

    def disconnect(self, close: bool = False) -> None:
        """Disconnect the socket from the namespace; with `close`, end the whole connection."""
        self._core.adapter.disconnect_sockets((self.id,), (), close=close)
