"""Faults at random."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from tests.chaos.place import Place
from tests.chaos.site import Site

_GAP = (0.5, 3.5)  # seconds from one fault's beginning to that of the next


class Storm:
    """Causes faults, at most one at a time for each place and for Redis. `chance` decides."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self._site = site
        self._chance = chance
        self._busy: set[int | None] = set()
        self._strikes = asyncio.TaskGroup()
        self._begun: list[asyncio.Task[None]] = []
        self._of_places: dict[str, tuple[Callable[[Place, float], Awaitable[None]], float, float]] = {
            "kill": (site.kill, 0, 4),
            "restart": (site.restart, 0, 4),
            "pause": (site.pause, 0.5, 9),
            "cut": (site.cut, 0, 0),
            "stick": (site.stick, 0.5, 9),
            "deafen": (site.deafen, 1, 12),
        }
        self._of_redis: dict[str, tuple[Callable[[float], Awaitable[None]], float, float]] = {
            "pause_redis": (site.pause_redis, 0.5, 9),
            "kill_redis": (site.kill_redis, 0, 12),
        }

    @property
    def kinds(self) -> list[str]:
        return [*self._of_places, *self._of_redis]

    async def __aenter__(self) -> Self:
        await self._strikes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._strikes.__aexit__(kind, error, trace)

    async def rage(self, kinds: list[str]) -> None:
        """Cause a fault of each of these kinds, one after the other. Each lasts on while the next ones begin."""
        for kind in kinds:
            self._begun.append(self._strikes.create_task(self._strike(kind)))
            await asyncio.sleep(self._chance.uniform(*_GAP))

    async def pass_over(self) -> None:
        """Wait until everything works again."""
        begun, self._begun = self._begun, []
        await asyncio.wait(begun)

    async def _strike(self, kind: str) -> None:
        """Cause a fault, as soon as there is something that has none."""
        places = [place.number for place in self._site.places]
        targets = [None] if kind in self._of_redis else self._chance.sample(places, len(places))
        share = self._chance.random()
        while not (free := [target for target in targets if target not in self._busy]):
            await asyncio.sleep(0.1)
        if (number := free[0]) is None:
            strike_redis, least, most = self._of_redis[kind]
            await self._alone(None, strike_redis(least + share * (most - least)))
        else:
            strike, least, most = self._of_places[kind]
            await self._alone(number, strike(self._site.places[number], least + share * (most - least)))

    async def _alone(self, target: int | None, strike: Awaitable[None]) -> None:
        self._busy.add(target)
        try:
            await strike
        finally:
            self._busy.discard(target)
