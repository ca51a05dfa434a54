"""Fetches blocks that this instance missed: set before its start, or while it was disconnected from Redis."""

import asyncio
from typing import Final, Self

from synkora.app.all_instances import AllInstances, Nothing
from synkora.app.moderation import BLOCKS
from synkora.collaboration.blocks import Blocks

EVERY: Final = 2.0  # seconds


class BlockSharing:
    """Asks each `expect`ed instance until it answers, within a `with` block in a running loop."""

    def __init__(self, instances: AllInstances, blocks: Blocks, *, every: float = EVERY) -> None:
        self._instances = instances
        self._blocks = blocks
        self._every = every
        self._unasked: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    def expect(self, instance: str) -> None:
        """Ask an instance that may have other blocks: it or this one has started, or was disconnected from Redis."""
        self._unasked.add(instance)

    async def _run(self) -> None:
        while True:
            await self._ask_all()
            await asyncio.sleep(self._every)

    async def _ask_all(self) -> None:
        asked = self._unasked.intersection(self._instances.others)
        self._unasked = set()  # an instance that returns introduces itself again
        await asyncio.gather(*map(self._ask, asked))

    async def _ask(self, instance: str) -> None:
        answers = await self._instances.ask(BLOCKS, Nothing(), instance)
        if instance not in answers.by_instance:
            self._unasked.add(instance)
            return
        for block in answers.by_instance[instance]:
            self._blocks.add(block)
