"""This instance's answers to requests of the Admin UI."""

import asyncio
import os
import platform
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from synkora.app.admin_ui.messages import SOCKETS, STATISTICS, NamespaceSize, SocketDescription, Statistics
from synkora.app.all_instances import Nothing
from synkora.app.instance import Instance
from synkora.sockets.internals import session_of
from synkora.sockets.socket import Socket

# Other headers may hold secrets: cookies and tokens.
_HEADERS: Final = frozenset(("accept-language", "host", "origin", "user-agent", "x-forwarded-for", "x-forwarded-proto"))
_PARAMETERS: Final = ("EIO", "transport")
_ID_SIZE: Final = 12  # characters
_AT_ONCE: Final = 100  # sockets described in one turn of the loop
_LONGEST: Final = 200  # characters of a header shown
_ROOM_NAMES: Final = 250_000  # characters of all shown room names together; clients choose the names


class AdminUiInstance:
    """Answers admins of this instance and of other instances."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._server = instance.server
        self._collaboration = instance.collaboration
        self._hostname = platform.node()
        instance.instances.answer(STATISTICS, self._statistics)
        instance.instances.answer(SOCKETS, self._sockets)

    async def _statistics(self, _: Nothing) -> Statistics:
        stats = self._instance.stats()
        opened = sum(stats.opened.values())
        return Statistics(
            server_id=f"{self._hostname}#{os.getpid()}",
            hostname=self._hostname,
            pid=os.getpid(),
            uptime=round(self._instance.uptime, 3),
            clients_count=stats.sessions,
            polling_clients_count=stats.transports.get("polling", 0),
            namespaces=[NamespaceSize(name, sockets) for name, sockets in stats.namespaces.items()],
            totals={
                "rawConnection": opened,
                "rawDisconnection": opened - stats.sessions,
                "packetsIn": sum(stats.events.values()),
                "packetsOut": stats.deliveries,
                "bytesIn": stats.bytes_in,
                "bytesOut": stats.bytes_out,
            },
        )

    async def _sockets(self, _: Nothing) -> list[SocketDescription]:
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
            # Not the session's id: with the id one can take over the session.
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
