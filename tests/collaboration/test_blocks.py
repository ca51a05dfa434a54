"""Blocks of users and addresses by operators."""

import time

import pytest

from synkora.collaboration.blocks import MAX_BLOCKS, Block, BlockedKind, Blocks


def block(name: str = "alice", kind: BlockedKind = "user", *, ends: float = 600, changed: float = 0) -> Block:
    return Block(kind, name, time.time() + ends, changed)


def lifted(name: str = "alice", *, ends: float = 600, changed: float = 1) -> Block:
    return Block("user", name, time.time() + ends, changed, is_lifted=True)


def test_a_user_is_blocked_until_the_end() -> None:
    """From any address, and only this user. An ended block has no effect."""
    blocks = Blocks()
    assert blocks.remaining("alice", "192.0.2.1") == 0
    blocks.add(block())
    blocks.add(block("bob", ends=-1))
    assert blocks.remaining("alice", "192.0.2.1") == pytest.approx(600, abs=60)
    assert blocks.remaining("bob", "192.0.2.1") == 0
    assert blocks.remaining("192.0.2.1", "alice") == 0


def test_an_address_is_blocked_with_its_network() -> None:
    """For IPv6 the whole /64, for IPv4 only this address."""
    blocks = Blocks()
    blocks.add(block("192.0.2.1", "address"))
    blocks.add(block("2001:db8::/64", "address", ends=60))
    assert blocks.remaining("alice", "192.0.2.1") > 60
    assert blocks.remaining("alice", "2001:db8::7") > 0
    assert blocks.remaining("alice", "192.0.2.2") == blocks.remaining("alice", "2001:db8:0:1::7") == 0


def test_the_longer_of_two_counts() -> None:
    blocks = Blocks()
    blocks.add(block(ends=60))
    blocks.add(block("192.0.2.1", "address", ends=600))
    assert blocks.remaining("alice", "192.0.2.1") > 60


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_last_change_counts(order: tuple[int, ...]) -> None:
    """In any order in which instances receive them. A lifted block is known, and not in force."""
    changes = [block(changed=0), block(ends=60, changed=1), lifted(changed=2)]
    blocks = Blocks()
    for number in order:
        blocks.add(changes[number])
    assert blocks.known == [changes[2]]
    assert blocks.in_force == []
    assert blocks.remaining("alice", "192.0.2.1") == 0
    blocks.add(block(changed=3))
    assert blocks.remaining("alice", "192.0.2.1") > 0


@pytest.mark.parametrize("known", [block(changed=2_000_000_000_000), lifted(changed=2_000_000_000_000)])
def test_a_change_is_later_than_those_of_a_faster_clock(known: Block) -> None:
    blocks = Blocks()
    blocks.add(known)
    newer = block(ends=6000, changed=blocks.change_time("user", "alice"))
    assert blocks.add(newer)
    assert blocks.in_force == [newer]
    assert blocks.change_time("user", "bob") == pytest.approx(time.time(), abs=60)


def test_blocks_are_limited() -> None:
    """A further one is refused until one has ended. A known one can still be changed."""
    blocks = Blocks()
    for number in range(MAX_BLOCKS - 1):
        assert blocks.add(block(f"user-{number}"))
    assert blocks.add(block("brief", ends=-1, changed=-9))
    assert blocks.add(block("last"))
    assert not blocks.add(block("one more"))
    assert blocks.add(lifted("last"))
    assert len(blocks.known) == MAX_BLOCKS
    assert blocks.remaining("one more", "") == blocks.remaining("last", "") == 0
