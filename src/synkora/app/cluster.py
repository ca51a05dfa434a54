"""Connects this instance to the others over Redis."""

from typing import TYPE_CHECKING, Final, Self

import structlog

from synkora.cluster.count_sync import CountSync
from synkora.cluster.instance_rpc import InstanceRpc
from synkora.cluster.presence_scripts import Keys
from synkora.cluster.presence_sync import PresenceSync
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis.url import RedisUrl
from synkora.redis_adapter.adapter import RedisAdapter
from synkora.redis_adapter.recovery_store import RedisStore
from synkora.sockets.local_adapter import LocalAdapter

if TYPE_CHECKING:
    from synkora.app.webhooks.redis_queue import RedisQueue

_WAIT: Final = 3.0  # seconds: the start waits for Redis
_MEET: Final = 0.5  # seconds: the start waits for what the other instances say about themselves
_GOODBYE: Final = 1.0  # seconds for the last messages to Redis, after everything else

log = structlog.get_logger(__name__)


class Cluster:
    """Connects this instance to the others that share a Redis, until its last client has left.

    Names in Redis begin with `prefix`, as in Node.js' adapter, or with `synkora:`, `prefix` and a colon. `failures`
    counts refused sign-ins that other instances report. The others know this instance by its id. Raises `ValueError`
    for a URL that names no Redis.
    """

    def __init__(
        self, url: str, prefix: str, failures: FailureBackoff, instance_id: str = "", *, webhooks: bool = False
    ) -> None:
        self._prefix = prefix
        self._store: RedisStore | None = None
        self._link = Link(RedisUrl.parse(url), uid=instance_id, keyspace=f"synkora:{prefix}")
        self._own = own = f"synkora:{prefix}:"
        self.counters = CountSync(self._link, failures, prefix=own)
        self.presence = PresenceSync(self._link, prefix=own, stopped=self.counters.stopped, webhooks=webhooks)
        self.rpc = InstanceRpc(self._link, lambda: self.counters.others, prefix=own)

    def adapter(self, namespace: str, local: LocalAdapter) -> RedisAdapter:
        """Return the adapter that connects a namespace with other instances."""
        return RedisAdapter(namespace, local, self._link, prefix=self._prefix, store=self._store)

    def keep(self, settings: RecoverySettings) -> RedisStore:
        """Keep events and sessions in Redis: clients may return to any instance. To be called before `adapter`."""
        self._store = RedisStore(self._link, settings, prefix=self._own, channels=self._prefix)
        return self._store

    def webhook_queue(self) -> "RedisQueue":
        """Return the queue of events for the app's backend."""
        from synkora.app.webhooks.redis_queue import RedisQueue

        return RedisQueue(self._link, Keys(self._own))

    @property
    def store(self) -> RedisStore | None:
        """Where events and sessions are kept; None without recovery."""
        return self._store

    @property
    def link(self) -> Link:
        return self._link

    @property
    def problem(self) -> str | None:
        """Why this instance is not properly connected to the others; None without a problem."""
        return self._link.problem or self.presence.problem

    async def __aenter__(self) -> Self:
        """Connect to the others. Without Redis, continue after a few seconds, and connect when Redis is up."""
        log.info("one_of_several", instance=self._link.uid)
        self.presence.start()
        self.counters.start()
        await self._link.start(_WAIT)
        await self.counters.meet(_MEET)
        return self

    async def leave(self, *, may_return: bool = False) -> None:
        """Let the other instances announce that the members here have left. Their clients stay connected.

        If the clients `may_return`, the members stay in the lists for a while.
        """
        self.counters.announce_stop()
        await self.presence.close(may_return=may_return)

    async def __aexit__(self, *_: object) -> None:
        """Say goodbye, and close the link."""
        self.rpc.close()
        self.counters.close()
        await self._link.close(_GOODBYE)
