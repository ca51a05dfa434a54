"""Applies blocks that this instance missed: set before its start, or while it was disconnected from Redis."""

import asyncio
from typing import Final, Self

from synkora.app.all_instances import AllInstances, Nothing
from synkora.app.moderation import BLOCKS
from synkora.collaboration.collaboration import Collaboration

EVERY: Final = 2.0  # seconds


class BlockSharing:
    """Asks each `expect`ed instance until it answers, and closes connections that are blocked.

    As an asynchronous context manager it first waits for the answers of all known instances, for a second at most.
    """

    def __init__(self, instances: AllInstances, collaboration: Collaboration, *, every: float = EVERY) -> None:
        self._instances = instances
        self._collaboration = collaboration
        self._every = every
        self._unasked: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._unasked.update(self._instances.others)
        await self._ask_all()
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    def expect(self, instance: str) -> None:
        """Ask an instance that may have other blocks: it or this one has started, or was disconnected from Redis."""
        self._unasked.add(instance)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._ask_all()

    async def _ask_all(self) -> None:
        asked = self._unasked.intersection(self._instances.others)
        self._unasked = set()  # an instance that returns introduces itself again
        await asyncio.gather(*map(self._ask, asked))

    async def _ask(self, instance: str) -> None:
        answers = await self._instances.ask(BLOCKS, Nothing(), instance)
        if instance not in answers.by_instance:
            self._unasked.add(instance)
            return
        blocks = self._collaboration.blocks
        before = set(blocks.in_force)
        for block in answers.by_instance[instance]:
            blocks.add(block)
        if not before.issuperset(blocks.in_force):
            self._collaboration.disconnect_blocked()
