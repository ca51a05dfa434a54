"""What operators and the app's backend do to clients, on all instances: disconnect, block, remove from a project."""

import time
from typing import Annotated, Final, NamedTuple

import msgspec

from synkora.app.all_instances import AllInstances, Nothing, Topic
from synkora.collaboration.blocks import MAX_BLOCKS, Block, BlockedKind
from synkora.collaboration.collaboration import Collaboration
from synkora.identity.user import MAX_ID_LENGTH

Count = Annotated[int, msgspec.Meta(ge=0, lt=10**15)]


class SocketNamed(msgspec.Struct, rename="camel"):
    """The connection to close."""

    socket_id: str


class ProjectNamed(msgspec.Struct, rename="camel"):
    """The project whose connections to count."""

    project_id: str


class MemberNamed(msgspec.Struct, rename="camel"):
    """The user to remove from a project."""

    project_id: str
    user_id: str


class Blocking(msgspec.Struct):
    """Requests to add or lift a block. Without a block, connections are closed only."""

    kind: BlockedKind
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    block: Block | None


DISCONNECT: Final = Topic[SocketNamed, bool]("disconnect", SocketNamed, bool)
COUNT: Final = Topic[ProjectNamed, int]("count", ProjectNamed, Count)
REMOVE: Final = Topic[MemberNamed, int]("remove", MemberNamed, Count)
BLOCK: Final = Topic[Blocking, int]("block", Blocking, Count)
BLOCKS: Final = Topic[Nothing, list[Block]](
    "blocks", Nothing, Annotated[list[Block], msgspec.Meta(max_length=MAX_BLOCKS)]
)


class TooManyBlocks(Exception):
    """There is no space for another block."""


class Done(NamedTuple):
    """The number of connections that an action concerned, and the instances that have not answered."""

    connections: int
    unanswered: list[str]


class Moderation:
    """Acts on all instances, and answers for this one."""

    def __init__(self, instances: AllInstances, collaboration: Collaboration) -> None:
        self._instances = instances
        self._collaboration = collaboration
        instances.answer(DISCONNECT, self._disconnect_here)
        instances.answer(COUNT, self._count_here)
        instances.answer(REMOVE, self._remove_here)
        instances.answer(BLOCK, self._block_here)
        instances.answer(BLOCKS, self._blocks_here)

    async def disconnect(self, socket_id: str) -> Done:
        """Close a client's whole connection."""
        answers, unanswered = await self._instances.ask(DISCONNECT, SocketNamed(socket_id))
        return Done(sum(answers.values()), unanswered)

    async def disconnect_all(self, kind: BlockedKind, name: str) -> Done:
        """Close all connections of a user or address. Their clients may return."""
        return await self._ask_block(kind, name, None)

    async def block(self, kind: BlockedKind, name: str, seconds: float) -> Done:
        """Block a user or address for a time, and close all connections. Raises `TooManyBlocks`."""
        blocks = self._collaboration.blocks
        block = Block(kind, name, time.time() + seconds, blocks.change_time(kind, name))
        if not blocks.add(block):
            raise TooManyBlocks
        return await self._ask_block(kind, name, block)

    async def unblock(self, kind: BlockedKind, name: str) -> Done | None:
        """Lift a block; None if there is none."""
        blocks = self._collaboration.blocks
        found = next((block for block in blocks.in_force if (block.kind, block.name) == (kind, name)), None)
        if found is None:
            return None
        lifted = Block(kind, name, found.until, blocks.change_time(kind, name), is_lifted=True)
        blocks.add(lifted)
        return await self._ask_block(kind, name, lifted)

    async def remove(self, project_id: str, user_id: str) -> Done:
        """Remove a user from a project. Whether the user may join again is the access policy's decision."""
        answers, unanswered = await self._instances.ask(REMOVE, MemberNamed(project_id, user_id))
        return Done(sum(answers.values()), unanswered)

    async def post_notice(self, project_id: str, message: str) -> Done:
        """Send a message to all members of a project."""
        self._collaboration.post_notice(project_id, message)
        answers, unanswered = await self._instances.ask(COUNT, ProjectNamed(project_id))
        return Done(sum(answers.values()), unanswered)

    async def _ask_block(self, kind: BlockedKind, name: str, block: Block | None) -> Done:
        answers, unanswered = await self._instances.ask(BLOCK, Blocking(kind, name, block))
        return Done(sum(answers.values()), unanswered)

    # The answers of this instance

    async def _disconnect_here(self, named: SocketNamed) -> bool:
        return self._collaboration.disconnect(named.socket_id)

    async def _count_here(self, named: ProjectNamed) -> int:
        return self._collaboration.count_here(named.project_id)

    async def _remove_here(self, named: MemberNamed) -> int:
        return self._collaboration.remove(named.project_id, named.user_id)

    async def _block_here(self, asked: Blocking) -> int:
        if asked.block is not None:
            self._collaboration.blocks.add(asked.block)
            if asked.block.is_lifted:
                return 0
        return self._collaboration.disconnect_all(asked.kind, asked.name)

    async def _blocks_here(self, _: Nothing) -> list[Block]:
        return self._collaboration.blocks.known
