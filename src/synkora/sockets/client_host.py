"""Creates the clients, and ends those that connect to no namespace in time."""

from collections.abc import Callable

from synkora.engine.registry import Registry
from synkora.engine.session import Session
from synkora.engine.settings import EngineSettings
from synkora.engine.timeouts import TimeoutQueue
from synkora.engine.transports.websocket import CLOSING_TIME
from synkora.protocol.socketio import MAX_ATTACHMENTS
from synkora.sockets.client import Client
from synkora.sockets.namespace_core import NamespaceCore


class ClientHost:
    """Creates a client for each session.

    A client has `connect_timeout` seconds to connect to a namespace, at its start and after it has left all of them.
    `find` returns the namespace of a name, or None.
    """

    max_attachments = MAX_ATTACHMENTS

    def __init__(
        self,
        settings: EngineSettings,
        registry: Registry,
        connect_timeout: float,
        find: Callable[[str], NamespaceCore | None],
    ) -> None:
        self.settings = settings
        self.find = find
        self.connecting: TimeoutQueue[Client] = TimeoutQueue(connect_timeout, lambda client: client.connect_timed_out())
        self.leaving: TimeoutQueue[Client] = TimeoutQueue(CLOSING_TIME, lambda client: client.leave_timed_out())
        self.arrivals = registry.arrivals
        self.strangers = registry.strangers
        self._incomplete = registry.partial_messages

    def accept(self, session: Session) -> Client:
        """Return a client for a new session."""
        client = Client(session, self)
        self.connecting.add(client)
        return client

    def message_begun(self, client: Client) -> None:
        """Start the timeout of a client's attachments."""
        self._incomplete.add(client)

    def message_completed(self, client: Client) -> None:
        self._incomplete.drop(client)

    def client_connected(self, client: Client) -> None:
        """Stop a client's timeout to connect to a namespace."""
        self.connecting.drop(client)
        self.leaving.drop(client)

    def client_waits(self, client: Client) -> None:
        """Start the timeout of a client that is in no namespace any more, unless it runs."""
        if client not in self.connecting:
            self.connecting.add(client)

    def client_leaves(self, client: Client) -> None:
        """Start the timeout of what a client that has left all namespaces has not read."""
        self.leaving.add(client)

    def client_left(self, client: Client) -> None:
        self.leaving.drop(client)
        self.connecting.drop(client)
        self._incomplete.drop(client)
