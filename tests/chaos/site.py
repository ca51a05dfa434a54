"""The instances and their Redis, with all kinds of faults."""

import asyncio
import math
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from tests.chaos.faults import OUTLIVED, PAUSE, SILENCE, Fault, Faults
from tests.chaos.place import Place
from tests.chaos.record import Book, Instance
from tests.support.redis_server import RedisServer
from tests.support.relay import relaying

_STEADY = 1.5  # seconds of good health, after which it is believed
_AFTER = 1.0  # seconds that what stood still has to catch up
_RECOVERY = 60.0  # seconds: more than all that can go wrong one after the other


class Site:
    """Some instances and one Redis. Faults are recorded in `faults`; `mended` is the end of the last fault."""

    def __init__(self, folder: Path, places: int) -> None:
        self.book = Book()
        self.faults = Faults()
        self.redis = RedisServer()
        self.places: list[Place] = []
        self.mended = 0.0
        self._folder = folder
        self._count = places
        self._around = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            self._around.callback(self.redis.remove)
            await asyncio.to_thread(self.redis.start)
            for number in range(self._count):
                relay = await self._around.enter_async_context(relaying(self.redis.port))
                place = Place(number, relay, self._folder)
                self._around.push_async_callback(place.kill)
                self.places.append(place)
                await place.start()
        except BaseException:
            await self._around.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._around.aclose()

    @property
    def output(self) -> str:
        """The output of all instances, in the order of their starts."""
        return "\n".join(f"--- instance {place.number}\n{place.output}" for place in self.places)

    # What can go wrong

    async def kill(self, place: Place, seconds: float) -> None:
        """Kill an instance, and start another in its place after a while."""
        await place.kill()
        await asyncio.sleep(seconds)
        await self._start(place)

    async def restart(self, place: Place, seconds: float) -> None:
        """Stop an instance as a service manager does, and start another in its place after a while."""
        await place.stop()
        await asyncio.sleep(seconds)
        await self._start(place)

    async def _start(self, place: Place) -> None:
        fault = self._begin("starting", place)
        await place.start()
        await self._recover(fault, place)

    async def pause(self, place: Place, seconds: float) -> None:
        fault = self._begin(PAUSE, place)
        place.pause()
        await asyncio.sleep(seconds)
        place.resume()
        await self._recover(fault)

    async def cut(self, place: Place, seconds: float) -> None:
        """End an instance's connection to Redis. The next one can be made immediately."""
        fault = self._begin("cut off", place)
        place.relay.cut()
        await self._recover(fault, place)

    async def stick(self, place: Place, seconds: float) -> None:
        """Delay all data between an instance and Redis for a time, then deliver the data."""
        fault = self._begin("stuck" if seconds >= OUTLIVED else SILENCE, place)
        place.relay.is_stuck = True
        await asyncio.sleep(seconds)
        place.relay.is_stuck = False
        await self._recover(fault, *([place] if fault.loses else []))

    async def deafen(self, place: Place, seconds: float) -> None:
        """Drop all data from Redis to an instance for a time, and end the connection."""
        fault = self._begin("deaf", place)
        place.relay.is_deaf = True
        await asyncio.sleep(seconds)
        place.relay.cut()
        place.relay.is_deaf = False
        await self._recover(fault, place)

    async def pause_redis(self, seconds: float) -> None:
        fault = self._begin("frozen" if seconds >= OUTLIVED else SILENCE, None)
        self.redis.pause()
        await asyncio.sleep(seconds)
        self.redis.resume()
        await self._recover(fault, *(self.places if fault.loses else []))

    async def kill_redis(self, seconds: float) -> None:
        """Kill Redis, and start it after a while without its data."""
        fault = self._begin("killed", None)
        await asyncio.to_thread(self.redis.kill)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.redis.start)
        await self._recover(fault, *self.places)

    def _begin(self, kind: str, place: Place | None) -> Fault:
        return self.faults.begin(kind, None if place is None else place.number, time.monotonic())

    async def _recover(self, fault: Fault, *places: Place) -> None:
        """Record the end of the fault, and wait until everything works. If an instance has ended, the next one shows
        this.
        """
        self.mended = time.monotonic()
        await asyncio.sleep(_AFTER)
        await asyncio.gather(*(self._recovered(place, place.life) for place in places))
        fault.ended = time.monotonic()

    async def _recovered(self, place: Place, life: Instance) -> None:
        healthy_since, begun = math.inf, time.monotonic()
        while place.life is life and life.stopping == math.inf and time.monotonic() - healthy_since < _STEADY:
            await asyncio.sleep(0.2)
            now = time.monotonic()
            assert now - begun < _RECOVERY, f"instance {place.number} does not recover:\n{place.output}"
            healthy_since = min(healthy_since, now) if await place.is_healthy() else math.inf
