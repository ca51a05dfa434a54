"""Events and acks, ready to be sent."""

from collections.abc import Sequence

from synkora.engine.outgoing import Outgoing
from synkora.protocol.json import encode
from synkora.protocol.socketio import RESERVED_EVENTS, PacketType, encode_packet, take_attachments


def event(
    namespace: str,
    name: str,
    args: Sequence[object],
    *,
    id: int | None = None,
    volatile: bool = False,
    attachments: tuple[bytes, ...] = (),
) -> Outgoing:
    """An event; `attachments` are what placeholders in `args` already refer to.

    Raises `TypeError` for what JSON cannot hold, `ValueError` for a name that is Socket.IO's own.
    """
    if name in RESERVED_EVENTS:
        raise ValueError(f"{name!r} is a word of Socket.IO's own")
    if not attachments:
        args, attachments = take_attachments(args)
    kind = PacketType.BINARY_EVENT if attachments else PacketType.EVENT
    packet = encode_packet(kind, namespace, [name, *args], id=id, attachments=len(attachments))
    return Outgoing(packet, attachments, volatile=volatile)


class EventWriter:
    """Writes one event of a namespace again and again, each time with one argument: what stays the same is kept."""

    __slots__ = ("_head", "_name", "_namespace", "_volatile")

    def __init__(self, namespace: str, name: str, *, volatile: bool) -> None:
        self._namespace = namespace
        self._name = name
        self._volatile = volatile
        self._head = encode_packet(PacketType.EVENT, namespace, [name])[:-1] + b","

    def write(self, argument: object, attachments: tuple[bytes, ...]) -> Outgoing:
        """The event with a Struct or a `Raw`; `attachments` are what placeholders in it refer to."""
        if attachments:
            return event(self._namespace, self._name, (argument,), volatile=self._volatile, attachments=attachments)
        return Outgoing(self.packet(argument), volatile=self._volatile)

    def packet(self, argument: object) -> bytes:
        """The packet with a Struct or a `Raw` that has no attachments."""
        return self._head + encode(argument) + b"]"


def ack(namespace: str, id: int, args: Sequence[object]) -> Outgoing:
    """The answer to a client's event. Raises `TypeError` for what JSON cannot hold."""
    args, attachments = take_attachments(args)
    kind = PacketType.BINARY_ACK if attachments else PacketType.ACK
    return Outgoing(encode_packet(kind, namespace, args, id=id, attachments=len(attachments)), attachments)
