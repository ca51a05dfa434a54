"""An instance's lease: a registration in Redis that ends unless it is renewed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from synkora.cluster.presence_scripts import REAP, RENEW_LEASE, Keys
from synkora.redis.link import Link

_REAPED_AT_ONCE: Final = 1000  # connections, so that Redis is not blocked
_PROJECTS_AT_ONCE: Final = 100
_LISTED_AT_ONCE: Final = 1000  # projects
_RENEWALS: Final = 3  # within a lifetime


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of presence over several instances, in seconds.

    An instance renews its lease every `beat`, and is considered dead after `silence` without a renewal: its clients
    have at least the difference to return, and the others learn within the sum that they have left. Each key in Redis
    expires after `lifetime`, and is renewed about three times within it. A list is sent after `timeout` even without an
    answer of Redis.

    When Redis has been unavailable for `absence`, the members of other instances are removed. When Redis is back, other
    instances need time to reconnect: for `watch` no instance is considered dead, and for `doubt` members that Redis no
    longer knows stay listed.
    """

    beat: float = 2.0
    silence: float = 7.2
    lifetime: float = 300.0
    timeout: float = 2.0
    absence: float = 10.0
    watch: float = 5.0
    doubt: float = 5.0

    @property
    def beats_between_renewals(self) -> int:
        """The number of beats in which all projects are renewed once."""
        return max(int(self.lifetime / self.beat / _RENEWALS), 1)


class InstanceLease:
    """The lease of one instance. `is_valid` is the state that this instance knows.

    Its methods raise `LinkDown` and `RedisRefused`.
    """

    def __init__(self, link: Link, keys: Keys, timing: Timing, *, webhooks: bool = False) -> None:
        self.is_valid = False
        self._link = link
        self._keys = keys
        self._webhooks = webhooks
        self._timing = timing
        self._own_keys = (keys.instances, keys.instance(link.uid))
        self._since = 0.0  # time of the last registration, by the loop's clock

    @property
    def is_fresh(self) -> bool:
        """Whether the lease is so new that other instances may not have reconnected to Redis yet."""
        return asyncio.get_running_loop().time() - self._since < self._timing.watch

    async def renew(self, projects: Sequence[str], audit: Callable[[str, int], None]) -> list[str] | None:
        """Renew the lease, and some projects; `audit` gets the version of each, in order among the messages.

        Returns the instances with an expired lease; None if this instance's own lease has expired.
        """

        def answered(reply: Any) -> None:
            if reply is None:
                self.is_valid = False
            else:
                for project_id, version in zip(projects, reply[1], strict=False):
                    audit(project_id, int(version))

        keys = (*self._own_keys, *map(self._keys.project, projects), *self._users(projects))
        reply = await self._link.run(RENEW_LEASE, keys, self._beat_args(False), answered)
        return None if reply is None else _names(reply[0])

    async def register(self, registered: Callable[[list[str]], None]) -> list[str]:
        """Take the lease; `registered` gets the ids of this instance's projects according to Redis.

        Returns the instances with an expired lease.
        """

        names: dict[str, None] = {}
        cursor = b"0"

        def listed(reply: Any) -> None:
            nonlocal cursor
            cursor = reply[0]
            names.update(dict.fromkeys(_names(reply[1])))
            if cursor == b"0":
                self.is_valid = True
                self._since = asyncio.get_running_loop().time()
                registered(list(names))

        beating = self._link.run(RENEW_LEASE, self._own_keys, self._beat_args(True))
        own = self._link.key(self._own_keys[1])
        while not self.is_valid:  # Redis ends a connection with a reply that is too large
            await self._link.call("SSCAN", own, cursor, "COUNT", _LISTED_AT_ONCE, answered=listed)
        return _names((await beating)[0])

    def _users(self, projects: Sequence[str]) -> Sequence[bytes]:
        return [self._keys.users(project_id) for project_id in projects] if self._webhooks else ()

    def _beat_args(self, registers: bool) -> tuple[str | int, ...]:
        timing = self._timing
        return (self._link.uid, round(timing.silence * 1000), ceil(timing.lifetime), int(registers))

    async def give_up(self) -> None:
        """Remove this instance from all its projects."""
        self.is_valid = False
        await self._take_out(self._link.uid, silence=0)

    async def reap(self, instance: str) -> None:
        """Remove an instance with an expired lease from all its projects."""
        await self._take_out(instance, silence=self._timing.silence)

    async def _take_out(self, instance: str, *, silence: float) -> None:
        keys = self._keys
        names = (keys.instances, keys.instance(instance))
        queue = (keys.webhooks, keys.webhook_state) if self._webhooks else ()
        times = (round(silence * 1000), ceil(self._timing.lifetime))
        args = (instance, *times, self._link.uid, keys.channel(""), _REAPED_AT_ONCE, _PROJECTS_AT_ONCE)
        ids: list[str] = []
        while True:
            reply = await self._link.run(
                REAP, (*names, *map(keys.project, ids), *self._users(ids), *queue), (*args, *ids)
            )
            if not reply:
                return
            ids = _names(reply)


def _names(reply: list[bytes]) -> list[str]:
    return [name.decode(errors="replace") for name in reply]  # another program may have written it
