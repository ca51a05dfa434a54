"""Messages for the Admin UI. Source: @socket.io/admin-ui 0.5, dist/typed-events.d.ts and dist/index.js."""

from typing import Any, Final

from msgspec import Struct

from synkora.app.all_instances import Nothing, Topic

#: With this feature the UI shows the pages of sockets, rooms and clients; without it, statistics only.
TABLES: Final = "ALL_EVENTS"
#: The other supported features. docs/admin-ui.md explains why join, leave and emit are not supported.
FEATURES: Final = ("DISCONNECT", "MDISCONNECT", "AGGREGATED_EVENTS")


class Config(Struct, rename="camel"):
    """The payload of `config`: what the UI can do with the server."""

    supported_features: list[str]


class NamespaceSize(Struct, rename="camel"):
    """A namespace, and its number of sockets on an instance."""

    name: str
    sockets_count: int


class Statistics(Struct, rename="camel"):
    """Statistics of an instance. `totals` are counts since its start, by the UI's names."""

    server_id: str
    hostname: str
    pid: int
    uptime: float  # seconds
    clients_count: int
    polling_clients_count: int
    namespaces: list[NamespaceSize]
    totals: dict[str, int]


class Growth(Struct):
    """The growth of a total, and its time in milliseconds since the epoch, rounded to a second."""

    timestamp: int
    type: str
    count: int


class ServerStats(Struct, rename="camel"):
    """The payload of `server_stats`: an instance's statistics."""

    server_id: str
    hostname: str
    pid: int
    uptime: float
    clients_count: int
    polling_clients_count: int
    aggregated_events: list[Growth]
    namespaces: list[NamespaceSize]


class SocketDescription(Struct, rename="camel"):
    """A socket: an item of `all_sockets`, and the payload of `socket_connected`."""

    id: str
    client_id: str
    transport: str
    nsp: str
    data: dict[str, Any]
    handshake: dict[str, Any]
    rooms: list[str]


class SocketUpdate(Struct):
    """The payload of `socket_updated`: a socket's changed fields."""

    id: str
    nsp: str
    transport: str
    data: dict[str, Any]


#: Requests for an instance's statistics and its sockets. The answers hold no credentials.
STATISTICS: Final[Topic[Nothing, Statistics]] = Topic("admin-ui:statistics", Nothing, Statistics)
SOCKETS: Final[Topic[Nothing, list[SocketDescription]]] = Topic(
    "admin-ui:sockets", Nothing, list[SocketDescription], keeps_halves=True
)
