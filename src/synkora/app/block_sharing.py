"""Fetches blocks that this instance missed: set before its start, or while it was disconnected from Redis."""

import asyncio
from typing import Final, Self

from synkora.app.all_instances import AllInstances, Nothing
from synkora.app.moderation import BLOCKS
from synkora.collaboration.blocks import Blocks

EVERY: Final = 2.0  # seconds
_TRIES: Final = 3  # an older instance without a console never answers


class BlockSharing:
    """Asks each new or returned instance once, within a `with` block in a running loop."""

    def __init__(self, instances: AllInstances, blocks: Blocks, *, every: float = EVERY) -> None:
        self._instances = instances
        self._blocks = blocks
        self._every = every
        self._tries: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            others = self._instances.others
            self._tries = {instance: self._tries.get(instance, _TRIES) for instance in others}
            await asyncio.gather(*(self._ask(instance) for instance in others if self._tries[instance]))
            await asyncio.sleep(self._every)

    async def _ask(self, instance: str) -> None:
        answers = await self._instances.ask(BLOCKS, Nothing(), instance)
        if instance not in answers.by_instance:
            self._tries[instance] -= 1
            return
        self._tries[instance] = 0
        for block in answers.by_instance[instance]:
            self._blocks.add(block)
