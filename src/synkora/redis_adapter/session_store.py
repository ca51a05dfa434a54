"""The sessions of a namespace's clients in Redis, so that a client may return to any instance."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import ceil
from time import time
from typing import Any, Final

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
_FORGET: Final = Script.load(__package__, "session_common", "session_forget")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(SavedSession).decode


class _Claim:
    """A session that is being taken; `session` is there once Redis has answered."""

    __slots__ = ("session",)

    def __init__(self) -> None:
        self.session: SavedSession | None = None


class RedisSessions:
    """A `SessionStore` that all instances share.

    A connected session is saved again from time to time, before its key expires. While Redis is unavailable, changes
    wait in memory. `taken` is called with the socket id of a session that is in use here, and that another instance
    took. Redis keeps a taken session until it is saved or forgotten, since the instance may be killed before.
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
        self._claims: dict[str, _Claim] = {}  # by pid: sessions that are being taken, or that are taken and not saved
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
        self._claims.pop(session.pid, None)
        if session.lost_at is None:
            self._connected[session.pid] = session
            self._renew_later()
        else:
            self._connected.pop(session.pid, None)
        self._write(session.pid, session)

    def forget(self, pid: str) -> None:
        """Drop a session, if there is one."""
        self._claims.pop(pid, None)
        self._connected.pop(pid, None)
        self._write(pid, None)

    async def take(self, pid: str) -> SavedSession | None:
        """Return a session; None while Redis is away, or if somebody else has taken it meanwhile."""
        claim = self._claims[pid] = _Claim()
        with suppress(LinkDown, RedisRefused):
            await self._take(pid, claim)
        if self._claims.get(pid) is not claim:
            return None
        if claim.session is None:
            del self._claims[pid]
        else:
            self._connected.pop(pid, None)
        return claim.session

    def _take(self, pid: str, claim: "_Claim") -> "asyncio.Future[Any]":
        def answered(data: bytes | None) -> None:
            claim.session = None if data is None else _decode(data)

        args = (pid, self._now(), self._age, self._channel, _encode((self._link.uid, pid)))
        return self._link.run(_TAKE, self._names(pid), args, answered)

    def _heard(self, message: bytes) -> None:
        """End the use of a session that another instance has taken after this one."""
        try:
            taker, pid = msgspec.msgpack.decode(message, type=tuple[str, str])
        except msgspec.DecodeError as error:
            log.warning("taken_unreadable", problem=str(error))
            return
        if taker == self._link.uid:
            return
        session = self._connected.pop(pid, None)
        claim = self._claims.get(pid)
        if claim is not None and claim.session is not None:
            session = self._claims.pop(pid).session
        if session is not None:
            self._taken(session.sid)

    # Writing

    def _write(self, pid: str, session: SavedSession | None) -> None:
        self._unsaved.pop(pid, None)
        self._call(pid, session).add_done_callback(partial(self._written, pid, session))

    def _written(self, pid: str, session: SavedSession | None, call: "asyncio.Future[Any]") -> None:
        if isinstance(call.exception(), LinkDown) and len(self._unsaved) < _MAX_UNSAVED:
            self._unsaved.setdefault(pid, session)

    def _call(self, pid: str, session: SavedSession | None) -> "asyncio.Future[Any]":
        if session is None:
            return self._link.run(_FORGET, self._names(pid), (pid,))
        lost_at = "" if session.lost_at is None else ceil(session.lost_at * 1000)
        bounds = (self._age, self._settings.max_sessions, self._lifetime, self._settings.session_bytes)
        return self._link.run(_SAVE, self._names(pid), (pid, _encode(session), lost_at, self._now(), *bounds))

    def _names(self, pid: str) -> list[bytes]:
        return [f"{self._prefix}{name}".encode() for name in (f"pid:{pid}", "lost", "times")]

    def _now(self) -> int:
        """The time in ms since 1970."""
        return ceil(self._clock() * 1000)

    @property
    def _age(self) -> int:
        """How long a lost session is kept, in ms."""
        return ceil(self._settings.session_age * 1000)

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
