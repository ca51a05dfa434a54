"""The log of a namespace's events in Redis: the `EventLog` of several servers.

`log_appender` sends events to Redis, `log_receiver` delivers what Redis publishes, `log_reader` asks for what was
missed, and `log_catch_up` reads it after Redis was away.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial
from math import ceil
from time import time
from typing import Final

from msgspec.structs import replace

from synkora.recovery.ports import Answered, Deliver, Incomplete, Kept, LoggedEvent, Missed
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.log_appender import LogAppender
from synkora.redis_adapter.log_bounds import declare
from synkora.redis_adapter.log_catch_up import LogCatchUp
from synkora.redis_adapter.log_codec import AUTHOR, BEGINNING, Found
from synkora.redis_adapter.log_keys import LogKeys
from synkora.redis_adapter.log_parts import size_of
from synkora.redis_adapter.log_reader import LogReader
from synkora.redis_adapter.log_receiver import LogReceiver
from synkora.tracing import NO_TRACE, Trace

__all__ = ["AUTHOR", "BEGINNING", "RedisLog"]


_READ_EXTRA: Final = 500  # bytes of a command that reads for a socket besides its rooms


class RedisLog(LogReceiver):
    """An `EventLog` that all instances share. Each delivers an event when Redis publishes it, the sender's too.

    While Redis is unavailable, events reach this instance's clients immediately, and other clients when Redis is back.
    The events that others have sent meanwhile are read then: `local_rooms` returns the rooms in which this instance has
    clients. An instance's own events that Redis has lost then are sent again.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        settings: RecoverySettings,
        deliver: Deliver,
        local_rooms: Callable[[], Collection[str]],
        *,
        prefix: str,
        channels: str,
        clock: Callable[[], float] = time,
    ) -> None:
        super().__init__(link, deliver, settings.total_bytes)  # no more than the log has

        def now() -> int:
            """The time in ms since 1970: it decides which events are too old."""
            return ceil(clock() * 1000)

        self._settings = settings
        self._keys = LogKeys(prefix, namespace)
        self._reader = LogReader(link, self._keys, settings, now)
        self._appender = LogAppender(link, settings, self, self._keys, Channels.of(channels, namespace), now)
        self._catch_up = LogCatchUp(link, self, self._appender, self._reader, local_rooms)

    @property
    def is_shared(self) -> bool:
        return True

    @property
    def kept_bytes(self) -> int:
        return self._appender.unsent_size  # the others are in Redis

    def append(self, event: LoggedEvent, trace: Trace = NO_TRACE) -> None:
        """Let Redis number, store and publish an event.

        Raises `UnicodeEncodeError` for a name with a lone surrogate.
        """
        self._appender.append(_checked(event, trace), trace)

    async def append_once(self, event: LoggedEvent, once: str = "", trace: Trace = NO_TRACE) -> Position | None:
        """Let Redis number, store and publish an event, and return its position.

        Raises `LogUnavailable`, and `UnicodeEncodeError` for a name with a lone surrogate.
        """
        return await self._appender.append_once(_checked(event, trace), once, trace)

    async def kept(self, room: str) -> Kept | None:
        """Ask Redis for the kept state of a room."""
        return await self._reader.kept(room)

    async def read(self, rooms: Collection[str], after: Position) -> list[LoggedEvent] | Incomplete:
        """Return the events after a position that a socket in `rooms` has missed."""
        found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._reader.read(dict.fromkeys(rooms, (0, True)), after, found.set_result)
        return _missed(await found).events

    def replay(self, sid: str, joined: Mapping[str, int], after: Position, answered: Answered) -> None:
        """Read the events that a socket has missed. `answered` is called in order among the deliveries.

        While this instance catches up with the log, that comes first. The socket would get twice what the instance has
        missed, and never what the instance has delivered without Redis and not sent yet.
        """
        rooms = {sid: (0, False)} | {room: (number, True) for room, number in joined.items()}

        def read(ended: Callable[[], None]) -> None:
            def replied(found: Found) -> None:
                try:
                    answered(_missed(found))
                finally:
                    ended()

            if self._catch_up.is_refused:
                replied(Found(Incomplete.UNAVAILABLE, 0, after))
            else:
                self._reader.read(rooms, after, replied)

        if not self._catch_up.after(read, _READ_EXTRA + size_of(rooms)):
            answered(Missed(Incomplete.UNAVAILABLE, 0, after))

    def last_in(self, room: str, answered: Callable[[int | None], None]) -> None:
        """Ask Redis for the number of a room's last event. While this instance catches up, that comes first."""
        if not self._catch_up.when_even(partial(self._reader.last_in, room, answered)):
            answered(None)

    def locate(self, found: Callable[[Position | None], None]) -> None:
        """Ask Redis for the position."""

        def located(position: Position | None) -> None:
            if position is not None:
                self.advance_to(position)
            found(position)

        self._reader.locate(self.proposed, located)

    def declare_bounds(self) -> None:
        """Write into the log how much the servers keep."""
        declare(self._link, self._keys, self._settings)

    @property
    def lost(self) -> int:
        """Events that could not be sent to Redis."""
        return self._appender.lost

    def close(self) -> None:
        """Detach from the link."""
        self._catch_up.close()

    async def retire(self) -> None:
        """Let Redis forget this sender, which appends nothing more."""
        await self._appender.retire()

    @property
    def gaps(self) -> int:
        """How often this instance missed events of others."""
        return self._catch_up.gaps


def _checked(event: LoggedEvent, trace: Trace) -> LoggedEvent:
    """Return an event with each room once, and with its trace.

    Raises `UnicodeEncodeError` for a name that Redis and its scripts cannot read.
    """
    "".join((*event.rooms, *event.except_rooms)).encode()
    return replace(event, rooms=tuple(dict.fromkeys(event.rooms)), traceparent=trace.traceparent)


def _missed(found: Found) -> Missed:
    entries = found.entries
    events = entries if isinstance(entries, Incomplete) else [entry.event for entry in entries]
    return Missed(events, found.looked_at, found.until)
