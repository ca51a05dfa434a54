"""The limits of events and sessions stored for recovery."""

from dataclasses import dataclass
from typing import Final

LOG_AGE: Final = 2 * 3600  # seconds


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """Durations are seconds, sizes are bytes of events (data and attachments).

    A room keeps its events for `max_age`, at most `room_events` of them and `room_bytes`. A namespace keeps at most
    `total_bytes` and `total_events`, of at most `max_rooms` rooms. Above `max_rooms`, the rooms that were quiet for the
    longest time are forgotten. Above the others, the room of the newest event loses its oldest ones as long as it has
    more than an equal share, and then the largest rooms do. In memory an event takes up to 300 bytes more.

    A replay has at most `replay_events` and `replay_bytes`; a client that missed more is not recovered. A read looks at
    `read_events` at most: a client's own events are left out of its replay, and reading them takes time too.

    A lost session is kept for `session_age`; a namespace keeps at most `max_sessions` lost ones, of at most
    `session_bytes` in memory or in Redis. The oldest ones are dropped first.
    """

    max_age: float = LOG_AGE
    room_events: int = 10_000
    room_bytes: int = 4_000_000
    total_bytes: int = 64_000_000
    total_events: int = 160_000
    max_rooms: int = 10_000
    replay_events: int = 5_000
    replay_bytes: int = 2_000_000
    session_age: float = 2 * 3600
    max_sessions: int = 10_000
    session_bytes: int = 50_000_000

    @property
    def read_events(self) -> int:
        """Events that one read looks at."""
        return 2 * self.replay_events
