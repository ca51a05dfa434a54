"""The sessions of a namespace's clients in Redis, so that a client may return to any instance."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from time import time
from typing import Any, Final, NamedTuple

import msgspec

from synkora.engine.logs import Log
from synkora.recovery.changes import UNREADABLE, decode_session, encode
from synkora.recovery.ports import SavedSession
from synkora.recovery.settings import RecoverySettings
from synkora.recovery.user_shares import UserShares
from synkora.redis.errors import TROUBLE
from synkora.redis.link import Link, LinkDown, RedisRefused, Script

_MAX_UNSAVED: Final = 50_000_000  # bytes of sessions that wait for Redis, in memory
#: Bytes of sessions that are sent before Redis confirms the first of them. All at once, the sessions of an instance
#: may be more than a link may hold.
_AT_ONCE: Final = 1_000_000
_PAUSE: Final = 1.0  # seconds without writes after Redis has refused one
_COMMAND_EXTRA: Final = 200  # bytes of a command besides its session
_RENEWALS: Final = 3  # within the lifetime of a connected session
_ASKED_AT_ONCE: Final = 100  # sessions, so that Redis is not blocked

log = Log(__name__)


_SAVE: Final = Script.load(__package__, "session_common", "session_save")
_TAKE: Final = Script.load(__package__, "session_common", "session_take")
_TAKEN: Final = Script.load(__package__, "session_common", "session_taken")
_FORGET: Final = Script.load(__package__, "session_common", "session_forget")


class _State(NamedTuple):
    """A session, or None once it is forgotten, and the number of the take that gave it to this instance.

    The instance that has made a session has it without a take: 0.
    """

    session: SavedSession | None
    take: int


class _Claim:
    """A session that is being taken; `state` is there once Redis has answered."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: _State | None = None


