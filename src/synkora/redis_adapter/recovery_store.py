"""Recovery over Redis, for all instances that share it, until Redis loses its memory."""

from collections.abc import Callable
from time import time

from synkora.recovery.ports import Deliver, ignore
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.event_log import RedisLog
from synkora.redis_adapter.session_store import RedisSessions
from synkora.sockets.rooms import Rooms


class RedisStore:
    """A `RecoveryStore` over a link. The link's owner starts and closes the link.

    `prefix` begins the names of the keys; the events travel on the channels of the adapters, whose prefix is
    `channels`. The adapter of a namespace hands on the messages of the log, and says which rooms this instance has.
    """

    def __init__(
        self,
        link: Link,
        settings: RecoverySettings | None = None,
        *,
        prefix: str,
        channels: str,
        clock: Callable[[], float] = time,
    ) -> None:
        self.settings = settings or RecoverySettings()
        self._link = link
        self._prefix = prefix
        self._channels = channels
        self._clock = clock
        self._rooms: dict[str, Rooms] = {}
        self._logs: dict[str, RedisLog] = {}
        self._sessions: dict[str, RedisSessions] = {}
        link.on_up.append(self._declare)

    @property
    def lost(self) -> int:
        """Events that were not kept and did not reach the other instances."""
        return sum(log.lost for log in self._logs.values())

    @property
    def gaps(self) -> int:
        """How often events of other instances were missed here, since Redis was away for too long."""
        return sum(log.gaps for log in self._logs.values())

    def serve(self, namespace: str, rooms: Rooms) -> None:
        """Take the rooms of a namespace's adapter."""
        self._rooms[namespace] = rooms

    def receive(self, namespace: str, message: bytes) -> bool:
        """Handle a message of the log; return whether this instance has a log of the namespace."""
        found = self._logs.get(namespace)
        if found is None:
            return False
        found.receive(message)
        return True

    def log(self, namespace: str, deliver: Deliver) -> RedisLog:
        """Return the log of a namespace."""
        found = self._logs.get(namespace)
        if found is None:
            found = self._logs[namespace] = RedisLog(
                self._link,
                namespace,
                self.settings,
                deliver,
                lambda: self._rooms[namespace].names() if namespace in self._rooms else (),
                prefix=self._prefix,
                channels=self._channels,
                clock=self._clock,
            )
            if self._link.is_up:
                found.declare_bounds()
        found.deliver = deliver
        return found

    def _declare(self) -> None:
        for log in self._logs.values():
            log.declare_bounds()

    def sessions(self, namespace: str, taken: Callable[[str], None] = ignore) -> RedisSessions:
        """Return the session store of a namespace."""
        found = self._sessions.get(namespace)
        if found is None:
            found = self._sessions[namespace] = RedisSessions(
                self._link, namespace, self.settings, taken, prefix=self._prefix, clock=self._clock
            )
        return found

    def forget(self, namespace: str) -> None:
        """Detach from a namespace. Other instances may still have it; its unused keys expire."""
        for parts in (self._logs, self._sessions):
            part = parts.pop(namespace, None)
            if part is not None:
                part.close()
        self._rooms.pop(namespace, None)

    async def start(self) -> None:
        """Do nothing: the owner of the link starts it."""

    async def close(self) -> None:
        """Detach from the link."""
        if self._declare in self._link.on_up:
            self._link.on_up.remove(self._declare)
        for namespace in [*self._logs]:
            self.forget(namespace)
