import pytest

from synkora.protocol.errors import PayloadTooLarge
from synkora.protocol.socketio import Packet, PacketType
from synkora.sockets.early_packets import EarlyPackets


def packet(namespace: str, size: int = 0) -> Packet:
    return Packet(PacketType.EVENT, namespace, None, b"x" * size)


def test_only_packets_of_an_expected_namespace_are_kept_in_order() -> None:
    early = EarlyPackets(1000)
    early.expect("/a")
    assert not early.keep(packet("/b"))
    packets = [packet("/a", size) for size in (3, 1, 2)]
    assert all(map(early.keep, packets))
    assert early.take("/a") == packets
    assert early.is_idle


@pytest.mark.parametrize(("namespace", "size"), [("/a", 900), ("/" + "n" * 900, 0)], ids=["data", "name"])
def test_what_is_kept_is_bounded_in_bytes_and_taken_packets_make_room(namespace: str, size: int) -> None:
    """Of data and names: a dynamic namespace may have a long one."""
    early = EarlyPackets(1500)
    for _ in range(2):
        early.expect(namespace)
        assert early.keep(packet(namespace, size))
        early.take(namespace)
    early.expect(namespace)
    early.keep(packet(namespace, size))
    with pytest.raises(PayloadTooLarge):
        early.keep(packet(namespace, size))
