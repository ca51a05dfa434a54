"""The contract of every store of sessions."""

import asyncio

import msgspec
from tests.contracts.event_log import MakeStore, event
from tests.support.clocks import Clock

from synkora.recovery.ports import Incomplete, SavedSession, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.recovery.user_shares import SHARE

NOW = Clock().now
SESSION = SavedSession("pid-1", "sid-1", "user-1", ("p1", "p2"), Position("epoch", 7), joined=(7, 9))


def lost(pid: str, at: float = NOW, **fields: str) -> SavedSession:
    return msgspec.structs.replace(SESSION, pid=pid, lost_at=at, **fields)


class SessionStoreContract:
    """To be inherited by a test class with a fixture `make`, a `MakeStore`."""

    async def test_a_session_is_returned_as_saved(self, make: MakeStore) -> None:
        sessions = (await make(RecoverySettings(), Clock())).sessions("/")
        sessions.save(SESSION)
        sessions.save(lost("pid-2"))
        assert await sessions.take("pid-1") == SESSION
        assert await sessions.take("pid-2") == lost("pid-2")

    async def test_a_pid_works_once(self, make: MakeStore) -> None:
        """Of many simultaneous callers, one gets the session."""
        sessions = (await make(RecoverySettings(), Clock())).sessions("/")
        sessions.save(lost("pid-1"))
        taken = await asyncio.gather(*(sessions.take("pid-1") for _ in range(5)))
        assert [session for session in taken if session is not None] == [lost("pid-1")]

    async def test_a_pid_may_be_saved_again(self, make: MakeStore) -> None:
        sessions = (await make(RecoverySettings(), Clock())).sessions("/")
        sessions.save(lost("pid-1"))
        assert await sessions.take("pid-1")
        sessions.save(SESSION)
        assert await sessions.take("pid-1") == SESSION

    async def test_the_last_state_counts(self, make: MakeStore) -> None:
        """After changes of rooms and lost connections."""
        sessions = (await make(RecoverySettings(), Clock())).sessions("/")
        sessions.save(msgspec.structs.replace(SESSION, rooms=("p1",), joined=(7,)))
        sessions.save(SESSION)
        sessions.save(lost("pid-1"))
        assert await sessions.take("pid-1") == lost("pid-1")
        sessions.forget("pid-1")
        assert await sessions.take("pid-1") is None

    async def test_a_forgotten_session_is_removed(self, make: MakeStore) -> None:
        sessions = (await make(RecoverySettings(), Clock())).sessions("/")
        sessions.save(SESSION)
        sessions.save(lost("pid-2"))
        for pid in ("pid-1", "pid-2", "pid-3"):
            sessions.forget(pid)
            assert await sessions.take(pid) is None

    async def test_fault_12_a_lost_session_expires(self, make: MakeStore) -> None:
        """An expired session is not returned. A connected one stays."""
        clock = Clock()
        sessions = (await make(RecoverySettings(session_age=60), clock)).sessions("/")
        sessions.save(SESSION)
        sessions.save(lost("pid-2", clock.now))
        sessions.save(lost("pid-3", clock.now + 59))
        clock.now += 60
        assert await sessions.take("pid-2") is None
        assert await sessions.take("pid-3") is not None
        assert await sessions.take("pid-1") == SESSION

    async def test_a_session_outlives_an_hour_with_the_defaults(self, make: MakeStore) -> None:
        clock = Clock()
        sessions = (await make(RecoverySettings(), clock)).sessions("/")
        sessions.save(lost("pid-2", clock.now))
        clock.now += 3600
        sessions.save(lost("pid-3", clock.now))
        assert await sessions.take("pid-2") == lost("pid-2")

    async def test_lost_sessions_are_bounded_in_number(self, make: MakeStore) -> None:
        sessions = (await make(RecoverySettings(max_sessions=2), Clock())).sessions("/")
        for number in range(4):
            sessions.save(lost(f"pid-{number}", NOW + number, identity=f"user-{number}"))
        kept = [await sessions.take(f"pid-{number}") for number in range(4)]
        assert [session.pid for session in kept if session is not None] == ["pid-2", "pid-3"]

    async def test_lost_sessions_are_bounded_in_bytes(self, make: MakeStore) -> None:
        """In many rooms with long names: the oldest are dropped. A session that is reconnected makes room."""
        sessions = (await make(RecoverySettings(session_bytes=100_000), Clock())).sessions("/")
        large = msgspec.structs.replace(
            SESSION, rooms=tuple(f"{number:0200}" for number in range(50)), joined=(0,) * 50
        )

        async def save(*numbers: int) -> list[int]:
            """Save lost sessions, and take them. Returns the numbers of the kept ones."""
            for number in numbers:
                session = msgspec.structs.replace(large, pid=f"pid-{number}", identity=f"user-{number}")
                sessions.save(msgspec.structs.replace(session, lost_at=NOW + number))
            return [number for number in numbers if await sessions.take(f"pid-{number}") is not None]

        kept = await save(*range(20))
        assert 3 <= len(kept) <= 10
        assert kept == [*range(20 - len(kept), 20)]
        for number in range(20, 23):
            assert await save(number) == [number]
            sessions.save(msgspec.structs.replace(large, pid=f"pid-{number}", lost_at=NOW + number))
            sessions.save(msgspec.structs.replace(large, pid=f"pid-{number}"))
        assert await save(*range(30, 33)) == [30, 31, 32]

    async def test_a_user_who_loses_very_many_sessions_displaces_only_their_own(self, make: MakeStore) -> None:
        """Those of others stay, and the user's newest ones. Ended sessions make room."""
        settings = RecoverySettings(max_sessions=400)
        sessions = (await make(settings, Clock())).sessions("/")
        sessions.save(lost("pid-of-another", NOW, identity="user-2"))
        for number in range(500):
            sessions.save(lost(f"pid-{number}", NOW + number / 1000))
        assert await sessions.take("pid-of-another") is not None
        most = settings.max_sessions // SHARE
        kept = [number for number in range(500) if await sessions.take(f"pid-{number}") is not None]
        assert kept == [*range(500 - most, 500)]
        for number in range(500, 500 + most):
            sessions.save(lost(f"pid-{number}", NOW + number / 1000))
        assert await sessions.take("pid-501") is not None
        sessions.save(lost("pid-last", NOW + 1))
        assert await sessions.take("pid-500") is not None

    async def test_a_user_with_large_sessions_displaces_only_their_own(self, make: MakeStore) -> None:
        sessions = (await make(RecoverySettings(session_bytes=1_000_000), Clock())).sessions("/")
        sessions.save(lost("pid-of-another", NOW, identity="user-2"))
        rooms = tuple(f"{number:0200}" for number in range(50))
        large = msgspec.structs.replace(SESSION, rooms=rooms, joined=(0,) * 50)
        for number in range(50):
            sessions.save(msgspec.structs.replace(large, pid=f"pid-{number}", lost_at=NOW + number / 1000))
        assert await sessions.take("pid-of-another") is not None
        assert await sessions.take("pid-49") is not None
        assert await sessions.take("pid-40") is None

    async def test_sessions_without_a_user_have_no_share(self, make: MakeStore) -> None:
        sessions = (await make(RecoverySettings(max_sessions=40), Clock())).sessions("/")
        for number in range(40):
            sessions.save(lost(f"pid-{number}", NOW + number / 1000, identity=""))
        assert await sessions.take("pid-0") is not None

    async def test_namespaces_have_separate_sessions(self, make: MakeStore) -> None:
        store = await make(RecoverySettings(), Clock())
        store.sessions("/").save(SESSION)
        assert await store.sessions("/other").take("pid-1") is None
        assert await store.sessions("/").take("pid-1") == SESSION


class ForgettingContract:
    """Only for stores of a single server. With several, other servers may still have a namespace."""

    async def test_a_forgotten_namespace_begins_again(self, make: MakeStore) -> None:
        """Without sessions, and with positions that differ from all former ones."""
        store = await make(RecoverySettings(), Clock())
        log = store.log("/", lambda _: None)
        log.append(new_event(event("a"), ("p",)))
        store.sessions("/").save(SESSION)
        store.forget("/")
        assert await store.sessions("/").take("pid-1") is None
        again = store.log("/", lambda _: None)
        assert again.position.epoch != log.position.epoch
        assert await again.read(("p",), log.position) is Incomplete.EPOCH
