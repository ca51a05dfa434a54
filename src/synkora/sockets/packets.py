"""Events and acks, ready to be sent."""

from collections.abc import Sequence

from synkora.engine.outgoing import Outgoing
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


def ack(namespace: str, id: int, args: Sequence[object]) -> Outgoing:
    """The answer to a client's event. Raises `TypeError` for what JSON cannot hold."""
    args, attachments = take_attachments(args)
    kind = PacketType.BINARY_ACK if attachments else PacketType.ACK
    return Outgoing(encode_packet(kind, namespace, args, id=id, attachments=len(attachments)), attachments)
