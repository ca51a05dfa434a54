"""An instance's place among the others: it says that it is alive, and takes out those who no longer say so."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import structlog

from synkora.cluster.presence_scripts import BEAT, REAP, Keys
from synkora.engine.logs import fault
from synkora.redis.link import Link, LinkDown, RedisRefused

_REAPED_AT_ONCE: Final = 1000  # connections, so that Redis is not held up
_RENEWALS: Final = 3  # within a lifetime
_GOODBYE_WITHIN: Final = 2.0  # seconds

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of presence over several instances, in seconds.

    An instance beats every `beat`, and is taken for dead after a `silence`. Each key in Redis lives for a `lifetime`
    that is renewed about three times within it. A list is told after `patience` though Redis has not answered.

    When Redis has been away for `absence`, others are taken for gone. When it is back, they have as long to come back
    too: for `watch` nobody is taken for dead, and for `doubt` those stay listed of whom Redis no longer knows.
    """

    beat: float = 2.0
    silence: float = 6.0
    lifetime: float = 300.0
    patience: float = 2.0
    absence: float = 10.0
    watch: float = 5.0
    doubt: float = 5.0


class InstanceLease:
    """Keeps an instance registered while Redis can be used.

    `registered` is called with the ids of the projects that Redis takes the instance to be in, whenever Redis has to
    be told anew what is really so. Before each beat `share` is asked for some projects, so that each has its turn after
    as many beats as it is called with; they live on, and `audit` gets the version of each.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        timing: Timing,
        *,
        registered: Callable[[Collection[str]], None],
        share: Callable[[int], list[str]],
        audit: Callable[[str, int], None],
    ) -> None:
        self.is_valid = False  # as far as is known here
        self.problem: str | None = None
        self._link = link
        self._keys = keys
        self._timing = timing
        self._registered = registered
        self._share = share
        self._audit = audit
        self._own_keys = (keys.instances, keys.instance(link.uid))
        self._since = 0.0  # by the loop's clock, when it last registered
        self._was_refused = False  # since the last beat
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._stay())

    def hurry(self) -> None:
        """Do not wait for the next beat."""
        self._awake.set()

    def lose(self) -> None:
        """Redis does not know the instance any more, or cannot be asked."""
        self.is_valid = False

    def refused(self, error: RedisRefused) -> None:
        """Redis does not do what presence asks."""
        self._was_refused = True
        if self.problem != str(error):
            self.problem = str(error)
            log.warning("presence_refused", problem=self.problem)

    async def close(self) -> None:
        """Take the instance out of everything, and do nothing after that."""
        self.is_valid = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        with suppress(LinkDown, RedisRefused, TimeoutError):
            async with asyncio.timeout(_GOODBYE_WITHIN):
                await self._take_out(self._link.uid, silence=0)

    async def _stay(self) -> None:
        while True:
            self._awake.clear()
            if self._link.is_up:
                try:
                    await self._beat()
                except LinkDown:
                    pass  # of which the link tells
                except RedisRefused as error:
                    self.refused(error)
                except Exception as error:  # noqa: BLE001  # a fault of ours: without beats all clients would leave
                    log.error("beat_failed", **fault(error))
                if not self._was_refused:
                    self.problem = None
                self._was_refused = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.beat):
                    await self._awake.wait()

    async def _beat(self) -> None:
        if not self.is_valid or (dead := await self._renew()) is None:
            dead = await self._register()
        if asyncio.get_running_loop().time() - self._since < self._timing.watch:
            return
        for instance in dead:
            log.warning("instance_gone", instance=instance)
            await self._take_out(instance, silence=self._timing.silence)

    async def _renew(self) -> list[str] | None:
        """Beat, and return the instances that no longer do; None if this one is taken for dead itself."""
        projects = self._share(int(self._timing.lifetime / self._timing.beat / _RENEWALS))

        def answered(reply: Any) -> None:
            if reply is None:
                self.lose()
            else:
                for project_id, version in zip(projects, reply[1], strict=True):
                    self._audit(project_id, int(version))

        reply = await self._link.run(
            BEAT, (*self._own_keys, *map(self._keys.project, projects)), self._beat_args(False), answered
        )
        return None if reply is None else [instance.decode() for instance in reply[0]]

    async def _register(self) -> list[str]:
        def listed(reply: Any) -> None:
            self.is_valid = True
            self._since = asyncio.get_running_loop().time()
            self._registered([project_id.decode() for project_id in reply])

        beating = self._link.run(BEAT, self._own_keys, self._beat_args(True))
        await self._link.call("SMEMBERS", self._own_keys[1], answered=listed)
        return [instance.decode() for instance in (await beating)[0]]

    def _beat_args(self, registers: bool) -> tuple[str | int, ...]:
        timing = self._timing
        return (self._link.uid, round(timing.silence * 1000), ceil(timing.lifetime), int(registers))

    async def _take_out(self, instance: str, *, silence: float) -> None:
        keys = self._keys
        names = (keys.instances, keys.instance(instance))
        places = (keys.project(""), keys.channel(""))
        times = (round(silence * 1000), ceil(self._timing.lifetime))
        while await self._link.run(REAP, names, (instance, *times, self._link.uid, *places, _REAPED_AT_ONCE)):
            pass
