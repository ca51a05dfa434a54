"""What the admin UI is told. Source: @socket.io/admin-ui 0.5, dist/typed-events.d.ts and dist/index.js."""

from typing import Any, Final

from msgspec import Struct

from synkora.app.all_instances import Nothing, Topic

#: The pages of sockets, rooms and clients: without it the UI has those of figures alone.
TABLES: Final = "ALL_EVENTS"
#: What this server can do for the UI besides. That it does not join, leave and emit is explained in docs/admin-ui.md.
FEATURES: Final = ("DISCONNECT", "MDISCONNECT", "AGGREGATED_EVENTS")


class Config(Struct, rename="camel"):
    """What the UI can do with the server: `config`."""

    supported_features: list[str]


class NamespaceSize(Struct, rename="camel"):
    """A namespace, and how many sockets of an instance are in it."""

    name: str
    sockets_count: int


class Statistics(Struct, rename="camel"):
    """How an instance is; `totals` are its counts since it started, by the UI's words for what they count."""

    server_id: str
    hostname: str
    pid: int
    uptime: float  # seconds
    clients_count: int
    polling_clients_count: int
    namespaces: list[NamespaceSize]
    totals: dict[str, int]


class Growth(Struct):
    """By how much a total has grown, and when, in milliseconds since the epoch and to the second."""

    timestamp: int
    type: str
    count: int


class ServerStats(Struct, rename="camel"):
    """How an instance is, as the UI has it: `server_stats`."""

    server_id: str
    hostname: str
    pid: int
    uptime: float
    clients_count: int
    polling_clients_count: int
    aggregated_events: list[Growth]
    namespaces: list[NamespaceSize]


class SocketDescription(Struct, rename="camel"):
    """A socket: an item of `all_sockets`, and what `socket_connected` tells."""

    id: str
    client_id: str
    transport: str
    nsp: str
    data: dict[str, Any]
    handshake: dict[str, Any]
    rooms: list[str]


class SocketUpdate(Struct):
    """What has changed of a socket: `socket_updated`."""

    id: str
    nsp: str
    transport: str
    data: dict[str, Any]


#: How is an instance, and which sockets has it? Both are told without anything that somebody could sign in with.
STATISTICS: Final[Topic[Nothing, Statistics]] = Topic("admin-ui:statistics", Nothing, Statistics)
SOCKETS: Final[Topic[Nothing, list[SocketDescription]]] = Topic(
    "admin-ui:sockets", Nothing, list[SocketDescription], keeps_halves=True
)
