"""A session's sockets, one per namespace: CONNECT, and packets with their attachments, which must come in time."""

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Final, Protocol

from synkora.engine.close_reasons import OutboxFull, Reason
from synkora.engine.message import Message
from synkora.engine.registry import COMPLETION, new_id
from synkora.engine.session import Session
from synkora.engine.settings import EngineSettings
from synkora.engine.turn_budget import TurnBudget
from synkora.protocol.errors import InvalidPayload, MessageTimeout, PayloadTooLarge, UnexpectedPacket
from synkora.protocol.json import encode
from synkora.protocol.socketio import (
    PLAIN_EVENT,
    Assembler,
    Packet,
    PacketType,
    encode_packet,
)
from synkora.sockets.early_packets import EarlyPackets
from synkora.sockets.errors import ConnectRefused
from synkora.sockets.handlers import FAILURES, outcome
from synkora.sockets.namespace_core import INTERNAL, NamespaceCore, handler_failed
from synkora.sockets.recovery import NamespaceRecovery
from synkora.sockets.socket import Socket, SocketState
from synkora.sockets.socket_recovery import RETURN_KEYS, take_return

#: Maximum namespaces per connection: it keeps the payload of CONNECT for each.
MAX_NAMESPACES: Final = 100
MAX_EARLY: Final = 65_536  # bytes of a message before the reply to CONNECT: a token has up to 16,384
MAX_REFUSED_NAME: Final = 1000  # characters

_CONNECTING: Final = SocketState.CONNECTING
_CONNECTED: Final = SocketState.CONNECTED


class Host(Protocol):
    """Finds the namespaces of clients, and runs the clients' timeouts."""

    arrivals: TurnBudget
    strangers: TurnBudget
    max_attachments: int
    settings: EngineSettings

    def find(self, name: str) -> NamespaceCore | None:
        """Return the namespace of this name, or None."""
        ...

    def message_begun(self, client: "Client") -> None:
        """Start the timeout of a client's attachments."""
        ...

    def message_completed(self, client: "Client") -> None: ...

    def client_connected(self, client: "Client") -> None:
        """Stop a client's timeout to connect to a namespace."""
        ...

    def client_waits(self, client: "Client") -> None:
        """Start a client's timeout to connect to a namespace again, unless it runs."""
        ...

    def client_leaves(self, client: "Client") -> None:
        """Start a client's timeout to read what it was sent before it left all namespaces."""
        ...

    def client_left(self, client: "Client") -> None: ...


