"""Blocks of users and addresses by operators, for a time, bounded in number."""

import time
from typing import Annotated, Final, Literal

import msgspec

from synkora.engine.addresses import parse_address, rate_limit_key
from synkora.identity.user import MAX_ID_LENGTH

MAX_BLOCKS: Final = 1000
LONGEST_BLOCK: Final = 7 * 86_400  # seconds

BlockedKind = Literal["user", "address"]


class Block(msgspec.Struct, frozen=True):
    """A block of a user id or an address (the /64 of an IPv6 address), until a time.

    Times are seconds since 1970. Of two blocks with the same name, the later `changed_at` wins, so that all instances
    agree. A lifted block is kept until its end, since another instance may not know yet that it is lifted.
    """

    kind: BlockedKind
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    until: float
    changed_at: float
    is_lifted: bool = False


def blocked_address(text: str) -> str | None:
    """Return the name under which an address, or the /64 of an IPv6 address, is blocked; None for another text."""
    host, slash, _ = text.partition("/")
    address = parse_address(host)
    if address is None:
        return None
    name = rate_limit_key(str(address))
    return None if slash and text != name else name


class Blocks:
    """The blocks that this instance knows, at most `MAX_BLOCKS`."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[BlockedKind, str], Block] = {}

    @property
    def known(self) -> list[Block]:
        """All blocks that have not ended, including lifted ones."""
        self._forget_ended()
        return list(self._blocks.values())

    @property
    def in_force(self) -> list[Block]:
        """The blocks that have neither ended nor been lifted."""
        return [block for block in self.known if not block.is_lifted]

    def change_time(self, kind: BlockedKind, name: str) -> float:
        """Return the time of a change that is made now: later than all known ones, also those of faster clocks."""
        known = self._blocks.get((kind, name))
        return time.time() if known is None else max(time.time(), known.changed_at + 0.001)

    def add(self, block: Block) -> bool:
        """Add a block, unless a later one with the same name is known; return False if there is no space."""
        key = (block.kind, block.name)
        known = self._blocks.get(key)
        if known is None and len(self._blocks) >= MAX_BLOCKS:
            self._forget_ended()
            if len(self._blocks) >= MAX_BLOCKS:
                return False
        if known is None or known.changed_at < block.changed_at:
            self._blocks[key] = block
        return True

    def remaining(self, user_id: str, address: str) -> float:
        """Return the remaining seconds of a block of a user or an address; 0 without a block."""
        if not self._blocks:
            return 0
        found = (self._blocks.get(("user", user_id)), self._blocks.get(("address", rate_limit_key(address))))
        ends = [block.until for block in found if block is not None and not block.is_lifted]
        return max(0.0, max(ends, default=0.0) - time.time())

    def _forget_ended(self) -> None:
        now = time.time()
        self._blocks = {key: block for key, block in self._blocks.items() if block.until > now}
