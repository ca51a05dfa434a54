"""Descriptions of sockets for other servers, without headers and `auth` beyond a number of bytes."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Raw, Struct, field

from synkora.protocol import json
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.redis_adapter.wire_codec import InvalidMessage, RoomName, room_names
from synkora.sockets.snapshot import Handshake, SocketSnapshot

#: Bytes of an answer above which the clients' own data is omitted: Redis ends a connection with 32 MB unread.
MAX_HANDSHAKES: Final = 4_000_000
_DATE: Final = "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)"  # the form of String(new Date())


class _Handshake(Struct):
    headers: dict[str, Any] = {}
    query: dict[str, Any] = {}
    address: str | None = None
    auth: Raw = Raw(b"null")
    secure: bool = False
    issued: float = 0  # milliseconds


class _Description(Struct):
    id: str
    handshake: _Handshake = field(default_factory=_Handshake)
    rooms: list[RoomName] = []
    data: Any = None


_DESCRIPTION: Final[json.Decoder[_Description]] = json.Decoder(_Description)


def describe_all(snapshots: Iterable[SocketSnapshot]) -> list[Raw]:
    """Return sockets in JSON, like Node.js' adapter, with the application's data as far as JSON can represent it.

    Clients choose their headers, query and `auth`. These are omitted after the first `MAX_HANDSHAKES` bytes.
    """
    described: list[Raw] = []
    size = 0
    for snapshot in snapshots:
        whole = _describe(snapshot) if size < MAX_HANDSHAKES else None
        if whole is None or size + len(whole) > MAX_HANDSHAKES:
            whole = _describe(_without_choices(snapshot))
        size += len(whole)
        described.append(Raw(whole))
    return described


def _without_choices(snapshot: SocketSnapshot) -> SocketSnapshot:
    return replace(snapshot, handshake=replace(snapshot.handshake, headers={}, query={}, payload=b""))


def _describe(snapshot: SocketSnapshot) -> bytes:
    handshake = snapshot.handshake
    return json.encode(
        {
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
                "auth": Raw(handshake.payload or b"{}"),
            },
            "rooms": list(snapshot.rooms),
            "data": {key: value for key, value in snapshot.data.items() if _can_be_sent(value)},
        }
    )


def _can_be_sent(value: object) -> bool:
    try:
        json.encode(value)
    except (TypeError, RecursionError):
        return False
    return True


def snapshot_of(description: Raw) -> SocketSnapshot:
    """Return a socket from another server's JSON. Raises `InvalidMessage`."""
    try:
        found = _DESCRIPTION.decode(bytes(description))
    except (InvalidPayload, ProtocolError) as error:
        raise InvalidMessage(str(error)) from None
    handshake = found.handshake
    auth = bytes(handshake.auth)
    return SocketSnapshot(
        id=found.id,
        handshake=Handshake(
            headers={name: str(value) for name, value in handshake.headers.items()},
            query={name: str(value) for name, value in handshake.query.items()},
            address=handshake.address or "",
            secure=handshake.secure,
            issued=handshake.issued / 1000,
            payload=auth if auth.startswith(b"{") else b"",
        ),
        rooms=frozenset(room_names(found.rooms)),
        data=found.data if isinstance(found.data, dict) else {},
    )
