"""The sessions of a namespace's clients in Redis, so that a client may return to any instance."""

import asyncio
from collections.abc import Callable
from functools import partial
from math import ceil
from time import time
from typing import Final

import msgspec

from synkora.engine.logs import Log
from synkora.recovery.ports import SavedSession
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link, LinkDown, RedisRefused, Script

_MAX_UNSAVED: Final = 100_000  # sessions that wait for Redis
_RENEWALS: Final = 3  # within the lifetime of a connected session

log = Log(__name__)


_SAVE: Final = Script.load(__package__, "session_common", "session_save")
_TAKE: Final = Script.load(__package__, "session_common", "session_take")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(SavedSession).decode


class RedisSessions:
    """A `SessionStore` that all instances share.

    A connected session is saved again from time to time, before its key expires. While Redis is unavailable, changes
    wait in memory. `taken` is called with the socket id of a connected session that another instance took.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        settings: RecoverySettings,
        taken: Callable[[str], None],
        *,
        prefix: str,
        clock: Callable[[], float] = time,
    ) -> None:
        self._link = link
        self._settings = settings
        self._clock = clock
        self._prefix = f"{prefix}{{sessions:{namespace}}}:"
        self._lifetime = ceil(settings.session_age) + 60
        self._channel = f"{self._prefix}taken".encode()
        self._taken = taken
        self._connected: dict[str, SavedSession] = {}
        self._unsaved: dict[str, SavedSession | None] = {}  # None: forgotten
        self._renewal: asyncio.TimerHandle | None = None
        link.subscribe(self._channel, self._heard)
        link.on_up.append(self._went_up)

    @property
    def lost(self) -> tuple[()]:
        return ()

    def close(self) -> None:
        """Detach from the link."""
        self._link.on_up.remove(self._went_up)
        self._link.unsubscribe(self._channel)
        if self._renewal is not None:
            self._renewal.cancel()

    def save(self, session: SavedSession) -> None:
        """Keep a session, in place of the one with the same `pid`."""
        if session.lost_at is None:
            self._connected[session.pid] = session
            self._renew_later()
        else:
            self._connected.pop(session.pid, None)
        self._write(session.pid, session)

    def forget(self, pid: str) -> None:
        """Drop a session, if there is one."""
        self._connected.pop(pid, None)
        self._write(pid, None)

    async def take(self, pid: str) -> SavedSession | None:
        """Return a session and drop it; None while Redis is unavailable."""
        try:
            data = await self._call(pid, None)
        except (LinkDown, RedisRefused):
            return None
        if data is None:
            return None
        session = _decode(data)
        if session.lost_at is None and self._connected.pop(pid, None) is None:
            self._link.publish(self._channel, _encode((self._link.uid, session.sid)))
        return session

    def _heard(self, message: bytes) -> None:
        try:
            taker, sid = msgspec.msgpack.decode(message, type=tuple[str, str])
        except msgspec.DecodeError as error:
            log.warning("taken_unreadable", problem=str(error))
            return
        if taker != self._link.uid:
            for pid in [pid for pid, session in self._connected.items() if session.sid == sid]:
                del self._connected[pid]
            self._taken(sid)

    # Writing

    def _write(self, pid: str, session: SavedSession | None) -> None:
        self._unsaved.pop(pid, None)
        self._call(pid, session).add_done_callback(partial(self._written, pid, session))

    def _written(self, pid: str, session: SavedSession | None, call: "asyncio.Future[bytes | None]") -> None:
        if isinstance(call.exception(), LinkDown) and len(self._unsaved) < _MAX_UNSAVED:
            self._unsaved.setdefault(pid, session)

    def _call(self, pid: str, session: SavedSession | None) -> "asyncio.Future[bytes | None]":
        names = [f"{self._prefix}{name}".encode() for name in (f"pid:{pid}", "lost", "times")]
        now = ceil(self._clock() * 1000)
        age = ceil(self._settings.session_age * 1000)
        if session is None:
            return self._link.run(_TAKE, names, (pid, now, age))
        lost_at = "" if session.lost_at is None else ceil(session.lost_at * 1000)
        bounds = (age, self._settings.max_sessions, self._lifetime, self._settings.session_bytes)
        return self._link.run(_SAVE, names, (pid, _encode(session), lost_at, now, *bounds))

    def _went_up(self) -> None:
        """Save all again: Redis may have lost its memory."""
        for pid, session in ({**self._connected} | self._unsaved).items():
            self._write(pid, session)

    def _renew_later(self) -> None:
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().call_later(self._lifetime / _RENEWALS, self._renew)

    def _renew(self) -> None:
        self._renewal = None
        for pid, session in self._connected.items():
            self._write(pid, session)
        if self._connected:
            self._renew_later()