class Client:
    """Assembles packets from a session's messages, and passes each to its socket.

    The client creates its sockets, and connects, refuses and disconnects them.
    """

    __slots__ = ("_assembler", "_early", "_host", "_left", "_sockets", "session")

    def __init__(self, session: Session, host: Host) -> None:
        self.session = session
        self._host = host
        session.max_message = min(MAX_EARLY, host.settings.max_payload)
        session.count_backlog_for_strangers()
        self._assembler = Assembler(host.max_attachments, session.max_message)
        self._sockets: dict[str, Socket] = {}
        self._left: set[str] | None = None
        self._early: EarlyPackets | None = None

    def on_message(self, data: bytes) -> None:
        """Handle a text message. Raises `ProtocolError`."""
        if data.startswith(PLAIN_EVENT) and self._assembler.is_idle:  # nearly every message: no packet object is needed
            main = self._sockets.get("/")
            if main is not None and main._state is _CONNECTED:
                main._core.receive(main, None, data[1:], ())
                return
        if len(data) >= self.session.max_message:  # with its type byte, the message exceeds the limit
            raise self.session.too_large()
        packet = self._assembler.add_text(data)
        if packet is not None:
            self._receive(packet)
        else:
            self._host.message_begun(self)
            self.session.hold(self, self._assembler.size)

    def on_binary(self, data: bytes) -> None:
        """Handle an attachment. Raises `ProtocolError`."""
        packet = self._assembler.add_binary(data)
        if packet is not None:
            self._host.message_completed(self)
            self.session.hold(self, 0)
            self._receive(packet)
        else:
            self._host.message_begun(self)
            self.session.hold(self, self._assembler.size)

    def message_timed_out(self) -> None:
        """End the session: attachments did not arrive in time. Without effect while one is being received."""
        if self.session.transport.seconds_since_progress() < COMPLETION:
            self._host.message_begun(self)
            return
        self.session.fail(MessageTimeout("attachments were announced and did not come"))

    def connect_timed_out(self) -> None:
        """End the session: the client is in no namespace. What waits for it is only refusals."""
        self.session.outbox.clear()
        self.session.close(Reason.FORCED_SERVER_CLOSE)

    def leave_timed_out(self) -> None:
        """End the session if the client has not read what it was sent before it left all namespaces."""
        if self.session.transport.has_unread:
            self.session.fail(OutboxFull("unread messages from before it left all namespaces"))

    def _receive(self, packet: Packet) -> None:
        if self._early is not None and self._early.keep(packet):
            return
        socket = self._sockets.get(packet.namespace)
        if packet.type is PacketType.CONNECT:
            if len(packet.namespace) + len(packet.data) > MAX_EARLY:  # also after another CONNECT
                raise PayloadTooLarge(f"CONNECT is larger than {MAX_EARLY} bytes")
            if socket is None:
                self._connect(packet)
            else:  # a page with two hooks that connect sends a second CONNECT: the first one counts
                self.session.count_overhead(len(packet.data))
            return
        if socket is None or socket._state is not _CONNECTED:
            if self._left is not None and packet.namespace in self._left:
                self.session.count_overhead(packet.size)
                return  # sent before the client learned of its disconnect
            raise UnexpectedPacket("not connected to this namespace")
        match packet.type:
            case PacketType.EVENT | PacketType.BINARY_EVENT:
                socket._core.receive(socket, packet.id, packet.data, packet.attachments)
            case PacketType.ACK | PacketType.BINARY_ACK:
                self._receive_ack(socket, packet)
            case PacketType.DISCONNECT:
                self.session.count_overhead()
                self._remove(socket, Reason.CLIENT_NAMESPACE_DISCONNECT)
                self._limit_backlog()
            case PacketType.CONNECT_ERROR:
                raise UnexpectedPacket("a client does not send CONNECT_ERROR")

    def _receive_ack(self, socket: Socket, packet: Packet) -> None:
        if packet.id is None:
            raise UnexpectedPacket("ack without an id")
        if not socket._core.receive_ack(socket, packet.id, packet.data, packet.attachments):
            self.session.count_overhead(packet.size)

    def _connect(self, packet: Packet) -> None:
        self.session.count_overhead(len(packet.namespace) + len(packet.data))
        if not self._sockets:  # the server may have disconnected the last one, and what it sent before still waits
            self.session.count_backlog_for_strangers()
        name = packet.namespace
        if len(self._sockets) >= MAX_NAMESPACES:
            self._refuse_name(name, "Too many namespaces")
            return
        core = self._host.find(name)
        if core is None:
            self._refuse_name(name, "Invalid namespace")
            return
        socket = Socket(new_id(), core, self.session, packet.data, self._disconnect)
        self._sockets[name] = socket
        if self._left is not None:
            self._left.discard(name)
        core.deciding += 1
        decide = partial(self._decide, socket)  # not decoded: very many may wait
        if not self._host.arrivals.run(decide, source=self.session.source):
            if self._early is None:
                self._early = EarlyPackets(MAX_EARLY)
            self._early.expect(name)

    def _decide(self, socket: Socket) -> None:
        packets = self._take_early(socket.namespace)
        try:
            self._decide_now(socket)
            for packet in packets:
                if not self.session.is_live:
                    return
                self._receive(packet)  # a further CONNECT may wait once more, and the packets behind it
        except Exception as error:  # it ends the session, as when a message arrives
            self.session.receive_failed(self.session.transport, error)

    def _take_early(self, namespace: str) -> Sequence[Packet]:
        if self._early is None:
            return ()
        packets = self._early.take(namespace)
        if self._early.is_idle:
            self._early = None
        return packets

    def _decide_now(self, socket: Socket) -> None:
        """Let the handlers of CONNECT decide; the socket may have disconnected meanwhile.

        Raises `ProtocolError` if the payload of CONNECT is not an object in JSON.
        """
        core = socket._core
        core.deciding -= 1
        if socket._state is not _CONNECTING:
            self._settle(socket)
            return
        try:
            auth = socket.auth
        except InvalidPayload as error:
            self._settle(socket, ConnectRefused(f"auth: {error}"))
            return
        brought = None
        if core.recovery is not None and not auth.keys().isdisjoint(RETURN_KEYS):
            brought = take_return(auth)
            socket._auth = encode(auth)  # without pid and offset: they are a credential for the session
        try:
            if core.recovery is not None and brought is not None:
                decision = core.decide_return(socket, auth, core.recovery, brought)
                later = self._connect_again(socket, core.recovery, decision)
            elif (decided := core.decide(socket, auth)) is None:
                self._settle(socket)
                return
            else:
                later = self._connect_later(socket, decided)
        except FAILURES as error:
            self._settle(socket, error)
        else:
            core.deciding += 1
            core.spawn(later)

    async def _connect_again(self, socket: Socket, recovery: NamespaceRecovery, decision: Awaitable[object]) -> None:
        try:
            await self._connect_later(socket, decision)
        finally:
            recovery.settled(socket)

    async def _connect_later(self, socket: Socket, decision: Awaitable[object]) -> None:
        try:
            await outcome(decision)
        except Exception as error:
            self._settle(socket, error)
        else:
            self._settle(socket)
        finally:
            socket._core.deciding -= 1

    def _settle(self, socket: Socket, error: BaseException | None = None) -> None:
        """Answer a CONNECT after its handlers have decided; the socket may have disconnected meanwhile."""
        if socket._state is _CONNECTING:
            if error is None:
                socket._core.sockets[socket.id] = socket
                if self.session.outbox.is_stranger:
                    self.session.outbox.count_for(None)
                socket._open()
                if self.session.budget is self._host.strangers:
                    self.session.budget = None
                    self.session.hold_for(None)
                self.session.max_message = self._assembler.max_size = self._host.settings.max_payload
                self._host.client_connected(self)
                return
            self._end_early(socket, Reason.SERVER_NAMESPACE_DISCONNECT)
            self._refuse(socket.namespace, error, socket)
        elif error is None and socket._is_greeted and socket._lost_for is not None:
            socket._core.disconnected(socket, socket._lost_for)
        if not socket.connected and self._sockets.get(socket.namespace) is socket:
            del self._sockets[socket.namespace]
            self._check_left()  # it may have left the others while this CONNECT was decided
            self._limit_backlog()

    def _refuse_name(self, name: str, words: str) -> None:
        """Send CONNECT_ERROR, which repeats the name. Raises `PayloadTooLarge` for a very long one."""
        if len(name) > MAX_REFUSED_NAME:
            raise PayloadTooLarge(f"the name of an unknown namespace is longer than {MAX_REFUSED_NAME} characters")
        self._refuse(name, ConnectRefused(words))

    def _refuse(self, namespace: str, error: BaseException, socket: Socket | None = None) -> None:
        """Send CONNECT_ERROR."""
        if isinstance(error, ConnectRefused):
            answer = {"message": str(error)} if error.data is None else {"message": str(error), "data": error.data}
            try:
                packet = encode_packet(PacketType.CONNECT_ERROR, namespace, answer)
            except Exception as unwritable:
                error = unwritable
            else:
                self.session.send(packet)
                if error.close:
                    self.session.close(Reason.FORCED_SERVER_CLOSE)
                return
        if socket is not None:
            handler_failed("connect", socket, error)
        self.session.send(encode_packet(PacketType.CONNECT_ERROR, namespace, {"message": INTERNAL}))

    def _disconnect(self, socket: Socket, close: bool) -> None:
        """Disconnect a socket from its namespace on the server's behalf; with `close`, end the whole connection."""
        reason = Reason.SERVER_NAMESPACE_DISCONNECT
        for each in list(self._sockets.values()) if close else [socket]:
            self._dismiss(each, reason)
        if close:
            self.session.close(reason)

    def _dismiss(self, socket: Socket, reason: Reason) -> None:
        if socket.connected:
            self.session.outbox.put(Message(encode_packet(PacketType.DISCONNECT, socket.namespace)))
            if self._left is None:
                self._left = set()
            self._left.add(socket.namespace)
            self._remove(socket, reason)
        elif socket._state is _CONNECTING:
            self._end_early(socket, reason)
            self._refuse(socket.namespace, ConnectRefused("Disconnected by the server"))

    def _remove(self, socket: Socket, reason: Reason) -> None:
        self._sockets.pop(socket.namespace, None)
        self._check_left()
        core = socket._core
        if core.sockets.get(socket.id) is not socket:
            self._end_early(socket, reason)
            return
        del core.sockets[socket.id]
        core.disconnecting(socket, reason)
        if core.recovery is not None:
            core.recovery.end(socket, reason)
        socket._close()
        core.disconnected(socket, reason)

    def _check_left(self) -> None:
        """Let a client that is in no namespace any more count with strangers, and limit its time."""
        if not self._sockets:
            self.session.count_for_strangers()
            if self.session.is_live:
                self._host.client_waits(self)

    def _limit_backlog(self) -> None:
        """Bound what waits for a client that has left all namespaces, and the time for it."""
        if not self._sockets and self.session.is_live and not self.session.outbox.is_stranger:
            self.session.count_backlog_for_strangers()
            self._host.client_leaves(self)

    def _end_early(self, socket: Socket, reason: Reason) -> None:
        """End a socket whose CONNECT has not been answered. `on_disconnect` is called after the handler of CONNECT."""
        if socket._state is not _CONNECTING:
            return
        socket._close()
        if socket._is_admitted:
            socket._core.disconnected(socket, reason)  # before another return to the session is admitted
        else:
            socket._lost_for = reason

    def on_close(self, reason: Reason) -> None:
        """Disconnect all sockets."""
        self._host.client_left(self)
        self.session.hold(self, 0)
        self._early = None
        for socket in list(self._sockets.values()):
            self._remove(socket, reason)
