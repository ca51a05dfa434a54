"""Packets that a client sends to a namespace while its CONNECT waits for a turn."""

from typing import Final

from synkora.protocol.errors import PayloadTooLarge
from synkora.protocol.socketio import Packet

_EXTRA: Final = 100  # bytes that a packet takes besides its data


class EarlyPackets:
    """Keeps the packets of namespaces that are `expect`ed, at most `most` bytes in all."""

    __slots__ = ("_kept", "_room")

    def __init__(self, most: int) -> None:
        self._room = most
        self._kept: dict[str, list[Packet]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no namespace is expected."""
        return not self._kept

    def expect(self, namespace: str) -> None:
        self._kept[namespace] = []

    def keep(self, packet: Packet) -> bool:
        """Keep a packet, or return False if it is of another namespace. Raises `PayloadTooLarge`."""
        kept = self._kept.get(packet.namespace)
        if kept is None:
            return False
        self._room -= _size(packet)
        if self._room < 0:
            raise PayloadTooLarge("too many messages before the reply to CONNECT")
        kept.append(packet)
        return True

    def take(self, namespace: str) -> list[Packet]:
        """Return the packets of a namespace, which is no longer expected."""
        kept = self._kept.pop(namespace, [])
        self._room += sum(map(_size, kept))
        return kept


def _size(packet: Packet) -> int:
    return packet.size + len(packet.namespace) + _EXTRA
