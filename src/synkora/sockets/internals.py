"""The way for the layers above into what is private here: for Synkora's own product, not for applications.

Names that begin with an underscore are private to this package; its modules share them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from synkora.engine.drain import drain
from synkora.engine.registry import Registry
from synkora.engine.session import Session
from synkora.engine.transports.polling_endpoint import PollingEndpoint
from synkora.sockets.adapter import Adapter
from synkora.sockets.namespace import Namespace
from synkora.sockets.namespace_core import DeclaredEvent
from synkora.sockets.recovery import LOST, NamespaceRecovery, ReplaySize
from synkora.sockets.server import SocketServer
from synkora.sockets.socket import Socket, SocketState


def registry_of(server: SocketServer) -> Registry:
    """A server's sessions."""
    return server._registry


def polling_of(server: SocketServer) -> PollingEndpoint:
    """What answers a server's polls."""
    return server._polling


async def drain_in_groups(
    server: SocketServer,
    seconds: float,
    groups: Iterable[Sequence[Session]],
    tell: Callable[[Sequence[Session]], None],
) -> None:
    """Drain a server as `SocketServer.drain` does, the sessions of a group together, at most a hundred of them.

    `tell` is called with those that are about to be closed.
    """
    await drain(server._registry, seconds, groups, tell)


async def start(server: SocketServer) -> None:
    """Have a server connect to the others, before it takes clients."""
    await server._start()


def adapter_of(namespace: Namespace) -> Adapter:
    """What carries a namespace's broadcasts."""
    return namespace._core.adapter


def refused_events(namespace: Namespace) -> int:
    """How many events were answered with a refusal."""
    return namespace._core.refused


def session_of(socket: Socket) -> Session:
    """The connection that a socket is one of."""
    return socket._session


def is_connecting(socket: Socket) -> bool:
    """Whether its CONNECT has not been answered yet."""
    return socket._state is SocketState.CONNECTING


def emit_once(socket: Socket, event: str, *args: object) -> None:
    """Send an event to a client that has no use for it after a lost connection: it is not kept for recovery."""
    socket._emit(event, args, keep=False)


def recovery_of(namespace: Namespace) -> NamespaceRecovery | None:
    """The kept events and sessions of a namespace, on a server with recovery."""
    return namespace._core.recovery


def returned_rooms(socket: Socket) -> frozenset[str]:
    """The rooms that a client has returned to, before its CONNECT is answered; none for a new client."""
    return frozenset() if socket._recovery is None else socket.rooms - {socket.id}


def replay_size(socket: Socket) -> ReplaySize:
    """What it costs that a client has returned, besides its rooms."""
    return ReplaySize() if socket._recovery is None else socket._recovery.size


def may_return(socket: Socket, reason: str) -> bool:
    """Whether a client whose connection has ended for a reason can return to its socket."""
    return socket._core.recovery is not None and reason in LOST


def handlers_of(namespace: Namespace) -> dict[str, list[Callable[..., Any]]]:
    """The handlers of each event, in the order that they are called in."""
    return namespace._core.routes.functions()


def namespaces_of(server: SocketServer) -> list[Namespace]:
    """A server's namespaces in the order of their names, and those that stand for many, by a pattern or a function."""
    return [*(namespace for _, namespace in sorted(server.namespaces.items())), *server._patterns]


def is_dynamic(namespace: Namespace) -> bool:
    """Whether a namespace stands for many, by a pattern or a function of a name."""
    return namespace._pattern is not None


def declared_events(namespace: Namespace) -> dict[str, DeclaredEvent]:
    """The events that a namespace declares to emit."""
    return namespace._core.emits
