"""Access to this package's private parts, for Synkora's upper layers, not for applications.

Names that begin with an underscore are private to this package; its modules share them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from synkora.engine.drain import drain
from synkora.engine.registry import Registry
from synkora.engine.session import Session
from synkora.engine.transports.polling_endpoint import PollingEndpoint
from synkora.engine.turn_budget import TurnBudget
from synkora.sockets.adapter import Adapter
from synkora.sockets.client import Client
from synkora.sockets.namespace import Namespace
from synkora.sockets.namespace_core import DeclaredEvent
from synkora.sockets.recovery import NamespaceRecovery
from synkora.sockets.server import SocketServer
from synkora.sockets.socket import Socket, SocketState
from synkora.sockets.socket_recovery import LOST


def registry_of(server: SocketServer) -> Registry:
    """Return a server's sessions."""
    return server._registry


def polling_of(server: SocketServer) -> PollingEndpoint:
    """Return a server's endpoint for polling."""
    return server._polling


async def drain_in_groups(
    server: SocketServer,
    seconds: float,
    groups: Iterable[Sequence[Session]],
    tell: Callable[[Sequence[Session]], None],
) -> None:
    """Drain a server like `SocketServer.drain`. The sessions of a group end together, at most a hundred of them.

    `tell` is called with the sessions before they end.
    """
    await drain(server._registry, seconds, groups, tell)


async def start(server: SocketServer) -> None:
    """Connect a server to the other servers, before it accepts clients."""
    await server._start()


def adapter_of(namespace: Namespace) -> Adapter:
    """Return a namespace's adapter."""
    return namespace._core.adapter


def refused_events(namespace: Namespace) -> int:
    """Return the number of refused events."""
    return namespace._core.refused


def session_of(socket: Socket) -> Session:
    """Return the session of a socket."""
    return socket._session


def arrivals_of(socket: Socket) -> TurnBudget:
    """Return what shares the turns with the CONNECT of a socket."""
    return socket._core.arrivals


def sockets_of(session: Session) -> list[Socket]:
    """Return the sockets of a session."""
    return list(session.listener._sockets.values()) if isinstance(session.listener, Client) else []


def is_connecting(socket: Socket) -> bool:
    """Whether the CONNECT of a socket is still undecided."""
    return socket._state is SocketState.CONNECTING


def emit_once(socket: Socket, event: str, *args: object) -> None:
    """Send an event that is not kept for recovery, because it is useless after a lost connection."""
    socket._emit(event, args, keep=False)


def recovery_of(namespace: Namespace) -> NamespaceRecovery | None:
    """Return the kept events and sessions of a namespace, on a server with recovery."""
    return namespace._core.recovery


def returned_rooms(socket: Socket) -> frozenset[str]:
    """Return the rooms of a returning client before the reply to CONNECT; an empty set for a new client."""
    return frozenset() if socket._recovery is None else socket.rooms - {socket.id}


def may_return(socket: Socket, reason: str) -> bool:
    """Whether a client can return to its socket after a connection that ended for this reason."""
    return socket._core.recovery is not None and reason in LOST


def handlers_of(namespace: Namespace) -> dict[str, list[Callable[..., Any]]]:
    """Return the handlers of each event, in the order of their calls."""
    return namespace._core.routes.functions()


def namespaces_of(server: SocketServer) -> list[Namespace]:
    """Return a server's namespaces in the order of their names, then the dynamic ones."""
    return [*(namespace for _, namespace in sorted(server.namespaces.items())), *server._patterns]


def is_dynamic(namespace: Namespace) -> bool:
    """Whether a namespace is dynamic: named by a pattern or a function."""
    return namespace._pattern is not None


def declared_events(namespace: Namespace) -> dict[str, DeclaredEvent]:
    """Return the events that a namespace declares to emit."""
    return namespace._core.emits
