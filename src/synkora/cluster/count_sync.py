"""Counts over all instances: connections of an address and of a user, and failed sign-ins of an address."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

import msgspec

from synkora.cluster.instance_counts import InstanceCounts
from synkora.cluster.instance_directory import Announcement, InstanceDirectory
from synkora.cluster.instance_rpc import InstanceId
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.timeouts import TimeoutQueue
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, encode
from synkora.redis.link import Link, LinkDown, RedisRefused

BEAT: Final = 3.0  # seconds
SILENCE: Final = 10.0  # seconds
_MAX_STOPPED: Final = 100
PREFIX: Final = "synkora:"


class Report(msgspec.Struct, omit_defaults=True):
    """An instance's counts of connections by name, as far as they have changed.

    `failures` are the failed sign-ins since the last report. A `whole` report has all counts, and names absent from it
    count 0. A report that `asks` requests a whole report. An instance that is `stopping` says so before the connections
    end; the `last` report is its end. A `whole` report has the `announcement` of an instance that others can reach.
    """

    instance: InstanceId
    addresses: dict[str, int] = {}
    users: dict[str, int] = {}
    failures: dict[str, int] = {}
    whole: bool = False
    asks: bool = False
    stopping: bool = False
    last: bool = False
    announcement: Announcement | None = None


_REPORT: Final[Decoder[Report]] = Decoder(Report)


class CountSync:
    """Counts of this instance and of all others that share a Redis.

    Nothing is stored in Redis. Each instance publishes its changes once a turn, and all its counts when an instance, or
    Redis, has started or returned. The counts of an instance that is silent for `silence` seconds are dropped. So after
    `silence` seconds without Redis, only this instance's counts remain.

    The callbacks in `on_introduction` get the id of each instance that sends all its counts: it or this one has started
    or returned.
    """

    def __init__(
        self,
        link: Link,
        failures: FailureBackoff,
        *,
        prefix: str = PREFIX,
        beat: float = BEAT,
        silence: float = SILENCE,
    ) -> None:
        self.addresses = InstanceCounts(self._arm)
        self.users = InstanceCounts(self._arm)
        self.announcement: Announcement | None = None  # of this instance
        self.directory = InstanceDirectory()
        self.on_introduction: list[Callable[[str], None]] = []
        self.unreadable = 0
        self.stopped: deque[str] = deque(maxlen=_MAX_STOPPED)  # instances that have stopped, or are about to
        self._link = link
        self._failures = failures
        self._failed: Counter[str] = Counter()
        self._everyone = f"{prefix}tallies".encode()
        self._own = self._channel(link.uid)
        self._from_here = encode(Report(link.uid)).removesuffix(b"}")
        self._beat_interval = beat
        self._heard = TimeoutQueue(silence, self._fall_silent)
        self._took = asyncio.Event()
        self._is_armed = False
        self._timer: asyncio.TimerHandle | None = None  # while it runs
        failures.on_failure = self._note_failure
        for channel in (self._everyone, self._own):
            link.subscribe(channel, self._receive)

    @property
    def others(self) -> Collection[str]:
        """The ids of the live other instances."""
        return self.users.others

    def start(self) -> None:
        """Start to publish, in the running loop. The link may come up before or after."""
        self._link.on_up.append(self._introduce)
        if self._link.is_up:
            self._introduce()
        self._beat()

    async def meet(self, within: float) -> None:
        """Wait until all other instances have sent their counts, at most `within` seconds."""
        if not self._link.is_up:
            return
        with suppress(TimeoutError, LinkDown, RedisRefused):
            async with asyncio.timeout(within):
                subscribers = await self._link.call("PUBLISH", self._everyone, encode(Report(self._link.uid)))
                while len(self.others) < subscribers - 1:
                    self._took.clear()
                    await self._took.wait()

    def announce(self, announcement: Announcement) -> None:
        """Tell the others where they reach this instance."""
        self.announcement = announcement
        if self._timer is not None:
            self._send(self._everyone, self._everything())

    def announce_stop(self) -> None:
        """Tell the others that this instance stops; the connections count until they end."""
        self._send(self._everyone, Report(self._link.uid, stopping=True))

    def close(self) -> None:
        """Publish that this instance stops, and unsubscribe."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heard.cancel()
        self._link.on_up.remove(self._introduce)
        for channel in (self._everyone, self._own):
            self._link.unsubscribe(channel)
        self._send(self._everyone, Report(self._link.uid, last=True))

    # Publishing

    def _note_failure(self, site: str) -> None:
        self._failed[site] += 1
        self._arm()

    def _arm(self) -> None:
        if not self._is_armed:
            self._is_armed = True
            asyncio.get_running_loop().call_soon(self._tell_changes)

    def _tell_changes(self) -> None:
        self._is_armed = False
        if self._timer is not None:
            self._send(self._everyone, self._news())

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._beat_interval, self._beat)
        self._send(self._everyone, self._news())

    def _introduce(self) -> None:
        for instance in self.directory.tags:  # those that ended while Redis was away fall silent now
            self._heard.add(instance)
        self._failed.clear()  # the whole report contains them
        self._send(self._everyone, self._everything(asks=True))

    def _news(self) -> Report:
        failures, self._failed = dict(self._failed), Counter()
        return Report(self._link.uid, self.addresses.take(), self.users.take(), failures)

    def _everything(self, *, asks: bool = False) -> Report:
        return Report(
            self._link.uid,
            self.addresses.here,
            self.users.here,
            self._failures.counts,
            whole=True,
            asks=asks,
            announcement=self.announcement,
        )

    def _send(self, channel: bytes, report: Report) -> None:
        if self._link.is_up:  # otherwise the report would be lost: a whole one is published when the link is up
            self._link.publish(channel, encode(report))

    def _channel(self, instance: str) -> bytes:
        return self._everyone + b":" + instance.encode()

    # Receiving

    def _receive(self, message: bytes) -> None:
        if message.startswith(self._from_here):
            return
        try:
            report = _REPORT.decode(message)
        except (ProtocolError, InvalidPayload):
            self.unreadable += 1
            return
        instance = report.instance
        if report.stopping:
            self.stopped.append(instance)
            return
        if report.last:
            self._heard.drop(instance)
            self._drop(instance)
            self.directory.remove(instance)
            return
        if report.whole:
            self._drop(instance)
        elif instance not in self._heard:  # it was considered dead
            self._send(self._channel(instance), Report(self._link.uid, asks=True))
        self._heard.add(instance)
        self._take(report)
        if report.whole:
            for listener in self.on_introduction:
                listener(instance)
        if report.asks:
            self._tell_changes()  # before the whole report, which contains the changes
            self._send(self._channel(instance), self._everything())

    def _take(self, report: Report) -> None:
        self.addresses.set(report.instance, report.addresses)
        self.users.set(report.instance, report.users)
        for site, count in report.failures.items():
            if report.whole:
                self._failures.raise_to(site, count)
            else:
                self._failures.add(site, count)

        if report.whole:
            self.directory.set(report.instance, report.announcement)
        self._took.set()

    def _fall_silent(self, instance: str) -> None:
        """Drop the counts of an instance. Without Redis it may live, and is still reached."""
        self._drop(instance)
        if self._link.is_up:
            self.directory.remove(instance)

    def _drop(self, instance: str) -> None:
        self.addresses.drop(instance)
        self.users.drop(instance)
