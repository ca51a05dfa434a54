"""Sockets as servers describe them to each other."""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct, field

from synkora.protocol import json
from synkora.redis_adapter.wire_codec import InvalidMessage, RoomName, room_names
from synkora.sockets.snapshot import Handshake, SocketSnapshot

_DATE: Final = "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)"  # what String(new Date()) is like


class _Handshake(Struct):
    headers: dict[str, Any] = {}
    query: dict[str, Any] = {}
    address: str | None = None
    auth: Any = None
    secure: bool = False
    issued: float = 0  # milliseconds


class _Description(Struct):
    id: str
    handshake: _Handshake = field(default_factory=_Handshake)
    rooms: list[RoomName] = []
    data: Any = None


def describe(snapshot: SocketSnapshot) -> dict[str, Any]:
    """A socket as Node.js' adapter describes one; of the application's data what JSON can hold."""
    handshake = snapshot.handshake
    return {
        "id": snapshot.id,
        "handshake": {
            "headers": handshake.headers,
            "time": datetime.fromtimestamp(handshake.issued, UTC).strftime(_DATE),
            "address": handshake.address,
            "xdomain": "origin" in handshake.headers,
            "secure": handshake.secure,
            "issued": round(handshake.issued * 1000),
            "url": "/socket.io/?" + urlencode(handshake.query),
            "query": handshake.query,
            "auth": handshake.auth,
        },
        "rooms": list(snapshot.rooms),
        "data": {key: value for key, value in snapshot.data.items() if _can_be_sent(value)},
    }


def _can_be_sent(value: object) -> bool:
    try:
        json.encode(value)
    except (TypeError, RecursionError):
        return False
    return True


def snapshot_of(description: object) -> SocketSnapshot:
    """The socket that another server describes. Raises `InvalidMessage`."""
    try:
        found = msgspec.convert(description, _Description)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None
    handshake = found.handshake
    return SocketSnapshot(
        id=found.id,
        handshake=Handshake(
            headers={name: str(value) for name, value in handshake.headers.items()},
            query={name: str(value) for name, value in handshake.query.items()},
            address=handshake.address or "",
            auth=handshake.auth if isinstance(handshake.auth, dict) else {},
            secure=handshake.secure,
            issued=handshake.issued / 1000,
        ),
        rooms=frozenset(room_names(found.rooms)),
        data=found.data if isinstance(found.data, dict) else {},
    )
