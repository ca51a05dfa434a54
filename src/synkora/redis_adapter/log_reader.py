"""Reads a log in Redis: what was missed, where the log is, and what it keeps."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil
from typing import Any, Final, TypeVar

from synkora.engine.logs import Log
from synkora.recovery.ports import Incomplete, Kept
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.errors import UNREADABLE
from synkora.redis.link import Link, LinkDown, RedisRefused, Script
from synkora.redis_adapter.log_codec import EVERYONE, Found, Part, read_part, read_reply
from synkora.redis_adapter.log_keys import LogKeys
from synkora.redis_adapter.log_parts import CaughtUp, LogParts

T = TypeVar("T")
#: Seconds without an event after which a log is forgotten: a week longer than events are kept and clients may be away.
LOG_LIFETIME: Final = 14 * 86_400
_BEGIN: Final = Script.load(__package__, "log_begin")
_SETTLE: Final = Script.load(__package__, "log_settle")
_READ: Final = Script.load(__package__, "log_common", "log_read")

log = Log(__name__)


class LogReader:
    """Asks Redis. Each reply is handed on at its place among the messages of the link: no event comes between."""

    def __init__(self, link: Link, keys: LogKeys, settings: RecoverySettings, now: Callable[[], int]) -> None:
        self.namespace = keys.namespace
        self._link = link
        self._keys = keys
        self._settings = settings
        self._now = now

    async def kept(self, room: str) -> Kept | None:
        """Ask Redis for the kept state of a room."""
        try:
            events, size = await self._link.call("HMGET", self._link.key(self._keys.room(room)[1]), "count", "bytes")
        except (LinkDown, RedisRefused):
            return None
        return Kept(int(events or 0), int(size or 0))

    def last_in(self, room: str, answered: Callable[[int | None], None]) -> None:
        """Ask Redis for the number of a room's last event."""

        def ended(call: asyncio.Future[Any]) -> None:
            if call.exception() is not None:
                answered(None)

        def replied(reply: Any) -> None:
            answered(self._read(lambda: int(reply or 0)))

        index = self._link.key(self._keys.room(room)[1])
        self._link.call("HGET", index, "last", answered=replied).add_done_callback(ended)

    def locate(self, proposed: str, found: Callable[[Position | None], None]) -> None:
        """Ask Redis for the position; a log that begins gets the epoch `proposed`."""

        def answered(reply: Any) -> None:
            found(self._read(lambda: Position(reply[0].decode(), int(reply[1]))))

        self._run(_BEGIN, [self._keys.of("log")], [proposed, LOG_LIFETIME], answered, lambda: found(None))

    def settle(
        self, proposed: str, seen: Position, confirmed: int, settled: Callable[[Position | None, int], None]
    ) -> None:
        """Prepare the log over a new connection: another Redis may have less of it.

        `settled` is called with the position, and with the number of the last event of this instance in the log.
        """

        def answered(reply: Any) -> None:
            read = self._read(lambda: (Position(reply[0].decode(), int(reply[1])), int(reply[2])))
            settled(*(read or (None, 0)))

        link = self._link
        args = (proposed, link.data_id, seen.epoch, seen.number, link.uid, confirmed, LOG_LIFETIME)
        self._run(_SETTLE, [self._keys.of("log")], args, answered, lambda: settled(None, 0))

    def _read(self, read: Callable[[], T]) -> T | None:
        """Return what `read` makes of an answer; None if the answer has another form."""
        try:
            return read()
        except UNREADABLE as error:
            log.warning("log_answer_unreadable", problem=type(error).__name__)
            return None

    def read(self, rooms: Mapping[str, tuple[int, bool]], after: Position, answered: Callable[[Found], None]) -> None:
        """Read rooms, each after a number; the bool says whether the events for members only are read too."""
        unavailable = Found(Incomplete.UNAVAILABLE, 0, after)
        rooms = {**rooms, EVERYONE: (0, True)}

        def replied(reply: Any) -> None:
            try:
                found = read_reply(reply, tuple(rooms), after.ahead)
            except UNREADABLE as error:
                log.warning("log_entry_unreadable", problem=str(error))
                found = unavailable
            answered(found)

        self._ask(rooms, after, replied, lambda: answered(unavailable), leaves_out=True)

    def _ask(
        self,
        rooms: Mapping[str, tuple[int, bool]],
        after: Position,
        replied: Callable[[Any], None],
        failed: Callable[[], None],
        *,
        leaves_out: bool,
    ) -> None:
        keys, settings = self._keys, self._settings
        names = [*keys.whole]
        args: list[bytes | str | int] = [
            after.epoch,
            after.number,
            self._now(),
            ceil(settings.max_age * 1000),
            settings.replay_events,
            settings.replay_bytes,
            settings.read_events,
            int(leaves_out),
        ]
        for room, (number, is_joined) in rooms.items():
            names += keys.room(room)
            args += (room, number, int(is_joined))
        self._run(_READ, names, args, replied, failed)

    def read_parts(
        self, names: Collection[str], after: Position, answered: Callable[[CaughtUp | Incomplete], None]
    ) -> None:
        """Read what an instance has missed in rooms, some of them at a time."""
        LogParts(self._read_part, names, after, self._settings.total_bytes, answered).read_on()

    def _read_part(self, rooms: Collection[str], after: Position, collect: Callable[[Part | None], None]) -> None:
        def replied(reply: Any) -> None:
            try:
                found = read_part(reply, tuple(rooms))
            except UNREADABLE as error:
                log.warning("log_entry_unreadable", problem=str(error))
                found = None
            collect(found)

        self._ask(dict.fromkeys(rooms, (0, True)), after, replied, lambda: collect(None), leaves_out=False)

    def _run(
        self,
        script: Script,
        names: Sequence[bytes],
        args: Sequence[bytes | str | int],
        answered: Callable[[Any], None],
        failed: Callable[[], None],
    ) -> None:
        def ended(call: asyncio.Future[Any]) -> None:
            if call.exception() is not None:
                failed()

        self._link.run(script, names, args, answered).add_done_callback(ended)
