"""What an instance tells of itself."""

import asyncio
import os
import platform
import time
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from synkora.app.admin_ui.messages import NamespaceSize, SocketDescription, Statistics
from synkora.collaboration.service import Collaboration
from synkora.sockets.internals import adapter_of, registry_of, session_of
from synkora.sockets.server import SocketServer
from synkora.sockets.socket import Socket

# No others, since any may hold a secret: cookies and tokens do.
_HEADERS: Final = frozenset(("accept-language", "host", "origin", "user-agent", "x-forwarded-for", "x-forwarded-proto"))
_PARAMETERS: Final = ("EIO", "transport")
_ID_SIZE: Final = 12  # characters
_AT_ONCE: Final = 100  # sockets that are described in one turn of the loop
_LONGEST: Final = 200  # characters of a header that are shown
_ROOM_NAMES: Final = 250_000  # characters of rooms' names that are shown in all; clients choose the names


class AdminUiInstance:
    """This instance, for the admins of this and of other instances."""

    def __init__(self, server: SocketServer, collaboration: Collaboration) -> None:
        self._server = server
        self._collaboration = collaboration
        self._hostname = platform.node()
        self._started = time.monotonic()

    def statistics(self) -> Statistics:
        """How it is now: some reads of plain numbers."""
        registry, people = registry_of(self._server), self._collaboration
        opened, flusher = registry.opened.total(), registry.flusher
        received = sum(received.times for received in people.received.values()) + people.received_others.times
        return Statistics(
            server_id=f"{self._hostname}#{os.getpid()}",
            hostname=self._hostname,
            pid=os.getpid(),
            uptime=round(time.monotonic() - self._started, 3),
            clients_count=len(registry),
            polling_clients_count=registry.transports["polling"],
            namespaces=[
                NamespaceSize(name, len(adapter_of(namespace).rooms.members))
                for name, namespace in self._server.namespaces.items()
            ],
            totals={
                "rawConnection": opened,
                "rawDisconnection": opened - len(registry),
                "packetsIn": received,
                "packetsOut": flusher.deliveries,
                "bytesIn": flusher.bytes_in,
                "bytesOut": flusher.bytes_out,
            },
        )

    async def sockets(self) -> list[SocketDescription]:
        """All its sockets, without anything that somebody could sign in with."""
        sockets = [socket for namespace in self._server.namespaces.values() for socket in namespace.sockets.values()]
        described: list[SocketDescription] = []
        room_names = 0
        for start in range(0, len(sockets), _AT_ONCE):
            for socket in sockets[start : start + _AT_ONCE]:
                if socket.connected:
                    rooms = sorted(socket.rooms)
                    room_names += sum(map(len, rooms))
                    described.append(self._describe(socket, rooms if room_names <= _ROOM_NAMES else [socket.id]))
            await asyncio.sleep(0)
        return described

    def _describe(self, socket: Socket, rooms: list[str]) -> SocketDescription:
        member = self._collaboration.members.get(socket.id)
        return SocketDescription(
            id=socket.id,
            # Not the session's id itself: whoever has that can take the session over.
            client_id=sha256(session_of(socket).sid.encode()).hexdigest()[:_ID_SIZE],
            transport=socket.transport,
            nsp=socket.namespace,
            data={} if member is None else {"userId": member.user.id, "userName": member.user.name},
            handshake=_handshake(socket),
            rooms=rooms,
        )


def _handshake(socket: Socket) -> dict[str, Any]:
    request = session_of(socket).request
    headers = {name: value[:_LONGEST] for name, value in request.headers if name in _HEADERS}
    query = {name: value[:_LONGEST] for name, value in request.query.items() if name in _PARAMETERS}
    return {
        "address": request.address,
        "headers": headers,
        "query": query,
        "issued": round(socket.issued * 1000),
        "secure": request.secure,
        "time": datetime.fromtimestamp(socket.issued, UTC).isoformat(timespec="seconds"),
        "url": f"{request.path[:_LONGEST]}?{'&'.join(map('='.join, query.items()))}",
        "xdomain": "origin" in headers,
    }