class RedisSessions:
    """A `SessionStore` that all instances share.

    A session is written at the end of the turn, once however often it was saved, and a connected one again from time to
    time, before its key expires. While Redis is unavailable or slow, or refuses writes, changes wait in memory, and the
    oldest are lost beyond a bound. Redis keeps a taken session until it is saved or forgotten, since the instance may
    be killed before.

    Redis takes a session's changes from the instance that took it last. `taken` is called with the socket id of a
    session that is in use here, and that another instance took. An instance that was away from Redis when this happened
    learns it when Redis is back, before presence tells Redis who is here.
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
        self._connected: dict[str, _State] = {}
        self._shares = UserShares(settings)  # of the sessions that this instance has saved
        self._unsaved: OrderedDict[str, _State] = OrderedDict()  # a dict is slow to lose its first key
        self._unsaved_size = 0
        self._stale: dict[str, None] = {}  # connected ones to be saved again, by pid
        self._sent: dict[str, _State] = {}  # without a reply, the latest of each pid
        self._in_flight = 0  # bytes without a reply
        self._is_armed = False
        self._claims: dict[str, _Claim] = {}  # by pid: sessions that are being taken, or that are taken and not saved
        self._renewal: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
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
        if self._pause is not None:
            self._pause.cancel()

    def save(self, session: SavedSession) -> None:
        """Keep a session, in place of the one with the same `pid`."""
        state = _State(session, self._end_use(session.pid))
        if session.lost_at is None:
            self._shares.remove(session.pid)
            self._connected[session.pid] = state
            self._renew_later()
        self._write(session.pid, state)
        for pid in self._shares.add(session):
            self.forget(pid)

    def forget(self, pid: str) -> None:
        """Drop a session, if there is one."""
        state = _State(None, self._end_use(pid))
        self._shares.remove(pid)
        self._write(pid, state)

    def _end_use(self, pid: str) -> int:
        """End the use of a session, and return the number of the take that it began with."""
        claim, state = self._claims.pop(pid, None), self._connected.pop(pid, None)
        if claim is not None and claim.state is not None:
            state = claim.state
        return 0 if state is None else state.take

    async def take(self, pid: str) -> SavedSession | None:
        """Return a session; None while Redis is unavailable, or if another caller has taken it meanwhile."""
        self._flush()
        if pid in self._unsaved:
            self._send(pid, self._remove(pid))
        elif pid in self._stale and pid in self._connected:
            del self._stale[pid]
            self._send(pid, self._connected[pid])
        claim = self._claims[pid] = _Claim()
        with suppress(LinkDown, RedisRefused):
            await self._take(pid, claim)
        if self._claims.get(pid) is not claim:
            return None
        if claim.state is None:
            del self._claims[pid]
            return None
        self._connected.pop(pid, None)
        self._shares.remove(pid)
        return claim.state.session

    def _take(self, pid: str, claim: _Claim) -> "asyncio.Future[Any]":
        def answered(stored: bytes | None) -> None:
            claim.state = None if stored is None else _read(stored)

        uid = self._link.uid
        args = (pid, uid, self._now(), self._age, self._lifetime, self._channel, encode((uid, pid)))
        return self._link.run(_TAKE, self._keys(pid), args, answered)

    def _heard(self, message: bytes) -> None:
        try:
            taker, pid = msgspec.msgpack.decode(message, type=tuple[str, str])
        except UNREADABLE as error:
            log.warning("taken_unreadable", problem=str(error))
            return
        if taker != self._link.uid:
            self._give_up(pid)

    def _give_up(self, pid: str) -> None:
        """End the use of a session that another instance has taken after this one."""
        self._shares.remove(pid)
        if pid in self._unsaved:
            self._remove(pid)
        state = self._connected.pop(pid, None)
        claim = self._claims.get(pid)
        if claim is not None and claim.state is not None:
            state = self._claims.pop(pid).state
        if state is not None and state.session is not None:
            self._taken(state.session.sid)

    def _give_up_all(self, taken: list[bytes]) -> None:
        for pid in taken:
            self._give_up(pid.decode())

    # Writing

    def _write(self, pid: str, state: _State) -> None:
        self._put(pid, state)
        self._arm()

    def _put(self, pid: str, state: _State) -> None:
        if pid in self._unsaved:
            self._remove(pid)
        self._unsaved[pid] = state
        self._unsaved_size += _size(state)
        while self._unsaved_size > _MAX_UNSAVED:
            self._remove(next(iter(self._unsaved)))

    def _remove(self, pid: str) -> _State:
        state = self._unsaved.pop(pid)
        self._unsaved_size -= _size(state)
        return state

    def _arm(self) -> None:
        if not self._is_armed and self._link.is_up and self._pause is None:
            self._is_armed = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_armed = False
        while self._in_flight < _AT_ONCE and self._link.is_up and self._pause is None:
            if self._unsaved:
                pid = next(iter(self._unsaved))
                self._send(pid, self._remove(pid))
            elif self._stale:
                pid, _ = self._stale.popitem()
                if pid in self._connected:
                    self._send(pid, self._connected[pid])
            else:
                break

    def _send(self, pid: str, state: _State) -> None:
        session, own = state.session, (pid, self._link.uid, state.take)
        if session is None:
            size = _COMMAND_EXTRA
            call = self._link.run(_FORGET, self._keys(pid), own)
        else:
            data = encode(session)
            size = len(data) + _COMMAND_EXTRA
            lost_at = "" if session.lost_at is None else ceil(session.lost_at * 1000)
            bounds = (self._age, self._settings.max_sessions, self._lifetime, self._settings.session_bytes)
            args = (*own, data, lost_at, self._now(), *bounds)
            call = self._link.run(_SAVE, self._keys(pid), args, self._give_up_all)
        self._sent[pid] = state
        self._in_flight += size
        # No partial: asyncio would show its arguments if it fails.
        call.add_done_callback(lambda call: self._written(pid, state, size, call))

    def _written(self, pid: str, state: _State, size: int, call: "asyncio.Future[Any]") -> None:
        self._in_flight -= size
        is_latest = self._sent.get(pid) is state
        if is_latest:
            del self._sent[pid]
        error = call.exception()
        if isinstance(error, RedisRefused) and error.code in TROUBLE:
            self._wait()
        elif not isinstance(error, LinkDown):
            is_latest = False
        if is_latest and pid not in self._unsaved:
            self._put_back(pid, state)
        if self._unsaved or self._stale:
            self._arm()

    def _put_back(self, pid: str, state: _State) -> None:
        if pid in self._connected:
            self._stale[pid] = None
        else:
            self._put(pid, state)

    def _wait(self) -> None:
        if self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(_PAUSE, self._end_pause)

    def _end_pause(self) -> None:
        self._pause = None
        self._arm()

    def _keys(self, pid: str) -> list[bytes]:
        return [self._key(f"pid:{pid}"), self._key("lost"), self._key("times")]

    def _key(self, name: str) -> bytes:
        return f"{self._prefix}{name}".encode()

    def _now(self) -> int:
        """The time in ms since 1970."""
        return ceil(self._clock() * 1000)

    @property
    def _age(self) -> int:
        """How long a lost session is kept, in ms."""
        return ceil(self._settings.session_age * 1000)

    def _went_up(self) -> None:
        """Give up what others have taken meanwhile, and save all else again: Redis may have lost its memory.

        The question is sent at once: presence enters the projects after the answer, without these connections.
        """
        takes = {pid: state.take for pid, state in self._connected.items()}
        takes |= {pid: claim.state.take for pid, claim in self._claims.items() if claim.state is not None}
        pids = [*takes]
        for start in range(0, len(pids), _ASKED_AT_ONCE):
            keys, args = [self._key("lost")], [self._link.uid]
            for pid in pids[start : start + _ASKED_AT_ONCE]:
                keys.append(self._key(f"pid:{pid}"))
                args += (pid, str(takes[pid]))
            self._link.run(_TAKEN, keys, args, self._give_up_all)
        self._stale = dict.fromkeys(self._connected)
        self._arm()

    def _renew_later(self) -> None:
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().call_later(self._lifetime / _RENEWALS, self._renew)

    def _renew(self) -> None:
        self._renewal = None
        self._stale = dict.fromkeys(self._connected)
        self._arm()
        if self._connected:
            self._renew_later()


def _size(state: _State) -> int:
    return _COMMAND_EXTRA if state.session is None else state.session.size


def _read(stored: bytes) -> _State | None:
    """Return a session, or None if another program or version has written it."""
    try:
        _, take, data = stored.split(b":", 2)
        return _State(decode_session(data), int(take))
    except UNREADABLE as error:
        log.warning("session_unreadable", problem=str(error))
        return None
