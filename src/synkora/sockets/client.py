"""A session's sockets, one in each namespace it connected to."""

from typing import Final, Protocol

from synkora.engine.disconnect import Reason
from synkora.engine.registry import COMPLETION, new_id
from synkora.engine.session import Session
from synkora.engine.settings import EngineSettings
from synkora.protocol.errors import InvalidPayload, MessageTimeout, PayloadTooLarge, UnexpectedPacket
from synkora.protocol.socketio import (
    PLAIN_EVENT,
    Assembler,
    Packet,
    PacketType,
    decode_auth,
    encode_packet,
)
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket, SocketState

MAX_EARLY: Final = 65_536  # bytes of a message before CONNECT has been answered: a token has 16,384

_CONNECTED: Final = SocketState.CONNECTED


class Host(Protocol):
    """What clients connect to."""

    namespaces: dict[str, Namespace]
    max_attachments: int
    settings: EngineSettings

    def message_begun(self, client: "Client") -> None:
        """Give a client's attachments their time."""
        ...

    def message_completed(self, client: "Client") -> None:
        """Stop that time."""
        ...

    def client_connected(self, client: "Client") -> None:
        """Stop the time that a client has to connect to a namespace."""
        ...

    def client_left(self, client: "Client") -> None:
        """Forget a client."""
        ...


class Client:
    """Takes a session's messages, puts packets together, and gives each to the socket it is for."""

    __slots__ = ("_assembler", "_host", "_left", "_sockets", "session")

    def __init__(self, session: Session, host: Host) -> None:
        self.session = session
        self._host = host
        session.max_message = min(MAX_EARLY, host.settings.max_payload)
        self._assembler = Assembler(host.max_attachments, session.max_message)
        self._sockets: dict[str, Socket] = {}
        self._left: set[str] | None = None

    def on_message(self, data: bytes) -> None:
        """Take a text message. Raises `ProtocolError`."""
        if data.startswith(PLAIN_EVENT) and self._assembler.is_idle:  # nearly every message: it needs no packet
            main = self._sockets.get("/")
            if main is not None and main.state is _CONNECTED:
                self._host.namespaces["/"].receive(main, None, data[1:], ())
                return
        if len(data) >= self.session.max_message:  # with the byte that said it is a message it is longer
            raise self.session.too_large()
        packet = self._assembler.add_text(data)
        if packet is not None:
            self._receive(packet)
        else:
            self._host.message_begun(self)

    def on_binary(self, data: bytes) -> None:
        """Take an attachment. Raises `ProtocolError`."""
        packet = self._assembler.add_binary(data)
        if packet is not None:
            self._host.message_completed(self)
            self._receive(packet)
        else:
            self._host.message_begun(self)

    def message_timed_out(self) -> None:
        """End, since attachments did not come; but not while one is on its way."""
        if self.session.transport.seconds_since_progress() < COMPLETION:
            self._host.message_begun(self)
            return
        self.session.fail(MessageTimeout("attachments were announced and did not come"))

    def _receive(self, packet: Packet) -> None:
        socket = self._sockets.get(packet.namespace)
        if packet.type is PacketType.CONNECT:
            if len(packet.namespace) + len(packet.data) > MAX_EARLY:  # also behind another CONNECT
                raise PayloadTooLarge(f"CONNECT is larger than {MAX_EARLY} bytes")
            if socket is None:
                self._connect(packet)
            else:  # a page whose two hooks both connect sends a second CONNECT: the first one decides
                self.session.count_overhead(len(packet.data))
            return
        if socket is None or socket.state is not SocketState.CONNECTED:
            if self._left is not None and packet.namespace in self._left:
                self.session.count_overhead(_size(packet))
                return  # sent before the client learned that it is out
            raise UnexpectedPacket("not connected to this namespace")
        match packet.type:
            case PacketType.EVENT | PacketType.BINARY_EVENT:
                namespace = self._host.namespaces[packet.namespace]
                namespace.receive(socket, packet.id, packet.data, packet.attachments)
            case PacketType.ACK | PacketType.BINARY_ACK:
                self._receive_ack(socket, packet)
            case PacketType.DISCONNECT:
                self.session.count_overhead()
                self._remove(socket, Reason.CLIENT_NAMESPACE_DISCONNECT)
            case PacketType.CONNECT_ERROR:
                raise UnexpectedPacket("a client does not send CONNECT_ERROR")

    def _receive_ack(self, socket: Socket, packet: Packet) -> None:
        if packet.id is None:
            raise UnexpectedPacket("ack without an id")
        namespace = self._host.namespaces[packet.namespace]
        if not namespace.receive_ack(socket, packet.id, packet.data, packet.attachments):
            self.session.count_overhead(_size(packet))

    def _connect(self, packet: Packet) -> None:
        self.session.count_overhead(len(packet.namespace) + len(packet.data))
        name = packet.namespace
        namespace = self._host.namespaces.get(name)
        problem = "Invalid namespace"
        if namespace is not None:
            try:
                auth = decode_auth(packet.data)
            except InvalidPayload as error:
                problem = f"auth: {error}"
            else:
                socket = Socket(new_id(), name, self.session, packet.data, namespace.adapter, self._disconnect)
                self._sockets[name] = socket
                if self._left is not None:
                    self._left.discard(name)
                namespace.connect(socket, auth, self._settled)
                return
        self.session.send(encode_packet(PacketType.CONNECT_ERROR, name, {"message": problem}))

    def _settled(self, socket: Socket) -> None:
        if socket.connected:
            self.session.max_message = self._assembler.max_size = self._host.settings.max_payload
            self._host.client_connected(self)
        elif self._sockets.get(socket.namespace) is socket:
            del self._sockets[socket.namespace]

    def _disconnect(self, socket: Socket, reason: Reason, close: bool) -> None:
        for each in list(self._sockets.values()) if close else [socket]:
            self._dismiss(each, reason)
        if close:
            self.session.close(reason)

    def _dismiss(self, socket: Socket, reason: Reason) -> None:
        if socket.connected:
            self.session.outbox.put(self._host.namespaces[socket.namespace].disconnect_packet())
            if self._left is None:
                self._left = set()
            self._left.add(socket.namespace)
            self._remove(socket, reason)
        elif socket.state is SocketState.CONNECTING:
            socket.close()
            answer = {"message": "Disconnected by the server"}
            self.session.send(encode_packet(PacketType.CONNECT_ERROR, socket.namespace, answer))

    def _remove(self, socket: Socket, reason: Reason) -> None:
        self._sockets.pop(socket.namespace, None)
        self._host.namespaces[socket.namespace].disconnected(socket, reason)

    def on_close(self, reason: Reason) -> None:
        """Take leave of all sockets."""
        self._host.client_left(self)
        for socket in list(self._sockets.values()):
            self._remove(socket, reason)


def _size(packet: Packet) -> int:
    return len(packet.data) + sum(map(len, packet.attachments))
