"""Samples for the console's charts: the server's counts, read every two seconds."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Self

import msgspec

from synkora.app.instance import Instance
from synkora.app.stats import RedisStats
from synkora.protocol.json import Raw, encode
from synkora.serving.memory import resident_memory

INTERVAL: Final = 2.0  # seconds
KEEPS: Final = 900.0  # seconds


class Connections(msgspec.Struct):
    """Connections by their transport."""

    websocket: int
    polling: int


class Waiting(msgspec.Struct):
    """Slow consumers, and the bytes in their backlogs."""

    clients: int
    bytes: int


class Sample(msgspec.Struct, rename="camel"):
    """An instance at one moment: current values, and totals since its start.

    `loop_lag` is the maximum since the previous sample, `cpu` the process's CPU seconds, `memory` its resident bytes.
    """

    at: float
    connections: Connections
    signed_in: int
    users: int
    projects: int
    events: dict[str, int]
    refused: int
    deliveries: int
    bytes_in: int
    bytes_out: int
    loop_lag: float
    cpu: float
    memory: int
    incidents: dict[str, int]
    limits: dict[str, int]
    waiting: Waiting
    dropped: int
    cut_off: int
    redis: RedisStats | None


def sample_of(instance: Instance) -> Sample:
    """Sample an instance now."""
    stats = instance.stats()
    return Sample(
        at=time.time(),
        connections=Connections(stats.transports.get("websocket", 0), stats.transports.get("polling", 0)),
        signed_in=stats.signed_in,
        users=stats.users,
        projects=stats.projects,
        events={name: times for name, times in stats.events.items() if times},
        refused=stats.refused,
        deliveries=stats.deliveries,
        bytes_in=stats.bytes_in,
        bytes_out=stats.bytes_out,
        loop_lag=instance.lag.take_worst(),
        cpu=time.process_time(),
        memory=resident_memory(),
        incidents={kind.value: times for kind, times in stats.incidents.items()},
        limits={limit.value: times for limit, times in stats.limits.items()},
        waiting=Waiting(stats.waiting_clients, stats.waiting_bytes),
        dropped=stats.dropped,
        cut_off=stats.cut_off,
        redis=stats.redis,
    )


class Sampler:
    """Takes a sample every `interval` seconds within a `with` block in a running loop; keeps them for `keeps` seconds.

    Samples are stored as JSON, the only form in which they are used.
    """

    def __init__(self, take: Callable[[], Sample], interval: float = INTERVAL, keeps: float = KEEPS) -> None:
        self._take = take
        self._interval = interval
        self._samples: deque[tuple[float, Raw]] = deque(maxlen=round(keeps / interval))
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._due = asyncio.get_running_loop().time()
        self._wake()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def after(self, at: float) -> list[Raw]:
        """Return the samples after a time, the oldest first."""
        newer = []
        for taken, sample in reversed(self._samples):
            if taken <= at:
                break
            newer.append(sample)
        newer.reverse()
        return newer

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        # Samples missed while the event loop was blocked are not made up.
        self._due = max(self._due + self._interval, loop.time())
        self._timer = loop.call_at(self._due, self._wake)
        sample = self._take()
        self._samples.append((sample.at, Raw(encode(sample))))
